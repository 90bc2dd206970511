#!/usr/bin/env bash
# RabbitMQ 3.10.8 and 4.0.5: a quorum queue that was just declared loses what it has confirmed when the broker is killed.
#
# Guess: a confirm of a quorum queue means that the message is on disk, so that a broker which is killed and started again has it.
# Seen:  killed (SIGKILL) right after the last of ten confirms and up again, it has the queue and answers nothing about it: basic.get waits for more
#        than 20 s. Killed 3 s after the declaration it has all ten. By its sources, what was confirmed is on disk, but the name that it is found by
#        is in a table that is written half a second later (`names.dets`, auto_save in ra_directory.erl): the queue has no leader.
# When:  2026-11-30, rabbitmq-server 3.10.8 of Debian 12 and 4.0.5 of Debian 13, pika 1.4.4.
# Why:   a topology that is declared when it is first needed is at its most fragile in its first second: what was confirmed then is gone, and
#        later commands on the queue hang. ra once wrote the table at once, and does not any more (https://github.com/rabbitmq/ra/pull/443).
# Needs: rabbitmq-server 3.10 or later (its programs, those of the folder RABBITMQ_BIN if it is set, are started privately, on free ports),
#        python3 with venv, PyPI.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
stop() {
  [ -f "$work/pid" ] && kill -9 "$(cat "$work/pid")" 2>/dev/null || true
  epmd -port "${epmd:-0}" -kill >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap stop EXIT
bin=${RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}
[ -x "$bin/rabbitmq-server" ] || { echo "rabbitmq-server is not installed" >&2; exit 2; }
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
  ERL_EPMD_PORT="$epmd" RABBITMQ_ALLOW_INPUT=1 RABBITMQ_SERVER_START_ARGS="-noshell -noinput"
"$bin/rabbitmqctl" version
venv/bin/python - "$bin/rabbitmq-server" "$amqp" <<'PY'
import signal, subprocess, sys, time
import pika

script, port = sys.argv[1:]
MESSAGES = 10

def start():
    # RABBITMQ_ALLOW_INPUT makes the script become the broker: this is its process.
    with open("log/out", "ab") as log:
        server = subprocess.Popen([script], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    with open("pid", "w") as pid:
        pid.write(str(server.pid))
    until = time.monotonic() + 120
    while True:
        try:
            return server, pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port)))
        except pika.exceptions.AMQPError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)

def stuck(*_):
    raise TimeoutError

def found(connection, queue):
    """How many messages it has, or that it answers nothing."""
    signal.signal(signal.SIGALRM, stuck)
    signal.alarm(20)
    channel, count = connection.channel(), 0
    try:
        while channel.basic_get(queue, auto_ack=True)[0]:
            count += 1
        return f"{count} of {MESSAGES}"
    except TimeoutError:
        return "no answer within 20 s"
    finally:
        signal.alarm(0)

seen = {}
server, connection = start()
for name, seconds in (("killed at once", 0), ("killed after 3 s", 3)):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    for number in range(MESSAGES):
        # Raises unless it is confirmed.
        channel.basic_publish("", name, str(number).encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
    time.sleep(seconds)
    server.kill()
    server.wait()
    server, connection = start()
    seen[name] = found(connection, name)
    print(f"{name}: {seen[name]}")
    if "no answer" in seen[name]:
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port)))
assert seen["killed at once"] != f"{MESSAGES} of {MESSAGES}" and seen["killed after 3 s"] == f"{MESSAGES} of {MESSAGES}", seen
PY
