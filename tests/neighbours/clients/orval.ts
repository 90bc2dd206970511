// What orval makes for fetch: EDGE PAUSED USER; prints what it saw.
import {
  getOrdersServiceWatchOrderUrl, ordersServiceCancelOrder, ordersServiceCreateOrder, ordersServiceListOrders,
  paymentsServiceCreateAccount, paymentsServiceGetAccount, paymentsServiceTopUpAccount,
} from './made/orval';
import type { Error as Failure, OrderEvent } from './made/orval';
import { events } from './events';

const [edge, paused, userId] = process.argv.slice(2) as [string, string, string];
// Its configuration has one URL, which a mutator or a fetch of one's own puts another one in place of.
const { fetch } = globalThis;
let base = edge;
globalThis.fetch = (path, init) => fetch(base + path, init);

async function main() {
  const opened = await paymentsServiceCreateAccount({ userId });
  const topUp = () => paymentsServiceTopUpAccount(userId, { amount: '1000' }, { headers: { 'idempotency-key': 'monday' } });
  const [toppedUp, repeated] = [await topUp(), await topUp()];
  const placed = await ordersServiceCreateOrder({ userId, amount: '300' });
  if (opened.status !== 200 || toppedUp.status !== 200 || repeated.status !== 200 || placed.status !== 200) throw new Error('refused');
  const watched = [];
  // The function of the watch returns all of the stream as one text.
  const stream = await globalThis.fetch(getOrdersServiceWatchOrderUrl(placed.data.id!));
  for await (const event of events(stream)) watched.push((event as OrderEvent).order?.status);
  const listed = await ordersServiceListOrders({ userId });
  const tooLate = await ordersServiceCancelOrder(placed.data.id!);
  const absent = await paymentsServiceGetAccount('nobody');
  base = paused;
  const waiting = await ordersServiceCreateOrder({ userId, amount: '300' });
  if (listed.status !== 200 || waiting.status !== 200) throw new Error('refused');
  const cancelled = await ordersServiceCancelOrder(waiting.data.id!);
  // An error is one of two types, by what is accepted: problem details where they are.
  console.log(JSON.stringify({
    opened: opened.data.balance,
    topped_up: toppedUp.data.account?.balance,
    repeated: repeated.data.entry?.sequence,
    placed: placed.data.status,
    watched,
    listed: listed.data.orders?.map((order) => order.status),
    cancelled: cancelled.status === 200 && cancelled.data.cancelRequestTime !== undefined,
    too_late: tooLate.status === 400 ? (tooLate.data as Failure).error.details[0]?.reason : undefined,
    absent: absent.status === 404 ? (absent.data as Failure).error.details[0]?.reason : undefined,
  }));
}

main();
