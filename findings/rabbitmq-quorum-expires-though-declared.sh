#!/usr/bin/env bash
# RabbitMQ 3.10.8: declaring it again keeps a classic queue from expiring, and not a quorum queue.
#
# Guess: the documentation of `expires` (queue TTL) calls a queue unused that has no consumer, was not redeclared and not asked by
#        basic.get: so a monitor that declares it passively every half second keeps it, as one that declares it actively does.
# Seen:  under a policy of 3 s, a classic queue that is declared every half second, passively or actively, is still there after 8 s with its
#        message. A quorum queue is gone with what was confirmed into it; the active declare makes it again, empty and without a word.
# When:  2026-11-28, rabbitmq-server 3.10.8 of Debian 12, pika 1.3.2.
# Why:   who declares his queues now and then, so that they outlive a consumer that is away, is not protected from an operator's policy:
#        the queue goes with all that was confirmed into it, and is there again at the next look.
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
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check pika==1.3.2
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
amqp=$(port) dist=$(port) epmd=$(port)
mkdir -p "$work/data" "$work/log"
printf 'listeners.tcp.1 = 127.0.0.1:%s\n' "$amqp" > "$work/rabbitmq.conf"
printf '[].' > "$work/plugins"
export HOME="$work" RABBITMQ_NODENAME="finding@localhost" RABBITMQ_MNESIA_BASE="$work/data" RABBITMQ_LOG_BASE="$work/log" \
  RABBITMQ_CONFIG_FILE="$work/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$work/plugins" RABBITMQ_DIST_PORT="$dist" \
  ERL_EPMD_PORT="$epmd" RABBITMQ_PID_FILE="$work/pid"
bin=/usr/lib/rabbitmq/bin
[ -x "$bin/rabbitmq-server" ] || { echo "rabbitmq-server is not installed" >&2; exit 2; }
"$bin/rabbitmq-server" > "$work/log/out" 2>&1 &
server=$!
"$bin/rabbitmqctl" --quiet wait --timeout 60 "$work/pid" > /dev/null
"$bin/rabbitmqctl" version
"$bin/rabbitmqctl" --quiet set_policy short '.*' '{"expires":3000}' --apply-to queues
"$work/venv/bin/python" - "$amqp" <<'PY'
import sys, time, pika
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))
def declare(name, kind, passive):
    channel = connection.channel()
    arguments = {"x-queue-type": "quorum"} if kind == "quorum" else {}
    try:
        channel.queue_declare(name, passive=passive, durable=True, arguments=arguments)
        channel.close()
        return True
    except pika.exceptions.ChannelClosedByBroker:
        return False
uses = {f"{kind} {use}": (kind, use) for kind in ("quorum", "classic") for use in ("left alone", "passive declare", "active declare")}
for name, (kind, _) in uses.items():
    declare(name, kind, False)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", name, b"confirmed", pika.BasicProperties(delivery_mode=2), mandatory=True)
    channel.close()
lost = {}
begun = time.monotonic()
while time.monotonic() - begun < 8:
    for name, (kind, use) in uses.items():
        if use == "passive declare" and name not in lost and not declare(name, kind, True):
            lost[name] = time.monotonic() - begun
        if use == "active declare":
            # It would make a lost one again: whether one was lost shows by its message.
            declare(name, kind, False)
    time.sleep(0.5)
def kept(name):
    channel = connection.channel()
    try:
        return channel.basic_get(name)[2] == b"confirmed"
    except pika.exceptions.ChannelClosedByBroker:
        return False
left = {name: kept(name) for name in uses}
for name in uses:
    when = f", gone after {lost[name]:.1f} s" if name in lost else ""
    print(f"{name}: {'kept with its message' if left[name] else 'lost'}{when}")
expected = {"quorum left alone": False, "quorum passive declare": False, "quorum active declare": False,
            "classic left alone": False, "classic passive declare": True, "classic active declare": True}
sys.exit(0 if left == expected else "it is not so any more")
PY
