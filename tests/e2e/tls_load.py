"""Clients that go on calling while certificates change, and share no code with ours.

Arguments: a URL of the form https://localhost:PORT/PATH, and a folder whose ..data has ca.crt, client.crt and client.key, which are read anew for each
connection. Half of the clients keep theirs. Each line of the input is answered by one that says how many answers were 200, what failed, and
which certificates the server has shown; so is its end, when all clients have ended.
"""

import hashlib
import http.client
import json
import pathlib
import ssl
import sys
import threading
import urllib.parse

url, folder = urllib.parse.urlsplit(sys.argv[1]), pathlib.Path(sys.argv[2])
seen = {"answered": 0, "failed": [], "shown": []}
lock, stop = threading.Lock(), threading.Event()


def connect():
    # All of one version, whatever the link leads to meanwhile.
    version = (folder / "..data").resolve()
    context = ssl.create_default_context(cafile=version / "ca.crt")
    context.load_cert_chain(version / "client.crt", version / "client.key")
    connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=20, context=context)
    connection.connect()
    shown = hashlib.sha256(connection.sock.getpeercert(True)).hexdigest()
    with lock:
        if shown not in seen["shown"]:
            seen["shown"].append(shown)
    return connection


def client(keeps):
    connection = None
    while not stop.is_set():
        try:
            connection = connection or connect()
            connection.request("GET", url.path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status} {body!r}")
            with lock:
                seen["answered"] += 1
            if not keeps:
                connection.close()
                connection = None
            stop.wait(0.005)
        except Exception as error:
            with lock:
                seen["failed"].append(repr(error))
            connection = None
            stop.wait(0.1)
    if connection:
        connection.close()


clients = [threading.Thread(target=client, args=(number % 2 == 0,)) for number in range(4)]
for thread in clients:
    thread.start()


def report():
    with lock:
        print(json.dumps(seen), flush=True)


for _ in sys.stdin:
    report()
stop.set()
for thread in clients:
    thread.join()
report()
