#!/usr/bin/env bash
# kombu 5.6.2 (and with it Celery): bodies of another publisher are text in UTF-8 unless their content-encoding is "binary".
#
# Guess: a body whose content type nobody has registered, such as application/protobuf, reaches the callback as the bytes that were sent.
# Seen:  without a content-encoding, which is optional in AMQP, the type of the body depends on what is in it: bytes that happen to be UTF-8
#        come as str, all others raise DecodeError in drain_events, before any callback; they stay unacknowledged, and come again with the
#        next connection. With content-encoding "binary" all of them come as bytes. A content type listed in `accept` changes nothing.
# When:  2026-11-29, rabbitmq-server 3.10.8 of Debian 12, py-amqp 5.4.2, pika 1.3.2 as the publisher.
# Why:   a consumer of protobuf works in tests with short names and small numbers, and stops at the first larger number; the publisher has
#        to say "binary", a word of kombu's and no content coding of HTTP.
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
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check kombu==5.6.2 amqp==5.4.2 pika==1.3.2
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
"$work/venv/bin/python" - "$amqp" <<'PY'
import sys, time
import kombu, pika
from kombu.exceptions import DecodeError

port = int(sys.argv[1])
publisher = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)).channel()
publisher.queue_declare("events")
# The field 1 of a message of protobuf: a text; and the number 300.
bodies = {"a short text": b"\x0a\x03abc", "the number 300": b"\x08\xac\x02"}


def received(encoding, body, **options):
    publisher.queue_purge("events")
    publisher.basic_publish("", "events", body, pika.BasicProperties(content_type="application/protobuf", content_encoding=encoding))
    seen = []

    def callback(decoded, message):
        message.ack()
        seen.append(type(decoded).__name__ + ("" if decoded == body else ", not what was sent"))

    with kombu.Connection(f"amqp://guest:guest@127.0.0.1:{port}//") as connection:
        with kombu.Consumer(connection, [kombu.Queue("events", no_declare=True)], callbacks=[callback], **options):
            try:
                connection.drain_events(timeout=20)
            except DecodeError:
                seen.append("DecodeError")
    # What was not acknowledged comes back once the broker has noticed the end of the connection.
    deadline = time.monotonic() + 10
    while True:
        left = publisher.queue_declare("events", passive=True).method.message_count
        if left or "DecodeError" not in seen or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return ", ".join(seen) + (f", {left} left in the queue" if left else "")


outcomes = {
    (what, encoding, bool(options)): received(encoding, body, **options)
    for what, body in bodies.items()
    for encoding in (None, "binary")
    for options in ({}, {"accept": ["application/protobuf"]})
}
for (what, encoding, accepted), outcome in outcomes.items():
    print(f"{what}, content-encoding {encoding}, {'accepted' if accepted else 'default'}: {outcome}")
for accepted in (False, True):
    assert outcomes["a short text", None, accepted] == "str, not what was sent", "it has changed"
    assert outcomes["the number 300", None, accepted] == "DecodeError, 1 left in the queue", "it has changed"
    assert outcomes["a short text", "binary", accepted] == "bytes", "it has changed"
    assert outcomes["the number 300", "binary", accepted] == "bytes", "it has changed"
PY
