#!/usr/bin/env bash
# A call of gRPC that is still at work when HAProxy 2.6 or nginx 1.22 loses patience is executed again: grpcio 1.85.3, not @grpc/grpc-js 1.14.7.
#
# Guess: a proxy that waits no longer answers DEADLINE_EXCEEDED or UNKNOWN, since the outcome is not known; a retry policy for UNAVAILABLE,
#        which says that the call can be sent again, does not count it.
# Seen:  both answer 504 of HTTP, which the clients read as UNAVAILABLE. grpcio sends the call again: under a policy of three attempts
#        a service that does not look for cancellation executes a payment three times, each to its end, and the client is told UNAVAILABLE.
#        grpc-js, with the same service config, takes the headers of the 504 for an answer that has begun, and never repeats.
#        Behind nginx it is chance whether grpcio repeats: it does when the end of the answer comes together with its headers.
# When:  2026-11-30, Debian 12. https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
# Why:   UNAVAILABLE is the code that everybody repeats. Behind a proxy whose time-out is shorter than a call may take, it does not mean that
#        nothing was done: writes need idempotency keys, or deadlines below the proxy's time-out (`timeout server`, `grpc_read_timeout`).
# Needs: haproxy, nginx, python3 with venv, PyPI, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
chmod 777 "$work"
proxies=()
stop() {
  [ ${#proxies[@]} = 0 ] || kill "${proxies[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install grpcio==1.85.3
npm install --silent --no-audit --no-fund --ignore-scripts @grpc/grpc-js@1.14.7 >/dev/null
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
service=$(port) haproxy=$(port) nginx=$(port)
cat > haproxy.cfg <<CFG
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 1s
frontend calls
  bind 127.0.0.1:$haproxy proto h2
  default_backend service
backend service
  server one 127.0.0.1:$service proto h2
CFG
cat > nginx.conf <<CONF
daemon off;
error_log $work/nginx.log;
pid $work/nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  server {
    listen 127.0.0.1:$nginx http2;
    location / {
      grpc_pass grpc://127.0.0.1:$service;
      grpc_read_timeout 1s;
    }
  }
}
CONF
/usr/sbin/haproxy -v | sed -n 1p
/usr/sbin/nginx -v
/usr/sbin/haproxy -db -f haproxy.cfg > haproxy.log 2>&1 &
proxies+=($!)
/usr/sbin/nginx -e "$work/nginx.log" -c "$work/nginx.conf" &
proxies+=($!)
cat > pay.cjs <<'JS'
const grpc = require('@grpc/grpc-js');
const [port, config, payment] = process.argv.slice(2);
const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { 'grpc.service_config': config });
const options = { deadline: Date.now() + 20_000 };
const same = (bytes) => bytes;
client.makeUnaryRequest('/Payments/Pay', same, same, Buffer.from(payment), new grpc.Metadata(), options, (error, answer) => {
  console.log(error ? grpc.status[error.code] : String(answer));
  client.close();
});
JS
cat > pay.py <<'PY'
import collections, json, subprocess, sys, threading
from concurrent import futures
import grpc

service, *proxies = sys.argv[1:]
begun, ended = collections.Counter(), collections.Counter()

def pay(payment, context):
    begun[payment.decode()] += 1
    threading.Event().wait(2)
    ended[payment.decode()] += 1
    return b"OK"

workers = futures.ThreadPoolExecutor(32)
server = grpc.server(workers)
handler = grpc.unary_unary_rpc_method_handler(pay)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Payments", {"Pay": handler}),))
server.add_insecure_port(f"127.0.0.1:{service}")
server.start()
policy = {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "0.1s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}
config = json.dumps({"methodConfig": [{"name": [{"service": "Payments"}], "retryPolicy": policy}]})

def grpcio(port, payment):
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.service_config", config)]) as channel:
        try:
            return channel.unary_unary("/Payments/Pay")(payment.encode(), timeout=20, wait_for_ready=True).decode()
        except grpc.RpcError as error:
            return error.code().name

def grpc_js(port, payment):
    return subprocess.run(["node", "pay.cjs", port, config, payment], check=True, capture_output=True, text=True).stdout.strip()

addresses = {"nobody": service, "HAProxy": proxies[0], "nginx": proxies[1]}
seen = {}
with futures.ThreadPoolExecutor(6) as clients:
    ways = [(client, where) for client in (grpcio, grpc_js) for where in addresses]
    answers = {way: clients.submit(way[0], addresses[way[1]], f"{way[0].__name__} {way[1]}") for way in ways}
    for (client, where), answer in answers.items():
        seen[client.__name__, where] = answer.result()
server.stop(None).wait()
workers.shutdown(wait=True)
for (client, where), answer in seen.items():
    payment = f"{client} {where}"
    print(f"{client} behind {where}: {answer}, begun {begun[payment]} times, ended {ended[payment]} times")
assert begun == ended, "a payment that was begun did not end"
times = {way: begun[" ".join(way)] for way in seen}
assert all(seen[client, "nobody"] == "OK" for client in ("grpcio", "grpc_js"))
assert all(answer == "UNAVAILABLE" for (_, where), answer in seen.items() if where != "nobody")
assert times["grpcio", "HAProxy"] == 3 and 1 <= times["grpcio", "nginx"] <= 3
assert all(count == 1 for (client, where), count in times.items() if client == "grpc_js" or where == "nobody")
PY
venv/bin/python pay.py "$service" "$haproxy" "$nginx"
