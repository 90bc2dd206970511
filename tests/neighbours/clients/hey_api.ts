// What hey-api makes for fetch: EDGE PAUSED USER; prints what it saw.
import {
  ordersServiceCancelOrder, ordersServiceCreateOrder, ordersServiceListOrders, ordersServiceWatchOrder,
  paymentsServiceCreateAccount, paymentsServiceGetAccount, paymentsServiceTopUpAccount,
} from './made/hey-api';
import { createClient } from './made/hey-api/client';

const [edge, paused, userId] = process.argv.slice(2) as [string, string, string];

async function main() {
  const client = createClient({ baseUrl: edge });
  const opened = await paymentsServiceCreateAccount({ client, body: { userId } });
  const topUp = { client, path: { user_id: userId }, headers: { 'Idempotency-Key': 'monday' }, body: { amount: '1000' } };
  const toppedUp = await paymentsServiceTopUpAccount(topUp);
  const repeated = await paymentsServiceTopUpAccount(topUp);
  const placed = await ordersServiceCreateOrder({ client, body: { userId, amount: '300' } });
  const path = { order_id: placed.data!.id! };
  const watched = [];
  const { stream } = await ordersServiceWatchOrder({ client, path });
  for await (const event of stream) if (event?.order) watched.push(event.order.status);
  const listed = await ordersServiceListOrders({ client, query: { userId } });
  const there = createClient({ baseUrl: paused });
  const waiting = await ordersServiceCreateOrder({ client: there, body: { userId, amount: '300' } });
  const cancelled = await ordersServiceCancelOrder({ client: there, path: { order_id: waiting.data!.id! } });
  const tooLate = await ordersServiceCancelOrder({ client, path });
  const absent = await paymentsServiceGetAccount({ client, path: { user_id: 'nobody' } });
  console.log(JSON.stringify({
    opened: opened.data?.balance,
    topped_up: toppedUp.data?.account?.balance,
    repeated: repeated.data?.entry?.sequence,
    placed: placed.data?.status,
    watched,
    listed: listed.data?.orders?.map((order) => order.status),
    cancelled: cancelled.data?.cancelRequestTime !== undefined,
    too_late: tooLate.error?.error.details[0]?.reason,
    absent: absent.error?.error.details[0]?.reason,
  }));
}

main();
