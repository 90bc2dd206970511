#!/usr/bin/env bash
# Numbers and times in AMQP headers are others at the reader, without an error: pika 1.4.4, aio-pika 10.2.1 (pamqp 4.0.1), amqplib 2.3.1 (npm).
#
# Guess: a header keeps its value between clients of AMQP 0-9-1 that know its type; what a client does not know, it refuses.
# Seen:  pika refuses to send a float, and reads every float as an integer: 19.99 is 19. aio-pika writes a float with 32 bits: 19.99 is
#        19.989999771118164 at every reader that keeps fractions. amqplib reads a negative decimal as 4294965297, since it takes the digits for
#        unsigned, and 9007199254740993 one off; a Date that it sends arrives as an empty table.
# When:  2026-11-30, rabbitmq-server 3.10.8 of Debian 12.
# Why:   extensions of CloudEvents, times and amounts travel in headers. Text arrives as it was sent from every client to every other: whoever
#        has neighbours of several languages sends text, or integers below 2^53, and nothing else.
# Needs: rabbitmq-server 3.10 (its programs are started privately, on free ports), python3 with venv, PyPI, npm with Node 20.
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
venv/bin/python -m pip install --quiet --disable-pip-version-check pika==1.4.4 aio-pika==10.2.1 aiormq==7.2.4 pamqp==4.0.1
npm install --silent --no-audit --no-fund --ignore-scripts amqplib@2.3.1 >/dev/null
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
cat > clients.cjs <<'JS'
const amqplib = require('amqplib');
const [port, does] = process.argv.slice(2);
(async () => {
  const connection = await amqplib.connect(`amqp://127.0.0.1:${port}`);
  const channel = await connection.createConfirmChannel();
  if (does === 'send') {
    channel.sendToQueue('headers', Buffer.alloc(0), { headers: { price: 19.99, text: '19.99', at: new Date(0) } });
    await channel.waitForConfirms();
  } else {
    const { headers } = (await channel.get('headers', { noAck: true })).properties;
    for (const [name, value] of Object.entries(headers)) {
      console.log(name, typeof value === 'string' ? value : JSON.stringify(value.value?.digits ?? value));
    }
  }
  await connection.close();
})();
JS
cat > clients.py <<'PY'
import asyncio, subprocess, sys
from decimal import Decimal
import aio_pika, pika

port = sys.argv[1]
url = f"amqp://guest:guest@127.0.0.1:{port}"
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.queue_declare("headers")
seen = []

def see(way, name, value):
    seen.append(f"{way}: {name} {value}")
    print(seen[-1])

async def aio(headers):
    async with await aio_pika.connect(url) as connection:
        on = await connection.channel()
        if headers:
            await on.default_exchange.publish(aio_pika.Message(b"", headers=headers), "headers")
            return {}
        return dict((await (await on.get_queue("headers")).get(no_ack=True)).headers)

def send_pika():
    headers = {"fee": Decimal("-19.99"), "id": 2**53 + 1, "text": "19.99"}
    try:
        channel.basic_publish("", "headers", b"", pika.BasicProperties(headers=headers | {"price": 19.99}))
    except pika.exceptions.UnsupportedAMQPFieldException:
        see("pika", "price", "is refused")
        fresh = pika.BlockingConnection(pika.URLParameters(url))
        fresh.channel().basic_publish("", "headers", b"", pika.BasicProperties(headers=headers))
        fresh.close()

def node(does):
    return subprocess.run(["node", "clients.cjs", port, does], check=True, capture_output=True, text=True).stdout

senders = {
    "aio-pika": lambda: asyncio.run(aio({"price": 19.99, "fee": Decimal("-19.99"), "id": 2**53 + 1, "text": "19.99"})),
    "pika": send_pika,
    "amqplib": lambda: node("send"),
}
readers = {
    "pika": lambda: channel.basic_get("headers", auto_ack=True)[1].headers.items(),
    "aio-pika": lambda: asyncio.run(aio(None)).items(),
    "amqplib": lambda: [line.split(" ", 1) for line in node("read").splitlines()],
}
for sender, send in senders.items():
    for reader, read in readers.items():
        if sender != reader:
            send()
            for name, value in read():
                see(f"{sender} to {reader}", name, value)
with open("seen", "w") as out:
    print(*sorted(set(seen)), sep="\n", file=out)
PY
venv/bin/python clients.py "$amqp"
diff - seen <<'SEEN'
aio-pika to amqplib: fee 4294965297
aio-pika to amqplib: id 9007199254740992
aio-pika to amqplib: price 19.989999771118164
aio-pika to amqplib: text 19.99
aio-pika to pika: fee -19.99
aio-pika to pika: id 9007199254740993
aio-pika to pika: price 19
aio-pika to pika: text 19.99
amqplib to aio-pika: at {}
amqplib to aio-pika: price 19.99
amqplib to aio-pika: text 19.99
amqplib to pika: at {}
amqplib to pika: price 19
amqplib to pika: text 19.99
pika to aio-pika: fee -19.99
pika to aio-pika: id 9007199254740993
pika to aio-pika: text 19.99
pika to amqplib: fee 4294965297
pika to amqplib: id 9007199254740992
pika to amqplib: text 19.99
pika: price is refused
SEEN
