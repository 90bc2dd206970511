#!/usr/bin/env bash
# protobuf 7.36.2 (PyPI): json_format refuses the JSON that it has just made of the largest float.
#
# Guess: what MessageToJson prints, Parse reads: ProtoJSON is a round trip for every value of every type.
# Seen:  the largest finite float is printed with as few digits as distinguish it, 3.4028235e+38, which as a double is a little above the
#        largest float; Parse compares before it rounds and says "Float value too large". The next smaller float comes back. @bufbuild/protobuf
#        2.17.0 reads both.
# When:  2026-11-29. https://protobuf.dev/programming-guides/json/
# Why:   whoever uses FLT_MAX as "no limit" makes messages that cross the binary format and fail in JSON; a reader has to round to float
#        first and refuse infinity afterwards.
# Needs: python3 with venv, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet --disable-pip-version-check install protobuf==7.36.2
cd "$work"
npm install --silent --no-audit --no-fund @bufbuild/protobuf@2.17.0 >/dev/null
"$work/python/bin/python" - <<'PYTHON'
import struct, sys
from google.protobuf import json_format, wrappers_pb2

def comes_back(bits):
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    text = json_format.MessageToJson(wrappers_pb2.FloatValue(value=value))
    try:
        back = json_format.Parse(text, wrappers_pb2.FloatValue()).value == value
    except json_format.ParseError as error:
        print(f"Python: printed {text}, read: {error}")
        return False
    print(f"Python: printed {text}, read: the same")
    return back

largest, before = comes_back(0x7F7FFFFF), comes_back(0x7F7FFFFE)
sys.exit(not (before and not largest))
PYTHON
cat > read.mjs <<'JS'
import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { FloatValueSchema } from "@bufbuild/protobuf/wkt";
const text = toJsonString(FloatValueSchema, fromJsonString(FloatValueSchema, "3.4028235e+38"));
console.log(`JavaScript: read 3.4028235e+38, printed ${text}`);
process.exit(text === "3.4028235e+38" ? 0 : 1);
JS
node read.mjs
