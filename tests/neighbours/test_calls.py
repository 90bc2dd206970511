"""Clients of gRPC and Connect that share no code with ours: buf curl, and grpc-js on Node.js. (connect-es and grpcio are in tests/e2e/clients.rs.)"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import generated
from mesh import ROOT, Mesh

ORDERS = "ordermesh.orders.v1.OrdersService"
BUF = pathlib.Path(sys.executable).parent / "buf"


def setUpModule():
    global mesh
    mesh = Mesh()
    unittest.addModuleCleanup(mesh.end)


class BufCurl(unittest.TestCase):
    def curl(self, url, method, message, *flags):
        """The answer, or the error, as JSON."""
        with tempfile.TemporaryDirectory() as cache:
            env = {**os.environ, "BUF_CACHE_DIR": cache}
            command = [BUF, "curl", *flags, "--data", json.dumps(message), f"{url}/{ORDERS}/{method}"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        text = done.stdout if done.returncode == 0 else done.stderr
        answers, rest = [], text.strip()
        while rest:
            answer, end = json.JSONDecoder().raw_decode(rest)
            answers, rest = [*answers, answer], rest[end:].strip()
        return answers

    def places_and_watches(self, user, url, *flags):
        mesh.account(user, 700)
        [order] = self.curl(url, "CreateOrder", {"order": {"userId": user, "amount": "700"}}, *flags)
        self.assertEqual(order["status"], "NEW")
        events = self.curl(url, "WatchOrder", {"orderId": order["id"]}, *flags)
        self.assertEqual([event["order"]["status"] for event in events], ["NEW", "FINISHED"])
        [error] = self.curl(url, "CancelOrder", {"orderId": order["id"]}, *flags)
        self.assertEqual(error["code"], "failed_precondition")
        # It knows the message only by the contracts, which have none of Google's errors.
        info = next(detail["value"] for detail in error["details"] if detail["type"] == "google.rpc.ErrorInfo")
        self.assertIn(b"ORDER_NOT_CANCELLABLE", base64.b64decode(info + "=="))

    def test_every_protocol_at_the_edge(self):
        for protocol in ("connect", "grpcweb", "grpc"):
            flags = ["--protocol", protocol, "--schema", str(ROOT / "proto")]
            # Without TLS, HTTP/2 has to be asked for.
            flags += ["--http2-prior-knowledge"] if protocol == "grpc" else []
            with self.subTest(protocol):
                self.places_and_watches(protocol, mesh.edge, *flags)

    def test_reflection_of_the_service(self):
        flags = ["--protocol", "grpc", "--http2-prior-knowledge", "--reflect"]
        self.places_and_watches("reflection", f"http://{mesh.orders}", *flags)


class GrpcJs(unittest.TestCase):
    def test_orders(self):
        mesh.account("grpc-js", 700)
        for name, address in (("edge", mesh.edge.removeprefix("http://")), ("service", mesh.orders)):
            with self.subTest(name):
                command = ["node", generated.HERE / "clients/grpc_js.cjs", generated.NODE, ROOT / "proto", address, "grpc-js"]
                seen = json.loads(generated.run(*command))
                self.assertEqual(seen, {"placed": "NEW", "watched": ["NEW", "FINISHED"], "code": 9, "reason": "ORDER_NOT_CANCELLABLE"})
