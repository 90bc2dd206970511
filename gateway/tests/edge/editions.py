"""Compiles contracts of editions with protoc, and says what protobuf for Python makes of messages: the edge has to say the same.

usage: editions.py OUT FOLDER CONTRACTS FILE MESSAGE < cases.json > answers.json
OUT gets the set of descriptors. A case is {"json": ...} or {"wire": hex}; its answer {"wire": hex, "json": ...}, or {} when it is refused.
"""

import json
import pathlib
import sys

import grpc_tools

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

out, folder, contracts, file, name = sys.argv[1:]
google = pathlib.Path(grpc_tools.__file__).parent / "_proto"
folders = [f"-I{folder}" for folder in (folder, contracts, google)]
arguments = ["protoc", *folders, "--include_imports", f"--descriptor_set_out={out}", file]
if protoc.main(arguments) != 0:
    sys.exit("protoc refuses the contracts")

pool = descriptor_pool.DescriptorPool()
with open(out, "rb") as encoded:
    for described in descriptor_pb2.FileDescriptorSet.FromString(encoded.read()).file:
        pool.Add(described)
Message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def answer(case):
    message = Message()
    try:
        if "wire" in case:
            message.ParseFromString(bytes.fromhex(case["wire"]))
        else:
            json_format.Parse(json.dumps(case["json"]), message, descriptor_pool=pool)
        wire = message.SerializePartialToString(deterministic=True)
    except Exception:  # Whatever it does not like.
        return {}
    return {"wire": wire.hex(), "json": json_format.MessageToDict(message, descriptor_pool=pool)}


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
