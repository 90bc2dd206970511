// The calls that the shop makes, all of the public API.
import type { paths } from '../api/edge';
import type { Call } from '../parts/call';
import { PAGE } from '../parts/pages';
import type { AnswerOf, EventOf } from '../parts/types';

export type Order = AnswerOf<paths['/gateway/orders/{order_id}']['get']>;
export type OrderEvent = EventOf<paths['/gateway/orders/{order_id}:watch']['get']>;
export type Orders = AnswerOf<paths['/gateway/orders']['get']>;
export type Account = AnswerOf<paths['/gateway/payments/{user_id}']['get']>;
export type TopUp = AnswerOf<paths['/gateway/payments/{user_id}/top-up']['post']>;
export type Entries = AnswerOf<paths['/gateway/payments/{user_id}/entries']['get']>;
export type Entry = NonNullable<Entries['entries']>[number];
export type Payment = AnswerOf<paths['/gateway/orders/{order_id}/payment']['get']>;

const ORDERS = 'ordermesh.orders.v1.OrdersService';
const PAYMENTS = 'ordermesh.payments.v1.PaymentsService';

const part = encodeURIComponent;

export function openAccount(userId: string, currencyCode: string, key: string): Call<Account> {
  const account = { userId, currencyCode };
  return {
    title: 'Open an account',
    method: 'POST',
    path: 'gateway/payments',
    body: account,
    key,
    rpc: `${PAYMENTS}/CreateAccount`,
    message: { account, requestId: key },
  };
}

export function topUp(userId: string, amount: string, currencyCode: string, key: string): Call<TopUp> {
  return {
    title: 'Top up',
    method: 'POST',
    path: `gateway/payments/${part(userId)}/top-up`,
    body: { amount, currencyCode },
    key,
    rpc: `${PAYMENTS}/TopUpAccount`,
    message: { userId, amount, currencyCode, requestId: key },
  };
}

export function placeOrder(order: Pick<Order, 'userId' | 'amount' | 'currencyCode' | 'description'>, key: string): Call<Order> {
  return {
    title: 'Place an order',
    method: 'POST',
    path: 'gateway/orders',
    body: order,
    key,
    rpc: `${ORDERS}/CreateOrder`,
    message: { order, requestId: key },
  };
}

export function cancelOrder(orderId: string, key: string): Call<Order> {
  return {
    title: 'Cancel the order',
    method: 'POST',
    path: `gateway/orders/${part(orderId)}:cancel`,
    body: {},
    key,
    rpc: `${ORDERS}/CancelOrder`,
    message: { orderId, requestId: key },
  };
}

export function getAccount(userId: string): Call<Account> {
  return {
    title: 'Read the account',
    method: 'GET',
    path: `gateway/payments/${part(userId)}`,
    rpc: `${PAYMENTS}/GetAccount`,
    message: { userId },
  };
}

export function getOrder(orderId: string): Call<Order> {
  return {
    title: 'Read the order',
    method: 'GET',
    path: `gateway/orders/${part(orderId)}`,
    rpc: `${ORDERS}/GetOrder`,
    message: { orderId },
  };
}

export function getPayment(orderId: string): Call<Payment> {
  return {
    title: 'Read the payment',
    method: 'GET',
    path: `gateway/orders/${part(orderId)}/payment`,
    rpc: `${PAYMENTS}/GetPayment`,
    message: { orderId },
  };
}

/** What is followed of an order, which a page does by EventSource. */
export function watchOrder(orderId: string): Call<OrderEvent> {
  return {
    title: 'Watch the order',
    method: 'GET',
    path: `gateway/orders/${part(orderId)}:watch`,
    rpc: `${ORDERS}/WatchOrder`,
    message: { orderId },
    streams: true,
  };
}

/** What is followed of all orders of a user. */
export function watchOrders(userId: string): Call<OrderEvent> {
  return {
    title: 'Watch all orders',
    method: 'GET',
    path: 'gateway/orders:watch',
    query: { userId },
    rpc: `${ORDERS}/WatchOrders`,
    message: { userId },
    streams: true,
  };
}

/** What is empty is no condition. */
function given(query: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ''));
}

export function listOrders(query: { userId: string; filter: string; orderBy: string; pageToken: string }, pageSize = PAGE): Call<Orders> {
  const asked = { ...given(query), pageSize: String(pageSize) };
  return {
    title: query.pageToken ? 'List more orders' : 'List orders',
    method: 'GET',
    path: 'gateway/orders',
    query: asked,
    rpc: `${ORDERS}/ListOrders`,
    message: { ...asked, pageSize },
  };
}

export function listEntries(userId: string, filter: string, pageToken: string, pageSize = PAGE): Call<Entries> {
  const asked = { ...given({ filter, pageToken }), pageSize: String(pageSize) };
  return {
    title: pageToken ? 'List more of the statement' : 'List the statement',
    method: 'GET',
    path: `gateway/payments/${part(userId)}/entries`,
    query: asked,
    rpc: `${PAYMENTS}/ListLedgerEntries`,
    message: { userId, ...asked, pageSize },
  };
}
