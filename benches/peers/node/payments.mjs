// Payments: books each placed order once, or rejects it, and says so.

import { randomUUID } from 'node:crypto';

import { DECIDED, PLACED, consume, createBox, openPool, publisher, transaction } from './messaging.mjs';

const pool = openPool(8);
await pool.query(`
  CREATE TABLE IF NOT EXISTS accounts (
    user_id text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0), update_time timestamptz NOT NULL DEFAULT now());
  CREATE TABLE IF NOT EXISTS ledger (
    id uuid PRIMARY KEY, order_id uuid UNIQUE NOT NULL, user_id text NOT NULL, amount bigint NOT NULL,
    balance_after bigint NOT NULL, create_time timestamptz NOT NULL DEFAULT now());`);
await pool.query(
  `INSERT INTO accounts (user_id, balance) SELECT 'user-' || n, 1000000000 FROM generate_series(0, $1::int - 1) AS n ON CONFLICT DO NOTHING`,
  [Number(process.env.ACCOUNTS ?? 0)],
);
const inbox = await createBox(pool, 'inbox');
const outbox = await createBox(pool, 'outbox');
const decided = await publisher(DECIDED);
outbox.listen(decided);
inbox.listen([{ aggregateType: 'order', messageType: 'order_placed', handle: decide }]);
await consume(PLACED, (messages) =>
  transaction(pool, (client) => messages.map((message) => inbox.store({ ...message, concurrency: 'parallel' }, client))));

// Runs in the transaction in which the library marks the message as processed.
async function decide({ payload: { orderId, userId, amount } }, client) {
  const { rowCount } = await client.query({
    name: 'debit',
    text: `WITH debited AS (
             UPDATE accounts SET balance = balance - $3, update_time = now() WHERE user_id = $2 AND balance >= $3 RETURNING balance)
           INSERT INTO ledger (id, order_id, user_id, amount, balance_after) SELECT $4, $1, $2, -$3::bigint, balance FROM debited`,
    values: [orderId, userId, amount, randomUUID()],
  });
  const decision = rowCount === 1 ? { status: 'FINISHED' } : { status: 'CANCELLED', reason: await whyNot(userId, client) };
  await outbox.store({
    id: randomUUID(), aggregateType: 'payment', aggregateId: orderId, messageType: 'payment_decided', concurrency: 'parallel',
    payload: { orderId, ...decision },
  }, client);
}

async function whyNot(userId, client) {
  const { rowCount } = await client.query('SELECT FROM accounts WHERE user_id = $1', [userId]);
  return rowCount === 1 ? 'INSUFFICIENT_FUNDS' : 'ACCOUNT_NOT_FOUND';
}

console.log(`ready payments=${process.pid}`);
process.on('SIGTERM', () => process.exit(0));
