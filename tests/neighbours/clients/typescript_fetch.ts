// What openapi-generator makes for fetch in TypeScript: EDGE PAUSED USER; prints what it saw.
import {
  Configuration, ModelErrorFromJSON, OrderEventFromJSON,
  OrdermeshOrdersV1OrdersServiceApi, OrdermeshPaymentsV1PaymentsServiceApi, ResponseError,
} from './made/typescript-fetch';
import { events } from './events';

const [edge, paused, userId] = process.argv.slice(2) as [string, string, string];

const reason = async (call: Promise<unknown>): Promise<string | undefined> => {
  try {
    await call;
  } catch (error) {
    if (error instanceof ResponseError) return ModelErrorFromJSON(await error.response.json()).error.details[0]?.reason;
    throw error;
  }
  return undefined;
};

async function main() {
  const orders = new OrdermeshOrdersV1OrdersServiceApi(new Configuration({ basePath: edge }));
  const payments = new OrdermeshPaymentsV1PaymentsServiceApi(new Configuration({ basePath: edge }));
  const opened = await payments.paymentsServiceCreateAccount({ account: { userId } });
  const topUp = { userId, idempotencyKey: 'monday', paymentsServiceTopUpAccountRequest: { amount: '1000' } };
  const toppedUp = await payments.paymentsServiceTopUpAccount(topUp);
  const repeated = await payments.paymentsServiceTopUpAccount(topUp);
  const placed = await orders.ordersServiceCreateOrder({ order: { userId, amount: '300' } });
  const watched = [];
  // The call without the name's ending waits for the end, and takes all of the stream for one JSON.
  const { raw } = await orders.ordersServiceWatchOrderRaw({ orderId: placed.id! });
  for await (const event of events(raw)) watched.push(OrderEventFromJSON(event).order?.status);
  const listed = await orders.ordersServiceListOrders({ userId });
  const there = new OrdermeshOrdersV1OrdersServiceApi(new Configuration({ basePath: paused }));
  const waiting = await there.ordersServiceCreateOrder({ order: { userId, amount: '300' } });
  const cancelled = await there.ordersServiceCancelOrder({ orderId: waiting.id! });
  console.log(JSON.stringify({
    opened: opened.balance,
    topped_up: toppedUp.account?.balance,
    repeated: repeated.entry?.sequence,
    placed: placed.status,
    watched,
    listed: listed.orders?.map((order) => order.status),
    cancelled: cancelled.cancelRequestTime !== undefined,
    too_late: await reason(orders.ordersServiceCancelOrder({ orderId: placed.id! })),
    absent: await reason(payments.paymentsServiceGetAccount({ userId: 'nobody' })),
  }));
}

main();
