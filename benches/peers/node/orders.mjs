// Orders: takes them over HTTP, and ends them as payments decides.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { DECIDED, PLACED, consume, createBox, fail, openPool, publisher, transaction } from './messaging.mjs';

const pool = openPool(32);
await pool.query(`
  CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY, user_id text NOT NULL, amount bigint NOT NULL CHECK (amount > 0), description text NOT NULL,
    status text NOT NULL DEFAULT 'NEW' CHECK (status IN ('NEW', 'FINISHED', 'CANCELLED')), cancel_reason text,
    create_time timestamptz NOT NULL DEFAULT now(), update_time timestamptz NOT NULL DEFAULT now());
  CREATE INDEX IF NOT EXISTS orders_new ON orders (id) WHERE status = 'NEW';`);
const outbox = await createBox(pool, 'outbox');
const placed = await publisher(PLACED);
outbox.listen(placed);
await consume(DECIDED, end);

async function place({ userId, amount, description = '' }) {
  const order = { id: randomUUID(), userId, amount: String(amount), description, status: 'NEW', createTime: new Date().toISOString() };
  const message = {
    id: randomUUID(), aggregateType: 'order', aggregateId: order.id, messageType: 'order_placed', concurrency: 'parallel',
    payload: { orderId: order.id, userId, amount: order.amount },
  };
  await transaction(pool, (client) => [
    client.query({
      name: 'place', text: 'INSERT INTO orders (id, user_id, amount, description, create_time) VALUES ($1, $2, $3, $4, $5)',
      values: [order.id, userId, order.amount, description, order.createTime],
    }),
    outbox.store(message, client),
  ]);
  return order;
}

// Ended orders stay as they are, so a decision that comes again changes nothing.
async function end(decisions) {
  const column = (name) => decisions.map(({ payload }) => payload[name] ?? null);
  await pool.query({
    name: 'end',
    text: `UPDATE orders SET status = d.status, cancel_reason = d.reason, update_time = now()
             FROM unnest($1::uuid[], $2::text[], $3::text[]) AS d (id, status, reason)
            WHERE orders.id = d.id AND orders.status = 'NEW'`,
    values: [column('orderId'), column('status'), column('reason')],
  });
}

async function list(query) {
  const limit = Math.min(Number(query.get('pageSize') ?? 50), 1000);
  const { rows } = query.get('status') === 'NEW'
    ? await pool.query({ name: 'new', text: `${SELECT} WHERE status = 'NEW' ORDER BY id LIMIT $1`, values: [limit] })
    : await pool.query({ name: 'all', text: `${SELECT} WHERE status = coalesce($2, status) ORDER BY id LIMIT $1`, values: [limit, query.get('status')] });
  return { orders: rows };
}
const SELECT = `SELECT id, user_id AS "userId", amount, description, status, cancel_reason AS "cancelReason",
                create_time AS "createTime", update_time AS "updateTime" FROM orders`;

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks));
}

const valid = ({ userId, amount }) => /^[\w.-]{1,64}$/.test(userId) && Number.isSafeInteger(Number(amount)) && Number(amount) > 0;

async function answer(request) {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname !== '/gateway/orders') return [404, {}];
  if (request.method === 'GET') return [200, await list(url.searchParams)];
  if (request.method !== 'POST') return [405, {}];
  const order = await body(request);
  return valid(order) ? [200, await place(order)] : [400, { message: 'userId and a positive amount are needed' }];
}

const server = createServer(async (request, response) => {
  const [status, value] = await answer(request).catch((error) => {
    console.error(error);
    return [error instanceof SyntaxError ? 400 : 500, {}];
  });
  const text = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
});
server.on('error', fail);
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`listening http=127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
