"""Says what protobuf for Python makes of messages, one a line.

usage: oracle.py SET MESSAGE < cases > answers
A case is {"json": TEXT} or {"wire": HEX}, its answer {"wire": HEX} or {"json": TEXT}, or {"refused": WHY}.
"""

import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

file, name = sys.argv[1:]
pool = descriptor_pool.DescriptorPool()
with open(file, "rb") as encoded:
    for described in descriptor_pb2.FileDescriptorSet.FromString(encoded.read()).file:
        pool.Add(described)
Message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def answer(case):
    try:
        if "wire" in case:
            message = Message.FromString(bytes.fromhex(case["wire"]))
            return {"json": json_format.MessageToJson(message, indent=None, descriptor_pool=pool)}
        message = json_format.Parse(case["json"], Message(), descriptor_pool=pool)
        return {"wire": message.SerializeToString(deterministic=True).hex()}
    except Exception as error:  # Whatever it does not like.
        return {"refused": str(error)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))))
