"""A gRPC client over TLS that shares no code with ours. Arguments: an address, an authority, and a certificate with its key.

Prints SERVING, or why the call was not answered.
"""

import sys

import grpc

address, *files = sys.argv[1:]
authority, *own = [open(file, "rb").read() for file in files]
certificate, key = own if own else (None, None)
credentials = grpc.ssl_channel_credentials(authority, key, certificate)
with grpc.secure_channel(address, credentials) as channel:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        # HealthCheckResponse{status: SERVING}
        answer = check(b"", timeout=20)
        print("SERVING" if answer == b"\x08\x01" else f"answered {answer!r}")
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}")
