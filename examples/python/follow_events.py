"""A neighbour on the exchange: takes the events of placed orders and of decided payments into a queue of its own.

Stubs are generated from proto/ into the working directory (docs/CLIENTS.md). Arguments: the broker's URL, and after how many events it ends.
What its user of the broker may do is in docs/NEIGHBOURS.md.
"""

import sys

import pika
from ordermesh.orders.v1 import events_pb2 as orders
from ordermesh.payments.v1 import events_pb2 as payments, payments_pb2

EXCHANGE = "ordermesh.events"
# Outside of the names of the mesh, which are the exchange's and those that begin with it and a dot.
QUEUE = "shop.statistics"
KINDS = {
    "ordermesh.orders.v1.OrderPlaced": orders.OrderPlaced,
    "ordermesh.payments.v1.PaymentDecided": payments.PaymentDecided,
}


def words(event):
    if isinstance(event, orders.OrderPlaced):
        return f"{event.user_id} owes {event.amount} {event.currency_code}"
    return f"{event.payment.user_id} has {payments_pb2.Payment.Outcome.Name(event.payment.outcome)}"


def main(url, most):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    for kind in KINDS:
        # A kind has four words, and the number of its partition is the fifth: `*` is one word, and `ordermesh.*` would bind nothing.
        channel.queue_bind(QUEUE, EXCHANGE, f"{kind}.*")
    print("bound", flush=True)

    channel.basic_qos(prefetch_count=100)
    seen = set()
    for delivery, properties, body in channel.consume(QUEUE):
        headers = properties.headers
        # An event may come again, with the same id: who writes it into a database keeps the id in the same transaction.
        if headers["cloudEvents:id"] not in seen:
            seen.add(headers["cloudEvents:id"])
            print(words(KINDS[headers["cloudEvents:type"]].FromString(body)), flush=True)
        channel.basic_ack(delivery.delivery_tag)
        if len(seen) == int(most):
            break
    channel.cancel()
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
