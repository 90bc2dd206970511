#!/usr/bin/env bash
# protobuf 7.36.2 (PyPI) and @bufbuild/protobuf 2.17.0 (npm): a 64-bit integer with a fraction of zero is read one off, without an error.
#
# Guess: ProtoJSON lets integers be written with exponents and zero fractions, so 9007199254740993.0 is read as the integer that it is, or
#        refused.
# Seen:  both read it through a double: 9007199254740992. In quotes Python does the same, and JavaScript refuses. The same number without
#        ".0" is read exactly by Python, and one off by JavaScript, whose JSON parser makes a double of it; in quotes both read it exactly.
#        "1e18" in quotes is an integer to Python and none to JavaScript; without quotes it is one to both.
# When:  2026-11-29. https://protobuf.dev/programming-guides/json/
# Why:   amounts of money and ids are 64-bit integers. A reader in between that is stricter or looser than its neighbours changes which
#        requests pass, and one that reads doubles changes the amounts.
# Needs: python3 with venv, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet --disable-pip-version-check install protobuf==7.36.2
cd "$work"
npm install --silent --no-audit --no-fund @bufbuild/protobuf@2.17.0 >/dev/null
cat > texts <<'TEXTS'
9007199254740993.0
"9007199254740993.0"
9007199254740993
"9007199254740993"
1e18
"1e18"
TEXTS
cat > read.py <<'PYTHON'
from google.protobuf import json_format, wrappers_pb2
for text in open("texts").read().split():
    try:
        print(text, json_format.Parse(text, wrappers_pb2.Int64Value()).value)
    except json_format.ParseError:
        print(text, "refused")
PYTHON
cat > read.mjs <<'JS'
import { readFileSync } from "node:fs";
import { fromJsonString } from "@bufbuild/protobuf";
import { Int64ValueSchema } from "@bufbuild/protobuf/wkt";
for (const text of readFileSync("texts", "utf8").trim().split("\n")) {
  try {
    console.log(text, String(fromJsonString(Int64ValueSchema, text).value));
  } catch {
    console.log(text, "refused");
  }
}
JS
"$work/python/bin/python" read.py | tee python.out | sed 's/^/Python:     /'
node read.mjs | tee javascript.out | sed 's/^/JavaScript: /'
diff - python.out <<'SEEN'
9007199254740993.0 9007199254740992
"9007199254740993.0" 9007199254740992
9007199254740993 9007199254740993
"9007199254740993" 9007199254740993
1e18 1000000000000000000
"1e18" 1000000000000000000
SEEN
diff - javascript.out <<'SEEN'
9007199254740993.0 9007199254740992
"9007199254740993.0" refused
9007199254740993 9007199254740992
"9007199254740993" 9007199254740993
1e18 1000000000000000000
"1e18" refused
SEEN
