// What both services share: the tables and listeners of pg-transactional-outbox, and RabbitMQ by amqplib.

import { setTimeout } from 'node:timers/promises';

import amqplib from 'amqplib';
import pg from 'pg';
import {
  DatabaseSetup,
  getDisabledLogger,
  initializeMessageStorage,
  initializePollingMessageListener,
} from 'pg-transactional-outbox';

export const PLACED = 'peer.node.orders.placed';
export const DECIDED = 'peer.node.payments.decided';

// As many messages as are handled at once, each by a connection of its own: their commits share flushes.
const PARALLEL = Number(process.env.PARALLEL ?? 32);
const PREFETCH = 500;
const PAUSE_MS = 4;

// Faults only: the library logs every message at debug.
const report = (...args) => console.error(...args);
const logger = { ...getDisabledLogger(), level: 'warn', fatal: report, error: report, warn: report };

export function fail(error) {
  console.error(error);
  process.exit(1);
}

export function openPool(max) {
  // Pipelined: a transaction whose statements need no answer of each other is one round trip.
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max, pipeline: true });
  pool.on('error', fail);
  return pool;
}

// All statements go out together; when one fails, the server makes the COMMIT a ROLLBACK.
export async function transaction(pool, statements) {
  const client = await pool.connect();
  const sent = [client.query('BEGIN'), ...statements(client), client.query('COMMIT')];
  const failed = (await Promise.allSettled(sent)).find((one) => one.status === 'rejected');
  client.release(failed?.reason);
  if (failed) throw failed.reason;
}

function config(box) {
  const connection = { connectionString: process.env.DATABASE_URL };
  return {
    outboxOrInbox: box,
    dbListenerConfig: { ...connection, max: 2 },
    dbHandlerConfig: { ...connection, max: PARALLEL },
    settings: {
      dbSchema: 'public',
      dbTable: box,
      // As the library's documentation advises: off for an outbox, on for an inbox.
      enableMaxAttemptsProtection: box === 'inbox',
      enablePoisonousMessageProtection: box === 'inbox',
      nextMessagesFunctionName: `next_${box}_messages`,
      nextMessagesBatchSize: PARALLEL,
      nextMessagesPollingIntervalInMs: 10,
      // Also its advice: polling stays fast when processed messages go soon. An inbox keeps them longer, to know them again.
      messageCleanupIntervalInMs: box === 'inbox' ? 60_000 : 5_000,
      messageCleanupProcessedInSec: box === 'inbox' ? 600 : 5,
    },
  };
}

export async function createBox(pool, box) {
  const { rows: [{ found, role }] } = await pool.query(`SELECT to_regclass('public.${box}') AS found, current_user AS role`);
  if (!found) {
    await pool.query(DatabaseSetup.dropAndCreateTable({ outboxOrInbox: box, schema: 'public', table: box, listenerRole: role }));
    await pool.query(nextMessages(box));
  }
  return {
    store: initializeMessageStorage(config(box), logger),
    listen: (handlers) => initializePollingMessageListener(config(box), handlers, logger, { batchSizeStrategy }),
  };
}

// The library's own function keeps segments in order, for which it sorts all that wait at each poll. Nothing here needs an order,
// so this one takes the oldest by an index, as the library allows.
function nextMessages(box) {
  return `
    CREATE INDEX ${box}_waiting ON ${box} (created_at) WHERE processed_at IS NULL AND abandoned_at IS NULL;
    CREATE FUNCTION next_${box}_messages(max_size integer, lock_ms integer) RETURNS SETOF ${box} LANGUAGE sql AS $$
      UPDATE ${box} SET locked_until = clock_timestamp() + lock_ms * interval '1 millisecond', started_attempts = started_attempts + 1
       WHERE id = ANY (ARRAY(
         SELECT id FROM ${box} WHERE processed_at IS NULL AND abandoned_at IS NULL AND locked_until < now()
          ORDER BY created_at LIMIT max_size FOR NO KEY UPDATE SKIP LOCKED))
      RETURNING *
    $$;`;
}

// The listener polls whenever a message is done: the pause lets many be done, and the next poll fill all their places.
async function batchSizeStrategy() {
  await setTimeout(PAUSE_MS);
  return PARALLEL;
}

export async function openBroker() {
  const broker = await amqplib.connect(process.env.AMQP_URL, { noDelay: true });
  // Whoever supervises the process starts it again: everything that counts is in the database.
  broker.on('error', fail);
  broker.on('close', () => fail('the broker closed the connection'));
  return broker;
}

async function declare(channel, queue) {
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
}

// The handler of an outbox: it ends when the broker has confirmed the message, and the library marks the row after that.
export async function publisher(queue) {
  const channel = await (await openBroker()).createConfirmChannel();
  await declare(channel, queue);
  const returned = new Set();
  channel.on('return', (message) => returned.add(message.properties.messageId));
  const handle = ({ id, aggregateType, aggregateId, messageType, payload }) =>
    new Promise((resolve, reject) => {
      const body = Buffer.from(JSON.stringify({ aggregateType, aggregateId, messageType, payload }));
      channel.sendToQueue(queue, body, { persistent: true, mandatory: true, messageId: id }, (error) => {
        if (error) reject(error);
        else if (returned.delete(id)) reject(new Error(`no queue ${queue}`));
        else resolve();
      });
    });
  return { handle };
}

// What has arrived while the last batch was written is written together, and acknowledged after the commit.
export async function consume(queue, write) {
  const channel = await (await openBroker()).createChannel();
  await declare(channel, queue);
  await channel.prefetch(PREFETCH);
  let waiting = [];
  let writing = false;
  const drain = async () => {
    writing = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      await write(batch.map((message) => ({ id: message.properties.messageId, ...JSON.parse(message.content) })));
      channel.ack(batch.at(-1), true);
    }
    writing = false;
  };
  await channel.consume(queue, (message) => {
    if (message === null) fail('the broker cancelled the consumer');
    waiting.push(message);
    if (!writing) drain().catch(fail);
  });
}
