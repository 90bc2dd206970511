// Whether the list of orders stays smooth while it changes, in front of a running mesh without tokens. `EDGE` is its URL. What is asserted is
// processor time of the page's thread: how long frames took by the clock on the wall is also what the machine did beside, and only said.
import assert from 'node:assert/strict';
import { costs } from './tasks.mjs';
import { call, each, ended, holds, launch, leave, open } from './world.mjs';

const { EDGE } = process.env;
/** Longer than a frame may take, in milliseconds. */
const BLOCK = 150;
const LONGEST = 100;
/** So many orders at once, and not sooner again than that, in milliseconds: 200 changes a second, where the machine serves them. */
const STEP = { orders: 5, least: 50 };
/** Orders that the list draws in a frame at most (`console/web/shop/user.ts`). */
const PER_FRAME = 25;

const browser = await launch();
try {
  await seesWhatIsLate();
  await isSmooth('of a list', 0, 500);
  await isSmooth('of a long list', 300, 150);
  await drawsABurstBitByBit();
} finally {
  await browser.close();
  leave();
}

/** How long each frame of the page took while `work` was done, from the one before, in milliseconds; and what its thread did. */
async function framesOf(page, work) {
  let took;
  const cost = await costs(page, async () => {
    await page.evaluate(() => {
      let last = performance.now();
      const took = [];
      let end;
      const next = () => {
        const now = performance.now();
        took.push(now - last);
        last = now;
        if (end) end(took);
        else requestAnimationFrame(next);
      };
      requestAnimationFrame(next);
      // With one frame more: what has blocked at the end is in it.
      globalThis.framesUntilNow = () => new Promise((resolve) => (end = resolve));
    });
    await work();
    took = await page.evaluate(() => framesUntilNow());
  });
  assert.equal(await page.evaluate(() => document.visibilityState), 'visible');
  return { ...cost, took: took.sort((a, b) => a - b) };
}

/** So much of them took at most that. */
function share(sorted, of) {
  return sorted[Math.floor((sorted.length - 1) * of)];
}

function said({ task, frame, took }) {
  const [half, most, all] = [0.5, 0.99, 1].map((of) => share(took, of).toFixed(0));
  const wall = `${took.length} frames: half within ${half} ms, 99 % within ${most} ms, the longest took ${all} ms`;
  return `the longest task took ${task.toFixed(0)} ms of the processor, all of a frame ${frame.toFixed(0)} ms; by the clock on the wall ${wall}`;
}

/** A list that changes for a user of its own, who has so many orders. */
async function listOf(user, orders = 0) {
  const { page, close } = await open(browser, EDGE);
  await call(EDGE, '/gateway/payments', { userId: user });
  await call(EDGE, `/gateway/payments/${user}/top-up`, { amount: '100000' });
  await each(orders, 8, () => place(user, 0));
  await page.goto(`${EDGE}/shop/`);
  await page.getByLabel('Name').fill(user);
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Orders' }).click();
  await page.locator('.card .link.live').waitFor();
  await page.getByText(orders > 0 ? '50 so far' : 'No orders yet.').waitFor();
  for (let shown = 50; shown < orders; shown += 50) {
    await page.getByTestId('orders').locator('li').last().scrollIntoViewIfNeeded();
    await page.waitForFunction((least) => document.querySelectorAll('.rows li').length >= least, shown + 50);
  }
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForFunction(() => document.querySelectorAll('.rows .chip.busy').length === 0);
  return { page, close };
}

function place(user, at) {
  return call(EDGE, '/gateway/orders', { userId: user, amount: 1 + (at % 7), description: `item ${at}` });
}

async function placeAtAPace(user, orders) {
  for (let at = 0; at < orders; at += STEP.orders) {
    const least = new Promise((resolve) => setTimeout(resolve, STEP.least));
    await Promise.all([least, each(STEP.orders, STEP.orders, (one) => place(user, at + one))]);
  }
}

/** The control: a page that has nothing to do has some sixty frames a second that cost nothing, and one that is blocked has a late one. */
async function seesWhatIsLate() {
  const { page, close } = await listOf('still');
  const still = await framesOf(page, () => page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1_000))));
  assert.ok(still.frame < LONGEST, said(still));
  // By the clock on the wall, which is all that a script sees: it gets less of the processor where others want it too.
  const block = (length) =>
    new Promise((resolve) =>
      setTimeout(() => {
        for (const until = performance.now() + length; performance.now() < until; );
        resolve();
      }, 200),
    );
  let [length, blocked] = [BLOCK];
  do {
    blocked = await framesOf(page, () => page.evaluate(block, length));
    assert.ok(blocked.took.at(-1) >= length - 5, `a page that was blocked for ${length} ms: ${said(blocked)}`);
    length *= 2;
  } while (blocked.task < LONGEST && length < 50 * BLOCK);
  assert.ok(Math.min(blocked.task, blocked.frame) >= LONGEST, `a page that was blocked for ${length / 2} ms: ${said(blocked)}`);
  await close();
  holds(`a second of a page at rest: ${said(still)}`);
  holds(`blocked for ${length / 2} ms: ${said(blocked)}`);
}

/**
 * New orders of a list that has some. Of a list that was empty no task is long in any round. The others are judged in the best of three: a frame of
 * several tasks, since the page goes on with what comes while the machine draws none; and a long list, whose tasks a busy machine makes longer too,
 * because others empty the caches of its processor.
 */
async function isSmooth(what, before, orders) {
  const rounds = [];
  const isShort = ({ task, frame }) => Math.max(task, frame) < LONGEST;
  while (rounds.length < 3 && !rounds.some(isShort)) {
    const user = `smooth-${before}-${rounds.length}`;
    const { page, close } = await listOf(user, before);
    const round = await framesOf(page, async () => {
      await placeAtAPace(user, orders);
      await page.getByRole('button', { name: `Show ${orders - 100} new orders` }).waitFor();
      await page.waitForFunction((rows) => document.querySelectorAll('.rows .chip.good').length === rows, before + 100);
    });
    await close();
    assert.ok(before > 0 || round.task < LONGEST, `${2 * orders} changes ${what}: ${said(round)}`);
    rounds.push(round);
  }
  const all = `${2 * orders} changes ${what}: ${rounds.map(said).join('; ')}`;
  assert.ok(isShort(rounds.at(-1)), all);
  holds(all);
}

/** What has changed while the page was held is drawn in as many frames as it takes. */
async function drawsABurstBitByBit() {
  const { page, close } = await listOf('burst');
  await page.evaluate(() => {
    globalThis.rows = [0];
    const next = () => {
      rows.push(document.querySelectorAll('.rows li').length);
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
  const session = await page.context().newCDPSession(page);
  await session.send('Debugger.enable');
  const held = new Promise((resolve) => session.once('Debugger.paused', resolve));
  await session.send('Debugger.pause');
  await held;
  const orders = [];
  await each(100, 8, async (at) => orders.push(await place('burst', at)));
  await each(100, 8, (at) => ended(EDGE, orders[at].id));
  await session.send('Debugger.resume');
  await page.waitForFunction(() => rows.at(-1) === 100);
  const rows = await page.evaluate(() => rows);
  await session.detach();
  await close();
  const steps = rows.slice(1).map((now, at) => now - rows[at]).filter((more) => more > 0);
  assert.ok(Math.max(...steps) <= PER_FRAME, `rows that came in a frame: ${steps}`);
  holds(`100 orders that came at once are drawn in frames of ${steps} rows`);
}
