"""What openapi-python-client makes: EDGE PAUSED USER; prints what it saw."""

import json
import sys

from ordermesh_client import Client
from ordermesh_client.api.ordermesh_orders_v_1_orders_service import (
    orders_service_cancel_order as cancel_order,
    orders_service_create_order as create_order,
    orders_service_list_orders as list_orders,
    orders_service_watch_order as watch_order,
)
from ordermesh_client.api.ordermesh_payments_v_1_payments_service import (
    payments_service_create_account as create_account,
    payments_service_get_account as get_account,
    payments_service_top_up_account as top_up_account,
)
from ordermesh_client.models import Account, Order, OrderEvent, PaymentsServiceTopUpAccountBody

edge, paused, user = sys.argv[1:]


def watched(client, order):
    # Its functions return at the end of a stream only, so the request that one makes is sent as a stream.
    request = watch_order._get_kwargs(order)
    with client.get_httpx_client().stream(**request) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {") and "order" in line:
                yield OrderEvent.from_dict(json.loads(line.removeprefix("data: "))).order.status


client = Client(base_url=edge)
opened = create_account.sync(client=client, body=Account(user_id=user))
top_up = PaymentsServiceTopUpAccountBody(amount="1000")
topped_up = top_up_account.sync(user, client=client, body=top_up, idempotency_key="monday")
repeated = top_up_account.sync(user, client=client, body=top_up, idempotency_key="monday")
placed = create_order.sync(client=client, body=Order(user_id=user, amount="300"))
events = list(watched(client, placed.id))
listed = list_orders.sync(client=client, user_id=user)
there = Client(base_url=paused)
waiting = create_order.sync(client=there, body=Order(user_id=user, amount="300"))
cancelled = cancel_order.sync(waiting.id, client=there)
print(json.dumps({
    "opened": opened.balance,
    "topped_up": topped_up.account.balance,
    "repeated": repeated.entry.sequence,
    "placed": placed.status,
    "watched": events,
    "listed": [order.status for order in listed.orders],
    "cancelled": bool(cancelled.cancel_request_time),
    "too_late": cancel_order.sync(placed.id, client=client).error.details[0].reason,
    "absent": get_account.sync("nobody", client=client).error.details[0].reason,
}))
