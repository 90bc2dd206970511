"""A gRPC client that shares no code with ours: it learns both services by reflection, and runs the scenario through them.

Arguments: the addresses of orders and of payments. Prints what it saw as JSON.
"""

import json
import sys
import time

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Service:
    """Calls a server by what its reflection says."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def services(self):
        return sorted(self.database.get_services())

    def services_by_v1(self):
        """Version 1 of the protocol has the same messages as v1alpha under another name."""
        list_services = self.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(iter(list_services(iter([request]), timeout=10)))
        return sorted(service.name for service in answer.list_services_response.service)

    def call(self, method, **fields):
        service, name = method.split("/")
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(name)
        request = json_format.ParseDict(fields, message_factory.GetMessageClass(descriptor.input_type)())
        call = self.channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(descriptor.output_type).FromString,
        )
        return json_format.MessageToDict(call(request, timeout=10))


def main(orders_address, payments_address):
    orders, payments = Service(orders_address), Service(payments_address)
    place, pay = "ordermesh.orders.v1.OrdersService", "ordermesh.payments.v1.PaymentsService"
    payments.call(f"{pay}/CreateAccount", account={"userId": "carol"})
    payments.call(f"{pay}/TopUpAccount", userId="carol", amount=100)
    order = orders.call(f"{place}/CreateOrder", order={"userId": "carol", "amount": 30})
    deadline = time.monotonic() + 20
    while order["status"] == "NEW" and time.monotonic() < deadline:
        order = orders.call(f"{place}/GetOrder", orderId=order["id"])
    health = "grpc.health.v1.Health"
    print(
        json.dumps(
            {
                "services": [orders.services(), payments.services()],
                "services_by_v1": [orders.services_by_v1(), payments.services_by_v1()],
                "health": [service.call(f"{health}/Check")["status"] for service in (orders, payments)],
                "order": order,
                "listed": orders.call(f"{place}/ListOrders", userId="carol")["orders"],
                "payment": payments.call(f"{pay}/GetPayment", orderId=order["id"]),
                "account": payments.call(f"{pay}/GetAccount", userId="carol"),
            }
        )
    )


main(*sys.argv[1:])
