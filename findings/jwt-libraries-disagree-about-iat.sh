#!/usr/bin/env bash
# A token that was issued ahead of the verifier's clock: refused by PyJWT 2.15.1 and joserfc 1.8.0; taken by python-jose 3.5.0 (PyPI), and by
# jose 6.2.18, jsonwebtoken 9.0.3 and fast-jwt 6.3.6 (npm).
#
# Guess: RFC 7519 gives `iat` no rule for refusing, unlike `nbf` and `exp`: libraries take a token whose `iat` is ahead, and where
#        one does not, its neighbours in the same language agree with it.
# Seen:  PyJWT and joserfc refuse it, without a leeway for clocks; python-jose and those of Node take it. All refuse such an `nbf`.
# When:  2026-11-30. https://www.rfc-editor.org/rfc/rfc7519#section-4.1.6
# Why:   issuers put `iat` into every token and `nbf` into few, so in a mesh of several languages a clock that is two seconds late makes some
#        services refuse fresh logins which others accept. A verifier in Python needs a leeway even where nobody sends `nbf`.
# Needs: python3 with venv, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install PyJWT==2.15.1 joserfc==1.8.0 python-jose==3.5.0
npm install --silent --no-audit --no-fund --ignore-scripts jose@6.2.18 jsonwebtoken@9.0.3 fast-jwt@6.3.6 >/dev/null
cat > verify.py <<'PYTHON'
import json, time
import jwt
from jose import jwt as python_jose
from joserfc import jwt as joserfc
from joserfc.jwk import OctKey

# A key for this script only.
KEY = "k" * 32
# Far enough ahead for the other runtime to start in.
ahead = int(time.time()) + 60
tokens = {claim: jwt.encode({"sub": "a", claim: at}, KEY, "HS256") for claim, at in (("sub", "a"), ("iat", ahead), ("nbf", ahead))}
with open("tokens.json", "w") as out:
    json.dump({"key": KEY, "tokens": tokens}, out)

libraries = {
    "PyJWT": lambda token: jwt.decode(token, KEY, ["HS256"]),
    "joserfc": lambda token: joserfc.JWTClaimsRegistry().validate(joserfc.decode(token, OctKey.import_key(KEY)).claims),
    "python-jose": lambda token: python_jose.decode(token, KEY, ["HS256"]),
}
for name, verify in libraries.items():
    for claim, token in tokens.items():
        try:
            verify(token)
            print(name, claim, "taken")
        except Exception:
            print(name, claim, "refused")
PYTHON
cat > verify.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createVerifier } from "fast-jwt";
import { jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";

const { key, tokens } = JSON.parse(readFileSync("tokens.json", "utf8"));
const fast = createVerifier({ key });
const libraries = {
  jose: (token) => jwtVerify(token, new TextEncoder().encode(key)),
  jsonwebtoken: (token) => jsonwebtoken.verify(token, key),
  "fast-jwt": (token) => fast(token),
};
for (const [name, verify] of Object.entries(libraries)) {
  for (const [claim, token] of Object.entries(tokens)) {
    try {
      await verify(token);
      console.log(name, claim, "taken");
    } catch {
      console.log(name, claim, "refused");
    }
  }
}
JS
{ venv/bin/python verify.py; node verify.mjs; } | tee seen
diff - seen <<'SEEN'
PyJWT sub taken
PyJWT iat refused
PyJWT nbf refused
joserfc sub taken
joserfc iat refused
joserfc nbf refused
python-jose sub taken
python-jose iat taken
python-jose nbf refused
jose sub taken
jose iat taken
jose nbf refused
jsonwebtoken sub taken
jsonwebtoken iat taken
jsonwebtoken nbf refused
fast-jwt sub taken
fast-jwt iat taken
fast-jwt nbf refused
SEEN
