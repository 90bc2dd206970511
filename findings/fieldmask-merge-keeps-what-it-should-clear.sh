#!/usr/bin/env bash
# protobuf 7.36.2 (PyPI): FieldMask.MergeMessage with both of its replace flags clears every field but one whose parent is not set in the source.
#
# Guess: with replace_message_field and replace_repeated_field an update whose mask names a field that the message has not clears it, as
#        AIP-134 says: the note, the address as a whole, and the note of the address alike.
# Seen:  a scalar, an optional, a message, a list and a map are cleared. `address.note` is not, when the update has no address at all: nothing
#        changes, and nothing is said. With an empty address in the update, it is. In JSON both updates look almost the same: {} and
#        {"address": {}}.
# When:  2026-11-30. https://google.aip.dev/134
# Why:   clients leave out what is empty: one that clears the only field it may set in a nested message sends no parent, is answered OK, and has
#        changed nothing. A server has to add the parents of the mask's paths to the update before it merges, or clear them itself.
# Needs: python3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install protobuf==7.36.2 grpcio-tools==1.85.1
cat > order.proto <<'PROTO'
syntax = "proto3";
package shop;
message Address {
  string note = 1;
  string street = 2;
}
message Order {
  Address address = 1;
  repeated string tags = 2;
  string note = 3;
  optional int32 count = 4;
  map<string, string> labels = 5;
}
PROTO
venv/bin/python -m grpc_tools.protoc -I . --python_out=. order.proto
cat > merge.py <<'PY'
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from order_pb2 import Order

for path, update in (("note", "{}"), ("count", "{}"), ("tags", "{}"), ("labels", "{}"), ("address", "{}"),
                     ("address.note", '{"address": {}}'), ("address.note", "{}")):
    order = Order(note="a", count=1, tags=["a"], labels={"a": "b"}, address={"note": "a", "street": "b"})
    before = order.SerializeToString(deterministic=True)
    mask = FieldMask(paths=[path])
    mask.MergeMessage(json_format.Parse(update, Order()), order, replace_message_field=True, replace_repeated_field=True)
    print(path, update, "kept" if order.SerializeToString(deterministic=True) == before else "cleared")
PY
venv/bin/python merge.py | tee seen
diff - seen <<'SEEN'
note {} cleared
count {} cleared
tags {} cleared
labels {} cleared
address {} cleared
address.note {"address": {}} cleared
address.note {} kept
SEEN
