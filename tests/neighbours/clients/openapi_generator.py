"""What openapi-generator makes for Python: EDGE PAUSED USER; prints what it saw."""

import json
import sys

import openapi_client as generated
from openapi_client.exceptions import ApiException

edge, paused, user = sys.argv[1:]


def services(url):
    api = generated.ApiClient(generated.Configuration(host=url))
    return generated.OrdermeshOrdersV1OrdersServiceApi(api), generated.OrdermeshPaymentsV1PaymentsServiceApi(api)


def reason(call, *arguments):
    try:
        call(*arguments)
    except ApiException as error:
        return error.data.error.details[0].reason
    return None


def watched(orders, order):
    # A call without the name's ending returns at the end of the stream only.
    # Of all kinds of answers it asks for JSON where nobody says otherwise.
    events = {"Accept": "text/event-stream"}
    answer = orders.orders_service_watch_order_without_preload_content(order, _headers=events)
    for line in answer:
        if line.startswith(b"data: {") and b"order" in line:
            yield generated.OrderEvent.from_json(line.removeprefix(b"data: ").decode()).order.status


orders, payments = services(edge)
opened = payments.payments_service_create_account(generated.Account(userId=user))
top_up = generated.PaymentsServiceTopUpAccountRequest(amount="1000")
topped_up = payments.payments_service_top_up_account(user, top_up, idempotency_key="monday")
repeated = payments.payments_service_top_up_account_with_http_info(user, top_up, idempotency_key="monday")
placed = orders.orders_service_create_order(generated.Order(userId=user, amount="300"))
events = list(watched(orders, placed.id))
listed = orders.orders_service_list_orders(user_id=user)
there, _ = services(paused)
waiting = there.orders_service_create_order(generated.Order(userId=user, amount="300"))
cancelled = there.orders_service_cancel_order(waiting.id)
print(json.dumps({
    "opened": opened.balance,
    "topped_up": topped_up.account.balance,
    "repeated": repeated.data.entry.sequence,
    "placed": placed.status,
    "watched": events,
    "listed": [order.status for order in listed.orders],
    "cancelled": cancelled.cancel_request_time is not None,
    "too_late": reason(orders.orders_service_cancel_order, placed.id),
    "absent": reason(payments.payments_service_get_account, "nobody"),
}))
