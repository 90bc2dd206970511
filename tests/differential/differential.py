"""Sends the same requests to the edge and to Envoy's transcoder, in front of one service, and compares what the service and the client get.

usage: differential.py --envoy BINARY --gateway BINARY --set FILE [--requests 1000] [--seed 1]

The service answers with what it was sent. Differences that deviations.py has are counted; any other one is shown and ends this with status 1.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format

from deviations import ANSWERS_DIFFER, DEVIATIONS, ENVOY_REFUSES, ENVOY_TAKES
from generator import Generator

SERVICE, MESSAGE = "bindings.v1.Bindings", "every.v1.Every"
PATIENCE = 20


class Echo(grpc.GenericRpcHandler):
    """Answers with the message that it was sent, and keeps it."""

    def __init__(self, make):
        self.seen = []
        self.handler = grpc.unary_unary_rpc_method_handler(self.call, make.FromString, make.SerializeToString)

    def service(self, _details):
        return self.handler

    def call(self, request, _context):
        self.seen.append(request)
        return request


def free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def envoy(port, upstream, file):
    def kind(name):
        return "type.googleapis.com/envoy.extensions." + name

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    transcoder = {
        "@type": kind("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"),
        "proto_descriptor": str(file),
        "services": [SERVICE],
        "convert_grpc_status": True,
        # As browsers write queries; without it a plus stays one.
        "query_param_unescape_plus": True,
        # As google/api/http.proto has it; without it all reserved characters stay escaped.
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        # Otherwise what it does not know is passed on to the service as it is, and of two values for a field one is lost.
        "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True, "reject_binding_body_field_collisions": True},
    }
    connections = {
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "15s"}}]}]},
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": kind("filters.http.router.v3.Router")}},
        ],
    }
    cluster = {
        "name": "service", "type": "STATIC", "connect_timeout": "2s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": kind("upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config": {"http2_protocol_options": {}}}},
        "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}
    return {"static_resources": {"listeners": [{"address": address(port), "filter_chains": [chain]}], "clusters": [cluster]}}


def started(command, port, log):
    """A process that listens on this port."""
    process = subprocess.Popen(command, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                sys.exit(f"{command[0]} does not listen: see {log.name}")
            time.sleep(0.05)


def unique(members):
    """An object of JSON, if it has no name twice."""
    read = dict(members)
    if len(read) < len(members):
        raise ValueError("a name twice")
    return read


@dataclasses.dataclass
class Outcome:
    """What the service was sent, and what the client got."""

    service: list
    client: str

    def refused(self):
        return not self.service and self.client == "refused"

    def answered(self):
        return len(self.service) == 1 and self.client != "refused" and not self.client.startswith("status ")


class Edge:
    """What becomes of a request."""

    def __init__(self, port, echo, make, pool):
        self.port, self.echo, self.make, self.pool = port, echo, make, pool

    def meaning(self, message):
        """The same text for the same message: what an Any holds can have several encodings."""
        return text_format.MessageToString(message, as_one_line=True, print_unknown_fields=True, descriptor_pool=self.pool)

    def answer(self, text):
        try:
            # Python reads `-0` as the integer 0, without the sign that a double has.
            read = json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits), object_pairs_hook=unique)
            return self.meaning(json_format.ParseDict(read, self.make(), descriptor_pool=self.pool))
        except (ValueError, json_format.ParseError) as error:
            return f"no message: {error}"

    def outcome(self, request):
        self.echo.seen.clear()
        headers = {} if request.body is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(request.method, request.target, request.body, headers)
            response = connection.getresponse()
            status, text = response.status, response.read()
        finally:
            connection.close()
        sent = [self.meaning(message) for message in self.echo.seen]
        # Why something is refused is worded by each as it likes.
        return Outcome(sent, self.answer(text) if status == 200 else "refused" if 400 <= status < 500 else f"status {status}")


def difference(edge, envoy):
    """What differs, if that is something that the table can have."""
    if envoy.refused() and edge.answered():
        return ENVOY_REFUSES
    if edge.refused() and envoy.answered():
        return ENVOY_TAKES
    if edge.answered() and envoy.answered() and edge.service == envoy.service:
        return ANSWERS_DIFFER
    return None


def compare(edges, requests):
    """How many differ by what is odd about them, and those that the table does not have."""
    listed, others = collections.Counter(), []
    for request in requests:
        outcomes = {name: edge.outcome(request) for name, edge in edges.items()}
        if outcomes["edge"] == outcomes["envoy"]:
            continue
        what = difference(**outcomes)
        tags = request.tags & DEVIATIONS.get(what, {}).keys()
        if tags:
            listed[what, min(tags)] += 1
        else:
            others.append((request, outcomes))
    return listed, others


def main():
    options = argparse.ArgumentParser()
    for name in ["--envoy", "--gateway", "--set"]:
        options.add_argument(name, required=True, type=pathlib.Path)
    options.add_argument("--requests", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(options.set.read_bytes()).file:
        pool.Add(file)
    every = pool.FindMessageTypeByName(MESSAGE)
    make = message_factory.GetMessageClass(every)
    echo = Echo(make)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([echo])
    upstream = server.add_insecure_port("127.0.0.1:0")
    server.start()
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        ports, config = {"edge": free(), "envoy": free()}, folder / "envoy.json"
        config.write_text(json.dumps(envoy(ports["envoy"], upstream, options.set.resolve())))
        commands = {
            "edge": [options.gateway, "--listen", f"127.0.0.1:{ports['edge']}", "--admin", "127.0.0.1:0", "--descriptor-set", options.set, "--upstream", f"http://127.0.0.1:{upstream}"],
            "envoy": [options.envoy, "-c", config, "--log-level", "error", "--disable-hot-restart"],
        }
        try:
            for name, command in commands.items():
                with open(folder / f"{name}.log", "wb") as log:
                    processes.append(started([str(part) for part in command], ports[name], log))
            generator = Generator(every, options.seed)
            requests = [generator.request() for _ in range(options.requests)]
            edges = {name: Edge(port, echo, make, pool) for name, port in ports.items()}
            listed, others = compare(edges, requests)
        finally:
            for process in processes:
                process.kill()
                process.wait()
            server.stop(None)
    for (what, tag), count in listed.most_common():
        print(f"{count:4} | {what} | {tag} | {DEVIATIONS[what][tag]}")
    for request, outcomes in others[:30]:
        print(f"\n{request}\n  edge:  {outcomes['edge']}\n  envoy: {outcomes['envoy']}")
    print(f"\n{options.requests} requests, {sum(listed.values())} listed differences, {len(others)} others")
    sys.exit(1 if others else 0)


if __name__ == "__main__":
    main()
