"""Clients that others generate of `/openapi.json`: each opens an account, tops it up, places an order, watches it, lists it, cancels without a
body, and decides by the reason of an error, all by the names and types that were generated."""

import concurrent.futures
import json
import os
import pathlib
import sys
import tempfile
import unittest

import generated
from mesh import Mesh, call

EXPECTED = {
    "opened": "0",
    "topped_up": "1000",
    # The same entry again, not a second one.
    "repeated": "1",
    "placed": "NEW",
    "watched": ["NEW", "FINISHED"],
    "listed": ["FINISHED"],
    "cancelled": True,
    "too_late": "ORDER_NOT_CANCELLABLE",
    "absent": "ACCOUNT_NOT_FOUND",
}
CLIENTS = generated.HERE / "clients"


def setUpModule():
    global mesh, paused, folder
    mesh, paused = Mesh(), Mesh().pause()
    unittest.addModuleCleanup(mesh.end)
    unittest.addModuleCleanup(paused.end)
    made = tempfile.TemporaryDirectory(prefix="neighbours-")
    unittest.addModuleCleanup(made.cleanup)
    folder = pathlib.Path(made.name)
    status, document = call(f"{mesh.edge}/openapi.json")
    assert status == 200, document
    generated.generate(document, folder)


class Generated(unittest.TestCase):
    def places_an_order(self, user, *command):
        env = {**os.environ, "PYTHONPATH": str(folder / "python")}
        seen = json.loads(generated.run(*command, mesh.edge, paused.edge, user, env=env))
        self.assertEqual(seen, EXPECTED)
        # What the mesh itself says of it.
        self.assertEqual(call(f"{mesh.edge}/gateway/payments/{user}")[1]["balance"], "700")
        self.assertEqual(call(f"{paused.edge}/gateway/orders?userId={user}")[1]["orders"][0]["status"], "NEW")

    def test_openapi_generator_python(self):
        self.places_an_order("python", sys.executable, CLIENTS / "openapi_generator.py")

    def test_openapi_generator_typescript_fetch(self):
        self.places_an_order("typescript", "node", folder / "typescript/built/typescript_fetch.js")

    def test_openapi_generator_java(self):
        self.places_an_order("java", "java", "-XX:TieredStopAtLevel=1", "-cp", f"{folder / 'classes'}:{generated.JAR}", "PlaceOrder")

    def test_openapi_generator_go(self):
        self.places_an_order("go", folder / "place_order")

    def test_openapi_python_client(self):
        self.places_an_order("httpx", sys.executable, CLIENTS / "openapi_python_client.py")

    def test_hey_api(self):
        self.places_an_order("hey-api", "node", folder / "typescript/built/hey_api.js")

    def test_orval(self):
        self.places_an_order("orval", "node", folder / "typescript/built/orval.js")
