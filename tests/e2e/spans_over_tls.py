"""A collector of spans over TLS that shares no code with ours. Arguments: an authority, a certificate, and its key.

Prints its port, then for each batch the common name of who sends it, and whether a span of GetAccount is in it.
"""

import sys
from concurrent import futures

import grpc

authority, certificate, key = [open(file, "rb").read() for file in sys.argv[1:]]


def export(batch, context):
    sender = context.auth_context().get("x509_common_name", [b"nobody"])[0].decode()
    print("batch of", sender, "with GetAccount" if b"PaymentsService/GetAccount" in batch else "", flush=True)
    # An empty ExportTraceServiceResponse: all were taken.
    return b""


handler = grpc.method_handlers_generic_handler(
    "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": grpc.unary_unary_rpc_method_handler(export)}
)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), handlers=[handler])
credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
print("port", server.add_secure_port("127.0.0.1:0", credentials), flush=True)
server.start()
server.wait_for_termination()
