#!/usr/bin/env bash
# A JWK Set with an RSA and an EC key: which of its tokens are verified depends on the order of the keys, in PyJWT 2.15.1, joserfc 1.8.0 and
# python-jose 3.5.0 (PyPI), and jwks-rsa 4.1.0 (npm); not in jwcrypto 1.6.1 (PyPI) and jose 6.2.18 (npm).
#
# Guess: the keys may have the same `kid`, as RFC 7517 allows for equivalent keys of different types, and the `alg` of the token says which is
#        meant. With different ones, the `kid` does.
# Seen:  PyJWT, joserfc and jwks-rsa look up the `kid` and take the first key that has it: tokens of the other one are refused, as tokens of
#        a wrong algorithm or a wrong type of key. joserfc verifies them once the keys have an `alg`; the others do not. python-jose does not look
#        at the `kid` at all: it tries the keys in their order, and gives up at the first one whose type is not that of the algorithm.
#        So an EC key behind an RSA key is of no use to it, even under a `kid` of its own.
# When:  2026-11-30. https://www.rfc-editor.org/rfc/rfc7517#section-4.5
# Why:   an issuer that goes from RS256 to ES256 publishes both keys for a while, some under one `kid`, which half of the verifiers take.
#        It depends on the order of a JSON array, and the error names the token or the algorithm, and not the set. Keys of different types
#        need a `kid` each, and verifiers with python-jose have to pick the key themselves.
# Needs: python3 with venv, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install 'PyJWT[crypto]==2.15.1' joserfc==1.8.0 python-jose==3.5.0 jwcrypto==1.6.1
npm install --silent --no-audit --no-fund --ignore-scripts jose@6.2.18 jwks-rsa@4.1.0 jsonwebtoken@9.0.3 >/dev/null
cat > make.py <<'PYTHON'
import json, time
from jwcrypto import jwk, jwt

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}


def keys(rsa, ec):
    return jwk.JWK.generate(kty="RSA", size=2048, kid=rsa), jwk.JWK.generate(kty="EC", crv="P-256", kid=ec)


def token(key):
    algorithm = ALGORITHMS[key["kty"]]
    made = jwt.JWT(header={"alg": algorithm, "kid": key["kid"]}, claims={"sub": "alice", "exp": int(time.time()) + 600})
    made.make_signed_token(key)
    return {"kty": key["kty"], "token": made.serialize()}


def public(key, with_alg):
    found = json.loads(key.export_public())
    return {**found, "use": "sig", "alg": ALGORITHMS[found["kty"]]} if with_alg else found


cases = []
for name, kids, with_alg in [("one kid", ("a", "a"), False), ("one kid, with alg", ("a", "a"), True), ("two kids", ("a", "b"), True)]:
    pair = keys(*kids)
    for order in (pair, pair[::-1]):
        set_ = {"keys": [public(key, with_alg) for key in order]}
        cases.append({"name": f"{name}, {order[0]['kty']} first", "set": set_, "tokens": [token(key) for key in pair]})
json.dump(cases, open("cases.json", "w"))
PYTHON
venv/bin/python make.py
cat > verify.py <<'PYTHON'
import json, warnings

warnings.simplefilter("ignore")
import jwt
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from jose import jwt as python_jose
from jwcrypto import jwk, jwt as jwcrypto

ALGORITHMS = ["RS256", "ES256"]


def pyjwt(keys, token):
    class Client(jwt.PyJWKClient):
        def fetch_data(self):
            return keys

    key = Client("https://issuer.example/jwks").get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=ALGORITHMS)["sub"]


libraries = {
    "PyJWT": pyjwt,
    "joserfc": lambda keys, token: joserfc_jwt.decode(token, KeySet.import_key_set(keys), algorithms=ALGORITHMS).claims["sub"],
    "python-jose": lambda keys, token: python_jose.decode(token, keys, algorithms=ALGORITHMS)["sub"],
    "jwcrypto": lambda keys, token: json.loads(
        jwcrypto.JWT(jwt=token, key=jwk.JWKSet.from_json(json.dumps(keys)), algs=ALGORITHMS).claims
    )["sub"],
}
found = {}
for case in json.load(open("cases.json")):
    for name, verify in libraries.items():
        for token in case["tokens"]:
            try:
                assert verify(case["set"], token["token"]) == "alice"
                found.setdefault(name, {}).setdefault(case["name"], []).append(token["kty"])
            except Exception as error:
                print(f"{name}, {case['name']}, token of the {token['kty']} key: {type(error).__name__}: {str(error)[:80]}")
json.dump(found, open("python.json", "w"))
PYTHON
venv/bin/python verify.py
cat > verify.mjs <<'NODE'
import assert from 'node:assert';
import fs from 'node:fs';
import http from 'node:http';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import jwt from 'jsonwebtoken';
import jwksRsa from 'jwks-rsa';

const cases = JSON.parse(fs.readFileSync('cases.json'));
const found = JSON.parse(fs.readFileSync('python.json'));
let set;
const issuer = http.createServer((_request, answer) => {
  answer.setHeader('content-type', 'application/json');
  answer.end(JSON.stringify(set));
});
await new Promise((done) => issuer.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${issuer.address().port}/jwks`;
const algorithms = ['RS256', 'ES256'];
const libraries = {
  jose: async (token) => (await jwtVerify(token, createRemoteJWKSet(new URL(url)), { algorithms })).payload.sub,
  'jwks-rsa with jsonwebtoken': async (token) => {
    const key = await jwksRsa({ jwksUri: url, cache: false }).getSigningKey(decodeProtectedHeader(token).kid);
    return jwt.verify(token, key.getPublicKey(), { algorithms }).sub;
  },
};
for (const [name, verify] of Object.entries(libraries)) {
  found[name] = {};
  for (const { name: situation, set: keys, tokens } of cases) {
    set = keys;
    for (const { kty, token } of tokens) {
      try {
        assert.equal(await verify(token), 'alice');
        (found[name][situation] ??= []).push(kty);
      } catch (error) {
        console.log(`${name}, ${situation}, token of the ${kty} key: ${error.name}: ${error.message.slice(0, 80)}`);
      }
    }
  }
}
console.log('Verified:', found);
const both = ['RSA', 'EC'];
const situations = (one, oneWithAlg, two) => ({
  'one kid, RSA first': one ?? ['RSA'],
  'one kid, EC first': one ?? ['EC'],
  'one kid, with alg, RSA first': oneWithAlg ?? ['RSA'],
  'one kid, with alg, EC first': oneWithAlg ?? ['EC'],
  'two kids, RSA first': two ?? ['RSA'],
  'two kids, EC first': two ?? ['EC'],
});
assert.deepEqual(found, {
  PyJWT: situations(undefined, undefined, both),
  joserfc: situations(undefined, both, both),
  'python-jose': situations(undefined, undefined, undefined),
  jwcrypto: situations(both, both, both),
  jose: situations(both, both, both),
  'jwks-rsa with jsonwebtoken': situations(undefined, undefined, both),
});
process.exit(0);
NODE
node verify.mjs
