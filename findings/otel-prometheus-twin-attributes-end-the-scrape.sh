#!/usr/bin/env bash
# The Prometheus exporters of OpenTelemetry: two attributes that become one label. @opentelemetry/exporter-prometheus 0.223.0 (npm) writes
# the label twice, and Prometheus 2.42 (Debian 12) takes nothing of that process any more; 0.66b2 of PyPI drops one of the two values.
#
# Guess: a data point with `user.id` and `user_id` gets the label `user_id` with both values and ";" between them, as the specification demands
#        ("Prometheus and OpenMetrics Compatibility", metric attributes), and at the worst this one series is missing.
# Seen:  the npm exporter writes `{user_id="alice",user_id="bob"}`. Prometheus throws the whole scrape away ("label name is not unique: invalid
#        sample"): every metric of the process is gone and `up` is 0, from the first such point on until the process ends, since an exporter
#        forgets no series. An attribute `le` on a histogram does the same. The exporter for Python keeps one of the two values, so that
#        points that differ in the other one are two samples of one series, of which Prometheus takes the first and drops the second.
# When:  2026-11-30. https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
# Why:   attributes come from several hands: conventions write `user.id`, and a service's own code, its baggage or an older convention `user_id`.
#        One request with both silences all metrics and alerts of its process but those on `up` and `absent`. A view that lets through only
#        the attributes it names (`createAllowListAttributesProcessor`) keeps it from happening.
# Needs: prometheus (started privately, on free ports), python3 with venv, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
processes=()
stop() {
  [ ${#processes[@]} = 0 ] || kill "${processes[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop EXIT
cd "$work"
command -v prometheus >/dev/null || { echo "prometheus is not installed" >&2; exit 2; }
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install opentelemetry-sdk==1.45.2 opentelemetry-exporter-prometheus==0.66b2 \
  prometheus-client==0.26.0
npm install --silent --no-audit --no-fund --ignore-scripts @opentelemetry/exporter-prometheus@0.223.0 @opentelemetry/sdk-metrics@2.12.1 \
  @opentelemetry/api@1.9.1 >/dev/null
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
node_port=$(port) python_port=$(port) prometheus_port=$(port)
cat > exporters.mjs <<'NODE'
import http from 'node:http';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

const recorded = {
  plain: (meter) => meter.createCounter('orders').add(1, { 'user.id': 'alice' }),
  twins: (meter) => {
    meter.createCounter('others').add(1);
    meter.createCounter('orders').add(1, { 'user.id': 'alice', user_id: 'bob' });
  },
  le: (meter) => {
    meter.createCounter('others').add(1);
    meter.createHistogram('took').record(3, { le: 'x' });
  },
};
const exporters = {};
for (const [name, record] of Object.entries(recorded)) {
  exporters[name] = new PrometheusExporter({ preventServerStart: true });
  record(new MeterProvider({ readers: [exporters[name]] }).getMeter('shop'));
}
http.createServer((request, answer) => exporters[request.url.slice(1)].getMetricsRequestHandler(request, answer))
  .listen(Number(process.argv[2]), '127.0.0.1');
NODE
cat > exporter.py <<'PYTHON'
import sys, time
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

meter = MeterProvider(metric_readers=[PrometheusMetricReader()]).get_meter("shop")
orders = meter.create_counter("orders")
orders.add(1, {"user.id": "alice", "user_id": "carol"})
orders.add(2, {"user.id": "bob", "user_id": "carol"})
start_http_server(int(sys.argv[1]), "127.0.0.1")
time.sleep(600)
PYTHON
cat > prometheus.yml <<YAML
global: { scrape_interval: 1s }
scrape_configs:
  - { job_name: plain, metrics_path: /plain, static_configs: [ { targets: ['127.0.0.1:$node_port'] } ] }
  - { job_name: twins, metrics_path: /twins, static_configs: [ { targets: ['127.0.0.1:$node_port'] } ] }
  - { job_name: le, metrics_path: /le, static_configs: [ { targets: ['127.0.0.1:$node_port'] } ] }
  - { job_name: python, static_configs: [ { targets: ['127.0.0.1:$python_port'] } ] }
YAML
node exporters.mjs "$node_port" & processes+=($!)
venv/bin/python exporter.py "$python_port" & processes+=($!)
prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address="127.0.0.1:$prometheus_port" 2> prometheus.log & processes+=($!)
cat > seen.py <<'PYTHON'
import json, sys, time, urllib.parse, urllib.request

NODE, PYTHON, PROMETHEUS = sys.argv[1:]


def read(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def targets():
    try:
        found = json.loads(read(f"http://127.0.0.1:{PROMETHEUS}/api/v1/targets"))["data"]["activeTargets"]
    except OSError:
        return []
    return [(target["labels"]["job"], target["health"], target["lastError"]) for target in found]


deadline = time.monotonic() + 60
while not (found := targets()) or any(health == "unknown" or "refused" in error for _, health, error in found):
    assert time.monotonic() < deadline, found
    time.sleep(0.5)
print(read(f"http://127.0.0.1:{NODE}/twins"))
health = {job: (state, error.split(" is not unique")[0].removeprefix("label name ")) for job, state, error in found}


def series(query):
    url = f"http://127.0.0.1:{PROMETHEUS}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    return sorted((r["metric"]["job"], r["metric"].get("user_id", ""), r["value"][1]) for r in json.loads(read(url))["data"]["result"])


lines = sorted(line for line in read(f"http://127.0.0.1:{PYTHON}/metrics").splitlines() if line.startswith("orders_total"))
seen = {
    "health": health,
    "orders": series("orders_total"),
    "others": series("others_total"),
    "python": [line.split("user_id=")[1] for line in lines],
}
print(json.dumps(seen, indent=1))
expected = {
    "health": {"plain": ("up", ""), "twins": ("down", '"user_id"'), "le": ("down", '"le"'), "python": ("up", "")},
    "orders": [("plain", "alice", "1"), ("python", "carol", "1")],
    "others": [],
    "python": ['"carol"} 1.0', '"carol"} 2.0'],
}
assert seen == expected, expected
PYTHON
venv/bin/python seen.py "$node_port" "$python_port" "$prometheus_port"
