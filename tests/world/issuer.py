"""An issuer of tokens: keys, a JWKS over HTTP, and tokens of every kind, made with PyJWT.

POST / takes a JSON object and answers one:
  {"do": "key", "kid", "alg"}                    makes a key; it is not published yet
  {"do": "publish", "kids": [...]}               what the JWKS holds from now on
  {"do": "token", "kid", "claims", "header"}     a token signed by that key
  {"do": "unsigned", "claims"}                   a token with the algorithm `none`
  {"do": "confused", "kid", "claims"}            a token signed by HS256, with that key's public PEM as the secret
  {"do": "away", "away": bool}                   whether GET is answered 503
GET answers the JWKS, and counts how often. With a certificate and its key as arguments it listens for HTTPS as well.
"""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import sys
import threading

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

KINDS = {
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm),
    "ES512": (lambda: ec.generate_private_key(ec.SECP521R1()), jwt.algorithms.ECAlgorithm),
    "RS256": (lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), jwt.algorithms.RSAAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, jwt.algorithms.OKPAlgorithm),
}
keys = {}
published = []
state = {"away": False, "fetches": 0}
lock = threading.Lock()


def jwk(kid):
    alg, private = keys[kid]
    key = KINDS[alg][1].to_jwk(private.public_key(), as_dict=True)
    return {**key, "kid": kid, "alg": alg, "use": "sig"}


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def confused(kid, claims):
    pem = keys[kid][1].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = {"alg": "HS256", "typ": "JWT", "kid": kid}
    message = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
    return f"{message}.{encoded(hmac.new(pem, message.encode(), hashlib.sha256).digest())}"


def done(order):
    match order["do"]:
        case "key":
            keys[order["kid"]] = (order["alg"], KINDS[order["alg"]][0]())
            return {}
        case "publish":
            published[:] = order["kids"]
            return {}
        case "token":
            alg, private = keys[order["kid"]]
            headers = {"kid": order["kid"], **order.get("header", {})}
            headers = {name: value for name, value in headers.items() if value is not None}
            # The claims as they are: jwt.encode refuses some that a token may have.
            claims = json.dumps(order["claims"]).encode()
            return {"token": jwt.api_jws.encode(claims, private, algorithm=alg, headers=headers)}
        case "unsigned":
            return {"token": jwt.encode(order["claims"], None, algorithm="none")}
        case "confused":
            return {"token": confused(order["kid"], order["claims"])}
        case "away":
            state["away"] = order["away"]
            return {}
        case "fetches":
            return {"fetches": state["fetches"]}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        with lock:
            state["fetches"] += 1
            away, keys_now = state["away"], [jwk(kid) for kid in published]
        self.answer(503 if away else 200, {"keys": keys_now})

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with lock:
            answer = done(order)
        self.answer(200, answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
where = f"listening issuer=127.0.0.1:{server.server_port}"
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])
    secured = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    secured.socket = context.wrap_socket(secured.socket, server_side=True)
    threading.Thread(target=secured.serve_forever, daemon=True).start()
    where += f" issuer-tls=127.0.0.1:{secured.server_port}"
print(where, flush=True)
server.serve_forever()
