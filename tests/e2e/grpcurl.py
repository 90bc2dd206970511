"""As much of grpcurl as the pages show, for a test that runs what is shown: `-plaintext`, `-H`, `-d`, an address and a method.

It learns the contract by reflection. Prints each answer as JSON, and as errors the metadata that came with it.
"""

import argparse
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d", required=True)
    parser.add_argument("address")
    parser.add_argument("method")
    return parser.parse_args()


def main(asked):
    channel = grpc.insecure_channel(asked.address)
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service, _, name = asked.method.partition("/")
    method = pool.FindServiceByName(service).FindMethodByName(name)
    request = json_format.Parse(asked.d, message_factory.GetMessageClass(method.input_type)())
    metadata = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in asked.H)]
    # A call of one answer is one of a stream on the wire.
    call = channel.unary_stream(
        f"/{asked.method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )(request, timeout=30, metadata=metadata)
    for answer in call:
        print(json_format.MessageToJson(answer, indent=None))
    for key, value in [*call.initial_metadata(), *call.trailing_metadata()]:
        print(f"{key}: {value}", file=sys.stderr)


main(arguments())
