#!/usr/bin/env bash
# A field called line_1 can be set in ProtoJSON and not be named in its field masks: protobuf 7.36.2 (PyPI), @bufbuild/protobuf 2.17.0 (npm).
#
# Guess: whatever field has a name in JSON can stand in a FieldMask in JSON under that name: line_1 is line1 there.
# Seen:  the message prints and reads line1; a mask of line_1 is refused by both printers, since no rule could tell line1 from line_1 again,
#        and "line1" is read by both as the path line1, which no field has. protoc accepts the name in proto2, proto3 and edition 2023,
#        and refuses it from edition 2024 on ("style violating underscores").
# When:  2026-11-30, protoc of grpcio-tools 1.85.1. https://protobuf.dev/programming-guides/json/
# Why:   address_1, line_2 or sha_256 can be created over JSON and never be updated by a mask; it shows with the first such call, and by then
#        renaming the field breaks its clients. Checks of masks have to use the rules of protobuf's style guide before edition 2024 too.
# Needs: python3 with venv, npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install protobuf==7.36.2 grpcio-tools==1.85.1
npm install --silent --no-audit --no-fund @bufbuild/protobuf@2.17.0 @bufbuild/protoc-gen-es@2.17.0 >/dev/null
for syntax in 'syntax = "proto3"' 'edition = "2023"' 'edition = "2024"'; do
  printf '%s;\npackage post;\nmessage Address { string line_1 = 1; }\n' "$syntax" > address.proto
  if venv/bin/python -m grpc_tools.protoc -I . --descriptor_set_out=/dev/null address.proto 2> refusal; then
    echo "protoc: $syntax takes line_1"
  else
    grep -q 'style violating underscores' refusal && echo "protoc: $syntax refuses line_1"
  fi
done | tee protoc.out
printf 'syntax = "proto3";\npackage post;\nmessage Address { string line_1 = 1; }\n' > address.proto
venv/bin/python -m grpc_tools.protoc -I . --python_out=. --plugin=node_modules/.bin/protoc-gen-es --es_out=. --es_opt=target=js address.proto
mv address_pb.js address_pb.mjs
cat > masks.py <<'PYTHON'
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from address_pb2 import Address

print("message", json_format.MessageToJson(Address(line_1="a"), indent=None))
try:
    print("mask", json_format.MessageToJson(FieldMask(paths=["line_1"])))
except ValueError:
    print("mask line_1 is refused")
read = json_format.Parse('"line1"', FieldMask())
print("read", read.paths[0], "a field" if read.IsValidForDescriptor(Address.DESCRIPTOR) else "no field")
PYTHON
cat > masks.mjs <<'JS'
import { create, fromJson, toJson, toJsonString } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { AddressSchema } from "./address_pb.mjs";

console.log("message", toJsonString(AddressSchema, create(AddressSchema, { line1: "a" })).replace(":", ": "));
try {
  console.log("mask", toJson(FieldMaskSchema, create(FieldMaskSchema, { paths: ["line_1"] })));
} catch {
  console.log("mask line_1 is refused");
}
const [path] = fromJson(FieldMaskSchema, "line1").paths;
console.log("read", path, AddressSchema.fields.some((field) => field.name === path) ? "a field" : "no field");
JS
venv/bin/python masks.py | tee python.out | sed 's/^/Python:     /'
node masks.mjs | tee javascript.out | sed 's/^/JavaScript: /'
diff - protoc.out <<'SEEN'
protoc: syntax = "proto3" takes line_1
protoc: edition = "2023" takes line_1
protoc: edition = "2024" refuses line_1
SEEN
for seen in python.out javascript.out; do
  diff - "$seen" <<'SEEN'
message {"line1": "a"}
mask line_1 is refused
read line1 no field
SEEN
done
