"""A service in Python that talks to ordermesh: opens an account, tops it up, places an order and watches it to its end.

Stubs are generated from proto/ into the working directory (docs/CLIENTS.md). Arguments: the addresses of orders and payments.
"""

import sys

import grpc
from ordermesh.orders.v1 import orders_pb2, orders_pb2_grpc
from ordermesh.payments.v1 import payments_pb2, payments_pb2_grpc


def main(orders_address, payments_address):
    orders = orders_pb2_grpc.OrdersServiceStub(grpc.insecure_channel(orders_address))
    payments = payments_pb2_grpc.PaymentsServiceStub(grpc.insecure_channel(payments_address))

    # Each write has a key, so that all of this can be run again: the second run changes nothing.
    payments.CreateAccount(payments_pb2.CreateAccountRequest(account={"user_id": "python"}, request_id="account"))
    payments.TopUpAccount(payments_pb2.TopUpAccountRequest(user_id="python", amount=1000, request_id="top-up"))
    placed = orders.CreateOrder(
        orders_pb2.CreateOrderRequest(order={"user_id": "python", "amount": 300}, request_id="order")
    )

    # The stream ends with the version that ends the order.
    status = None
    for event in orders.WatchOrder(orders_pb2.WatchOrderRequest(order_id=placed.id), timeout=20):
        status = orders_pb2.Order.Status.Name(event.order.status)
        print(f"version {event.order.version}: {status}")
    return 0 if status == "FINISHED" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
