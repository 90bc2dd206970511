// What leaves by a redrive in the operations room, and what stays: one message, those of a cause, the first so many. In front of a running mesh without
// tokens; `EDGE` and `ADMIN` are its URLs, `ADMIN_TOKEN` the operator's token.
import assert from 'node:assert/strict';
import { ask, call, ended, has, holds, launch, leave, open } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN } = process.env;
const operator = { authorization: `Bearer ${ADMIN_TOKEN}` };
const POISONED = 8;
const VENOMOUS = 4;

/** What is parked, in the order in which it was: the number of each message, and its order. */
async function parked() {
  const { messages = [] } = await call(ADMIN, '/admin/v1/payments/parked?pageSize=100&view=PARKED_MESSAGE_VIEW_FULL', undefined, operator);
  for (const { state } of messages) assert.equal(state, 'PARKED');
  return messages.map(({ sequence, decoded }) => ({ sequence, user: decoded.userId, order: decoded.orderId }));
}

/** Orders that payments cannot handle, for two causes. */
async function poison() {
  for (const [user, count] of [['poison', POISONED], ['venom', VENOMOUS]]) {
    await call(EDGE, '/gateway/payments', { userId: user });
    await call(EDGE, `/gateway/payments/${user}/top-up`, { amount: '1000' });
    await ask(user);
    for (let amount = 1; amount <= count; amount += 1) await call(EDGE, '/gateway/orders', { userId: user, amount });
  }
  for (;;) {
    const all = await parked();
    if (all.length === POISONED + VENOMOUS) return all;
  }
}

/** These have left and are paid, and exactly the others are still parked, and not paid. */
async function haveLeft(gone, stay) {
  for (const { order } of gone) assert.equal((await ended(EDGE, order)).status, 'FINISHED');
  assert.deepEqual(await parked(), stay);
  for (const { order } of stay) assert.equal((await call(EDGE, `/gateway/orders/${order}`)).status, 'NEW');
}

/** Presses a button of a form that acts, and waits until its redrive has done so many of as many. */
async function starts(page, button, reason, done) {
  const name = page.getByLabel('Your name');
  if ((await name.inputValue()) === '') await name.fill('olga');
  await page.getByLabel('Reason').fill(reason);
  await page.getByRole('button', { name: button }).click();
  const redrive = page.getByTestId('redrives').locator('li', { hasText: reason });
  await has(redrive.locator('.chip'), 'finished');
  await redrive.getByText(`${done} done, 0 parked again, 0 left of ${done}`).waitFor();
}

const groups = (page) => page.getByTestId('groups').getByRole('button');
const messages = (page) => page.getByTestId('messages').locator('li');

const all = await poison();
const [poisoned, venomous] = ['poison', 'venom'].map((user) => all.filter((message) => message.user === user));

const browser = await launch();
try {
  const { page, close } = await open(browser, ADMIN);
  await page.goto(`${ADMIN}/console/#/parked?service=payments`);
  await page.getByLabel('Token', { exact: true }).fill(ADMIN_TOKEN);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
  await isGrouped(page);
  await ask('cure');
  await ask('cure venom');
  await redrivesOne(page);
  await redrivesACause(page);
  await redrivesTheFirst(page);
  await redrivesTheRest(page);
  await close();
} finally {
  await browser.close();
  leave();
}

/** Two causes are two groups, the larger one first, and each leads to its own messages. */
async function isGrouped(page) {
  await groups(page).nth(1).waitFor();
  for (const [index, cause, size] of [[0, 'the poison works', POISONED], [1, 'the venom works', VENOMOUS]]) {
    const group = groups(page).nth(index);
    await has(group, cause);
    assert.equal(await group.locator('.size').textContent(), String(size));
  }
  assert.equal(await groups(page).count(), 2);
  await groups(page).nth(1).click();
  await page.getByRole('heading', { name: 'Messages of this cause' }).waitFor();
  await page.getByText(`All ${VENOMOUS}`).waitFor();
  assert.deepEqual(await messages(page).locator('.number').allTextContents(), venomous.map(({ sequence }) => sequence));
  holds('messages are grouped by their causes, and a group has its own');
}

/** The second message of a group, and neither those beside it nor its group. */
async function redrivesOne(page) {
  const one = venomous[1];
  await messages(page).nth(1).getByRole('button').first().click();
  await page.getByRole('button', { name: 'Redrive this one…' }).click();
  await starts(page, 'Send it back', 'a look at one', 1);
  await haveLeft([one], all.filter((message) => message !== one));
  await has(groups(page).nth(1).locator('.size'), String(VENOMOUS - 1));
  await page.getByText(`All ${VENOMOUS - 1}`).waitFor();
  holds('one message is redriven, and all others stay parked');
}

/** What is left of a group, while the other one stays. */
async function redrivesACause(page) {
  await page.getByRole('button', { name: 'Redrive…' }).click();
  await page.getByLabel('Messages a second').fill('');
  await starts(page, 'Start the redrive', 'that release is out', VENOMOUS - 1);
  await haveLeft(venomous, poisoned);
  await page.waitForFunction(() => document.querySelectorAll('[data-testid="groups"] li').length === 1);
  await has(groups(page), 'the poison works');
  holds('the messages of a cause are redriven, and those of another one stay parked');
}

/** Of all that is parked, those that were parked first. */
async function redrivesTheFirst(page) {
  await page.goto(`${ADMIN}/console/#/parked?service=payments`);
  await page.getByRole('heading', { name: 'All messages' }).waitFor();
  await page.getByRole('button', { name: 'Redrive…' }).click();
  await page.getByLabel('Messages a second').fill('');
  await page.getByLabel('The first so many').fill('3');
  await starts(page, 'Start the redrive', 'three at first', 3);
  await haveLeft([...venomous, ...poisoned.slice(0, 3)], poisoned.slice(3));
  holds('the first so many are redriven, and those behind them stay parked');
}

/** What is left, of which somebody discards the last two meanwhile: they are accounted for. */
async function redrivesTheRest(page) {
  const taken = poisoned.slice(-2);
  await page.getByRole('button', { name: 'Redrive…' }).click();
  await page.getByLabel('Messages a second').fill('1');
  await page.getByLabel('Reason').fill('and the rest');
  await page.getByRole('button', { name: 'Start the redrive' }).click();
  const redrive = page.getByTestId('redrives').locator('li', { hasText: 'and the rest' });
  await redrive.waitFor();
  const filter = { sequences: taken.map(({ sequence }) => sequence) };
  await call(ADMIN, '/admin/v1/payments/parked:discard', { filter, operator: 'otto', reason: 'nobody wants them' }, operator);
  await has(redrive.locator('.chip'), 'finished');
  await redrive.getByText(`3 done, 0 parked again, 0 left of 5; 2 were taken away by others (discarded or redriven)`, { exact: true }).waitFor();
  await page.getByText('Nothing is parked.', { exact: true }).waitFor();
  assert.equal(await page.getByText('Everything could be handled').count(), 0);
  await haveLeft(all.filter((message) => !taken.includes(message)), []);
  // What was discarded is asked for again after half a minute: by then the order may have ended by a payment.
  for (const { order } of taken) {
    await fetch(`${EDGE}/gateway/orders/${order}:cancel`, { method: 'POST' });
    await ended(EDGE, order);
  }
  holds('the rest is redriven, and what others have taken away meanwhile is said');
}
