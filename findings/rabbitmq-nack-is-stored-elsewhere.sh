#!/usr/bin/env bash
# RabbitMQ 3.10.8: a publisher that is told nack has stored its message all the same, where another queue had room.
#
# Guess: a nack says that the message is nowhere, so that sending it again until it is confirmed stores it once in each queue.
# Seen:  bound to a full queue (max-length, overflow reject-publish) and to one with room, each refused message is in the one with room; with
#        reject-publish-dlx it is a dead letter besides. Sent until confirmed, it is there once for each attempt. A quorum queue with room for one
#        takes two before it refuses.
# When:  2026-11-30, rabbitmq-server 3.10.8 of Debian 12, pika 1.4.4.
# Why:   an outbox sends until it is confirmed. One full queue of one subscriber multiplies the events of all the others on the exchange, at the
#        pace of the attempts, and fills the dead letters: consumers have to know an event by its id, also where nobody ever crashes.
# Needs: rabbitmq-server 3.10 (its programs are started privately, on free ports), python3 with venv, PyPI.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
server=
stop() {
  [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
  epmd -port "${epmd:-0}" -kill >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap stop EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pika==1.4.4
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
amqp=$(port) dist=$(port) epmd=$(port)
mkdir -p data log
printf 'listeners.tcp.1 = 127.0.0.1:%s\n' "$amqp" > rabbitmq.conf
printf '[].' > plugins
export HOME="$work" RABBITMQ_NODENAME="finding@localhost" RABBITMQ_MNESIA_BASE="$work/data" RABBITMQ_LOG_BASE="$work/log" \
  RABBITMQ_CONFIG_FILE="$work/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$work/plugins" RABBITMQ_DIST_PORT="$dist" \
  ERL_EPMD_PORT="$epmd" RABBITMQ_PID_FILE="$work/pid"
bin=/usr/lib/rabbitmq/bin
[ -x "$bin/rabbitmq-server" ] || { echo "rabbitmq-server is not installed" >&2; exit 2; }
"$bin/rabbitmq-server" > log/out 2>&1 &
server=$!
"$bin/rabbitmqctl" --quiet wait --timeout 60 "$work/pid" > /dev/null
"$bin/rabbitmqctl" version
venv/bin/python - "$amqp" <<'PY'
import collections, sys, time
import pika

connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))

class Site:
    """A fanout exchange with a queue that holds one message, one that holds all, and the dead letters of the first."""

    def __init__(self, kind, overflow):
        self.channel, self.name = connection.channel(), f"{kind} {overflow}"
        self.channel.confirm_delivery()
        self.channel.exchange_declare(self.name, "fanout")
        limits = {"x-queue-type": kind, "x-max-length": 1, "x-overflow": overflow}
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.queue("dead")}
        for which, arguments in {"full": limits | dead, "roomy": {}, "dead": {}}.items():
            self.channel.queue_declare(self.queue(which), durable=True, arguments=arguments)
        for which in ("full", "roomy"):
            self.channel.queue_bind(self.queue(which), self.name)

    def queue(self, which):
        return f"{self.name}: {which}"

    def publish(self, body):
        try:
            self.channel.basic_publish(self.name, "", body.encode(), pika.BasicProperties(delivery_mode=2))
            return "ack"
        except pika.exceptions.NackError:
            return "nack"

    def bodies(self, which):
        """How often each body is in a queue; this empties it."""
        found = collections.Counter()
        while (got := self.channel.basic_get(self.queue(which), auto_ack=True))[0]:
            found[got[2].decode()] += 1
        return dict(found)

seen = {}
for kind, overflow in (("classic", "reject-publish"), ("classic", "reject-publish-dlx"), ("quorum", "reject-publish")):
    site = Site(kind, overflow)
    filled = 0
    while site.publish(f"first {filled}") == "ack":
        filled += 1
    # The one that was just refused, until it is confirmed: three attempts at a full queue, and one at a queue with room.
    again = [site.publish(f"first {filled}") for _ in range(2)]
    full = site.bodies("full")
    until = time.monotonic() + 30
    while (answer := site.publish(f"first {filled}")) != "ack" and time.monotonic() < until:
        time.sleep(0.1)
    again.append(answer)
    refused = f"first {filled}"
    seen[site.name] = {"filled": filled, "answers": again, "full": len(full),
                       "roomy": site.bodies("roomy")[refused], "dead": site.bodies("dead").get(refused, 0)}
    print(site.name, seen[site.name])
answers = ["nack", "nack", "ack"]
for name, filled, dead in (("classic reject-publish", 1, 0), ("classic reject-publish-dlx", 1, 3), ("quorum reject-publish", 2, 0)):
    was = seen[name]
    assert was["filled"] == was["full"] == filled and was["answers"] == answers and was["dead"] == dead, name
    # A quorum queue may refuse once more after it was emptied.
    assert was["roomy"] >= 4, name
PY
