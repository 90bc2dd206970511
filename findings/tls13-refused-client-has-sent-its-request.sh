#!/usr/bin/env bash
# TLS 1.3: clients of HTTP report a certificate that the server refuses as a request that was lost, not as a connection that failed:
# httpx 0.28.1, aiohttp 3.14.5, urllib3 2.8.0, on the ssl module of Python 3.11.
#
# Guess: a client whose certificate is not accepted fails while it connects, as with TLS 1.2, so that a POST is known not to have been sent.
# Seen:  with TLS 1.2 it does: httpx.ConnectError, aiohttp's ClientConnectorError. With TLS 1.3 the handshake is over for the client before
#        the server has looked at its certificate: the request is sent, and the refusal is read in the place of the answer. httpx
#        says ReadError and aiohttp ClientOSError, which are what they say when a server dies at work; urllib3 says SSLError both times.
# When:  2026-11-29.
# Why:   whoever repeats a write only after errors of connecting gives up here, or has to treat a refused certificate as an unknown outcome.
#        A client that wants to know sends something harmless first and waits for its answer, such as a PING of HTTP/2.
# Needs: python3.11 with venv, PyPI.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check trustme==1.2.1 httpx==0.28.1 urllib3==2.8.0 aiohttp==3.14.5
cat > refused.py <<'PY'
import asyncio, socket, ssl, threading
import aiohttp, httpx, trustme, urllib3

ours, theirs = trustme.CA(), trustme.CA()
ours.cert_pem.write_to_path("ca.pem")
theirs.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path("client.pem")


def serve(version):
    """A server that lets in clients of its own authority; its port, and what it has made of each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("localhost").configure_cert(context)
    ours.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    listener, outcomes = socket.create_server(("127.0.0.1", 0)), []

    def accept():
        while True:
            connection, _ = listener.accept()
            try:
                context.wrap_socket(connection, server_side=True)
                outcomes.append("let in")
            except ssl.SSLError:
                outcomes.append("refused")
                connection.close()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1], outcomes


def context():
    made = ssl.create_default_context(cafile="ca.pem")
    made.load_cert_chain("client.pem")
    return made


def by_httpx(url):
    httpx.Client(verify=context(), trust_env=False).post(url, content=b"a write")


def by_urllib3(url):
    urllib3.PoolManager(ssl_context=context(), retries=False).request("POST", url, body=b"a write")


def by_aiohttp(url):
    async def post():
        async with aiohttp.ClientSession() as session, session.post(url, data=b"a write", ssl=context()) as answer:
            await answer.read()

    asyncio.run(post())


seen = {}
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    port, outcomes = serve(version)
    for call in (by_httpx, by_urllib3, by_aiohttp):
        try:
            call(f"https://localhost:{port}/")
        except Exception as error:
            seen[call.__name__, version.name] = error
    assert outcomes == ["refused"] * 3, outcomes
for (call, version), error in seen.items():
    print(f"{call}, {version}: {type(error).__module__}.{type(error).__name__}")
assert type(seen["by_httpx", "TLSv1_2"]) is httpx.ConnectError, "it has changed"
assert type(seen["by_httpx", "TLSv1_3"]) is httpx.ReadError, "it has changed"
assert isinstance(seen["by_aiohttp", "TLSv1_2"], aiohttp.ClientConnectorError), "it has changed"
assert not isinstance(seen["by_aiohttp", "TLSv1_3"], aiohttp.ClientConnectorError), "it has changed"
assert {type(seen["by_urllib3", version]) for version in ("TLSv1_2", "TLSv1_3")} == {urllib3.exceptions.SSLError}, "it has changed"
PY
venv/bin/python refused.py
