// The operations room in a browser, in front of a running mesh. `EDGE` and `ADMIN` are its URLs, `ADMIN_TOKEN` the operator's token.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { isClear } from './charts.mjs';
import { ask, call, choose, each, ended, has, hide, holds, isAccessible, launch, leave, meanwhile, open, picture, pressTwice, saysAtField, violatesNothing } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN } = process.env;
const PARKED = 60;
/** At which they are redriven, in messages a second. */
const RATE = 2;
const operator = { authorization: `Bearer ${ADMIN_TOKEN}` };

/** Orders that payments cannot handle until somebody has mended its database. */
async function poison() {
  await call(EDGE, '/gateway/payments', { userId: 'poison' });
  await call(EDGE, '/gateway/payments/poison/top-up', { amount: '100000' });
  await ask('poison');
  const ids = [];
  await each(PARKED, 8, async (at) => ids.push((await call(EDGE, '/gateway/orders', { userId: 'poison', amount: 100 + at })).id));
  return ids;
}

const group = (page) => page.getByTestId('groups').getByRole('button');

const ids = await poison();
/** The order whose message was discarded. */
let gone;
/** One that is paid. */
let paid;
const browser = await launch();
try {
  const { page, close } = await open(browser, ADMIN);
  await page.goto(`${ADMIN}/console`);
  assert.equal(new URL(page.url()).pathname, '/console/');
  const dialog = page.getByRole('dialog');
  await dialog.getByText('This mesh wants a token with each call.').waitFor();
  await isAccessible(page, 'the sign-in of the console');
  await page.getByLabel('Token', { exact: true }).fill('a wrong one');
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await dialog.getByText('Your token was refused').waitFor();
  await page.getByLabel('Token', { exact: true }).fill(ADMIN_TOKEN);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await overview(page);
  await explains(page);
  await parked(page);
  await noted(page);
  await pauses(page);
  await close();
} finally {
  await browser.close();
  leave();
}

async function overview(page) {
  await has(page.getByTestId('waits-payments').locator('.bad'), String(PARKED));
  await call(EDGE, '/gateway/payments', { userId: 'good' });
  await call(EDGE, '/gateway/payments/good/top-up', { amount: '1000' });
  ({ id: paid } = await call(EDGE, '/gateway/orders', { userId: 'good', amount: 1 }));
  await has(page.getByTestId('publishes-payments'), /^payments is of version \d.* published by the process with the file, for \d+ s/);
  // Rates want two looks, and something to happen between them.
  const latency = page.locator('.chart', { hasText: 'From commit to effect' }).locator('.key.line0');
  await meanwhile(() => call(EDGE, '/gateway/orders', { userId: 'good', amount: 1 }), has(latency, / (\d|\.)+ m?s/));
  const keys = [['Messages that wait', `parked ${PARKED}$`], ['Age of the oldest in the outbox', 'payments \\d'], ['A second', 'handled by orders \\d'], ['A second', 'calls \\d']];
  for (const [title, text] of keys) await has(page.locator('.chart', { hasText: title }).locator('.key'), new RegExp(`^${text}`));
  await page.getByTestId('parts').getByText('payments.consumer.0').first().waitFor();
  const running = page.getByTestId('processes-orders').locator('tbody tr');
  await has(running, /^the process with the file publishes answers ?\d+\.\d+\.\d+/);
  assert.equal(await running.count(), 1);
  holds('what waits, how old it is, how much is done and how quickly is shown, and which process does it');
  const chart = page.getByRole('img', { name: /^Messages that wait/ });
  await chart.focus();
  await page.keyboard.press('Home');
  await page.locator('.chart', { has: chart }).locator('.axis strong').getByText(/^\d\d:\d\d:\d\d UTC$/).waitFor();
  await violatesNothing(page, 'a chart with its cursor');
  await isClear(page, 'the overview');
  await isQuietWhenHidden(page);
  await saysWhatIsNotKnown(page);
  await isAccessible(page, 'the overview');
  // A line wants some looks.
  if (process.env.PICTURES) {
    const orders = setInterval(() => each(8, 2, () => call(EDGE, '/gateway/orders', { userId: 'good', amount: 1 })), 900);
    await page.waitForFunction(() => (document.querySelector('.chart path')?.getAttribute('d') ?? '').split('L').length > 12);
    clearInterval(orders);
  }
  await picture(page, 'overview');
  await picture(page, 'processes', page.locator('.card', { has: page.getByTestId('processes-orders') }));
}

/** An absence has no condition to wait for: three looks would have been taken meanwhile. */
async function isQuietWhenHidden(page) {
  await hide(page, true);
  // What was asked before is answered.
  await page.waitForLoadState('networkidle');
  const asked = [];
  const note = (request) => asked.push(request.url());
  page.on('request', note);
  await page.waitForTimeout(3_000);
  assert.deepEqual(asked, [], 'nothing is asked while the tab is hidden');
  const seen = page.waitForRequest('**/status');
  await hide(page, false);
  await seen;
  page.off('request', note);
  holds('a hidden tab asks nothing');
}

/** Counts that cannot be read stay, in grey; and for who does not see that it is said. */
async function saysWhatIsNotKnown(page) {
  const counts = page.getByTestId('waits-payments');
  const isGrey = () => counts.evaluate((one) => getComputedStyle(one).filter !== 'none');
  assert.equal(await isGrey(), false);
  await page.route('**/admin/v1/payments/status', (route) => route.abort('connectionrefused'));
  await page.getByText('payments: what waits is not known').waitFor();
  assert.equal(await isGrey(), true);
  await has(counts.locator('.bad'), String(PARKED));
  await page.unroute('**/admin/v1/payments/status');
  await page.getByText(new RegExp(`^payments: parked ${PARKED}$`)).waitFor();
  assert.equal(await isGrey(), false);
  holds('counts that cannot be read are grey, and said to be unknown');
}

async function explains(page) {
  await page.goto(`${ADMIN}/console/#/order?id=${paid}`);
  const explanation = page.getByTestId('explanation');
  await has(explanation.locator('.timeline li'), /^Ended.*trace [0-9a-f]{8}…/);
  await page.getByRole('link', { name: 'Order', exact: true }).click();
  await explanation.waitFor({ state: 'detached' });
  await violatesNothing(page, 'the search for an order');
  await page.getByLabel("The order's id").fill(ids[0]);
  await page.getByRole('button', { name: 'Explain' }).click();
  await explanation.getByText('PARKED', { exact: true }).waitFor();
  await explanation.getByText('the poison works').first().waitFor();
  await page.waitForURL(new RegExp(`#/order\\?id=${ids[0]}$`));
  await isAccessible(page, 'the explanation of an order');
  await picture(page, 'explain');
  await explanation.getByRole('link', { name: /Look at message/ }).click();
  await page.getByRole('button', { name: 'Show the payload' }).waitFor();
  // The one that was parked last is on no page that is loaded.
  const { messages } = await call(ADMIN, '/admin/v1/payments/parked?pageSize=100', undefined, operator);
  await page.goto(`${ADMIN}/console/#/order?id=${ids.find((id) => JSON.stringify(messages.at(-1)).includes(id)) ?? ids.at(-1)}`);
  await explanation.getByRole('link', { name: /Look at message/ }).click();
  await page.getByRole('button', { name: 'Show the payload' }).click();
  await page.getByTestId('payload').waitFor();
  // Of what is not there nothing is asked again by itself: an absence, so three looks are given their time.
  await page.goto(`${ADMIN}/console/#/order?id=00000000-0000-7000-8000-000000000000`);
  await page.getByRole('alert').getByText('ORDER_NOT_FOUND').waitFor();
  await violatesNothing(page, 'an order that is not there');
  const asked = [];
  const note = (request) => /:explain/.test(request.url()) && asked.push(request.url());
  page.on('request', note);
  await page.waitForTimeout(6_500);
  assert.deepEqual(asked, []);
  await Promise.all([page.waitForRequest(/:explain/), page.getByRole('button', { name: 'Try again' }).click()]);
  page.off('request', note);
  await page.goto(`${ADMIN}/console/#/nothing`);
  await page.getByText('There is no such page.').waitFor();
  await violatesNothing(page, 'no such page of the console');
  holds('an order says where it is, and why');
}

async function parked(page) {
  await page.getByRole('link', { name: 'Parked', exact: true }).click();
  await has(group(page), 'the poison works');
  assert.equal(await group(page).count(), 1);
  await group(page).click();
  await page.waitForURL(/cause=g[0-9a-f]{15}/);
  await page.getByRole('heading', { name: 'Messages of this cause' }).waitFor();
  const messages = page.getByTestId('messages').locator('li');
  await messages.nth(49).waitFor();
  await messages.first().getByRole('button').first().click();
  const show = page.getByRole('button', { name: 'Show the payload' });
  await show.waitFor();
  assert.equal(await page.getByTestId('payload').count(), 0);
  await show.click();
  await has(page.getByTestId('payload').locator('pre'), '"userId": "poison"');
  const { amount } = JSON.parse(await page.getByTestId('payload').locator('pre').first().textContent());
  const sequence = /sequence=(\d+)/.exec(page.url())[1];
  holds('parked messages are grouped by cause, and a payload is shown when it is asked for');
  await isAccessible(page, 'a parked message');
  // Each form replaces the one before; the last one is used.
  for (const [button, send] of [['Redrive this one…', 'Send it back'], ['Discard this one…', 'Discard it for good'], ['Edit…', 'Try the edit']]) {
    await page.getByRole('button', { name: button }).click();
    await page.getByRole('button', { name: send }).waitFor();
    await violatesNothing(page, `the form behind ${button}`);
  }
  await page.getByLabel('What is to be different').fill('{"amount": "nothing"}');
  await page.getByLabel('Your name').fill('olga');
  await page.getByLabel('Reason').fill('a look');
  await page.getByRole('button', { name: 'Try the edit' }).click();
  await page.getByRole('alert').getByText('INVALID_FIELD').waitFor();
  await saysAtField(page, 'What is to be different', /amount/i, () => page.getByLabel('What is to be different').fill('{"amount": "8"}'));
  const decoded = async () => {
    const { messages: all } = await call(ADMIN, '/admin/v1/payments/parked?pageSize=100&view=PARKED_MESSAGE_VIEW_FULL', undefined, operator);
    return all.find((one) => one.sequence === sequence).decoded;
  };
  // Its order is of another amount, so it is edited back.
  for (const [amountNow, amountBefore] of [['7', amount], [amount, '7']]) {
    await page.getByLabel('What is to be different').fill(JSON.stringify({ amount: amountNow }));
    await page.getByLabel('Reason').fill('a look');
    await page.getByRole('button', { name: 'Try the edit' }).click();
    await has(page.getByLabel('The payload that it would have'), `"amount": "${amountNow}"`);
    if (amountNow !== amount) await violatesNothing(page, 'an edit that was tried');
    assert.equal((await decoded()).amount, amountBefore, 'an edit that is tried changes nothing');
    await pressTwice(page.getByRole('button', { name: 'Edit it' }), /:edit$/);
    await page.getByRole('button', { name: 'Edit it' }).waitFor({ state: 'detached' });
    assert.equal((await decoded()).amount, amountNow, 'the edit is made');
    if (amountNow !== amount) await page.getByRole('button', { name: 'Edit…' }).click();
  }
  holds('an edit is tried, and made');
  await page.goto(page.url().replace(/&sequence=\d*/, ''));
  await page.getByRole('button', { name: 'Show the payload' }).waitFor({ state: 'detached' });
  const key = page.getByLabel('Partition key');
  await key.focus();
  await page.keyboard.type('nobody');
  await page.getByText('No message is in this state here.').waitFor();
  await page.waitForURL(/key=nobody/);
  await page.goBack();
  // Letters are no places to go back to.
  await page.waitForURL((url) => !/key=/.test(url.href));
  await messages.nth(49).waitFor();
  await page.goForward();
  await page.getByText('No message is in this state here.').waitFor();
  await key.fill('');
  await messages.nth(49).waitFor();
  holds('messages are filtered by what is typed');
  await discards(page);
  await previews(page, 'parked again', String(ids.length));
  await picture(page, 'parked');
  await ask('cure');
  await previews(page, 'would be done', String(ids.length));
  await page.getByTestId('preview').getByText('publishes PaymentDecided for').first().waitFor();
  holds('a preview says what a redrive would do');
  await redrives(page);
}

/** The first of them leaves for good, and no other one. */
async function discards(page) {
  const first = await call(ADMIN, '/admin/v1/payments/parked?pageSize=1&view=PARKED_MESSAGE_VIEW_FULL', undefined, operator);
  gone = first.messages[0].decoded.orderId;
  await page.getByRole('button', { name: 'Discard…' }).click();
  // Zero would be all to the API.
  for (const text of ['none', '0', '-3']) {
    await page.getByLabel('The first so many').fill(text);
    await page.getByText('A number from 1 on, or nothing for all.').waitFor();
    await page.getByLabel('The first so many').fill('');
    await has(page.getByTestId('meant'), new RegExp(`^All of ${PARKED} parked messages of payments with this cause: .*the poison works`));
  }
  await violatesNothing(page, 'the form that discards a cause');
  await page.getByLabel('The first so many').fill('1');
  await page.getByLabel('Reason').fill('of a test');
  // It takes effect, and its answer is lost.
  await page.route('**/parked:discard', async (route) => {
    await route.fetch();
    return route.abort('connectionreset');
  });
  await page.getByRole('button', { name: 'Discard them for good' }).click();
  const alert = page.getByRole('alert').filter({ hasText: 'it may have taken effect' });
  await alert.getByText('Look at the messages before you repeat it.').waitFor();
  await page.getByText(`All ${PARKED - 1}`).or(page.getByText('50 so far')).first().waitFor();
  await has(group(page).locator('.size'), String(PARKED - 1));
  await page.unroute('**/parked:discard');
  await page.getByRole('button', { name: 'Discard…' }).click();
  await alert.waitFor({ state: 'detached' });
  const { messages } = await call(ADMIN, '/admin/v1/payments/parked?pageSize=100&view=PARKED_MESSAGE_VIEW_FULL', undefined, operator);
  ids.splice(ids.indexOf(gone), 1);
  // What was discarded is asked for again after half a minute: on a slow machine it may be back already.
  const others = messages.map(({ decoded }) => decoded.orderId).filter((id) => id !== gone);
  assert.deepEqual(others.sort(), [...ids].sort());
  holds('the first of them is discarded, and no other one');
}

async function previews(page, what, count) {
  const parked = async () => {
    const { messages } = await call(ADMIN, '/admin/v1/payments/parked?pageSize=100', undefined, operator);
    return messages.map(({ sequence }) => sequence);
  };
  const before = await parked();
  await pressTwice(page.getByRole('button', { name: 'Preview a redrive' }), /parked:preview$/);
  await has(page.getByTestId('preview').locator('p').first(), new RegExp(what === 'would be done' ? `^${count} would be done` : `${count} parked again`));
  assert.deepEqual(await parked(), before, 'a preview changes nothing');
  await violatesNothing(page, `a preview: ${what}`);
}

async function redrives(page) {
  const redrive = page.getByTestId('redrives').locator('li');
  await page.getByRole('button', { name: 'Redrive…' }).click();
  await page.getByLabel('Messages a second').fill('0');
  await page.getByText('From 1 to 1,000 a second, or nothing for as fast as it goes.').waitFor();
  await violatesNothing(page, 'the form that redrives a cause');
  await page.getByLabel('Messages a second').fill(String(RATE));
  await page.getByLabel('Reason').fill('it is cured');
  await pressTwice(page.getByRole('button', { name: 'Start the redrive' }), /\/redrives$/);
  await page.waitForFunction(() => Number(document.querySelector('progress')?.value) > 5);
  await redrive.first().getByRole('button', { name: 'Stop' }).click();
  await has(redrive.first().locator('.chip'), 'stopped');
  const [, done, left] = /(\d+) done, 0 parked again, (\d+) left/.exec(await redrive.first().textContent());
  assert.ok(Number(done) > 5 && Number(left) > 0 && Number(done) + Number(left) <= ids.length, `${done} ${left}`);
  await keepsItsRate(done);
  holds(`a redrive at a rate was stopped after ${done} of ${ids.length}`);
  await picture(page, 'redrives');
  await has(group(page).locator('.size'), left);
  await page.getByRole('button', { name: 'Redrive…' }).click();
  await page.getByLabel('Messages a second').fill('');
  await page.getByLabel('Reason').fill('the rest');
  await page.getByRole('button', { name: 'Start the redrive' }).click();
  await has(redrive.first().locator('.chip'), 'finished');
  await page.getByText('Nothing is parked.').waitFor();
  for (const id of ids) assert.equal((await ended(EDGE, id)).status, 'FINISHED');
  // What was discarded is asked for again after half a minute: by then the order may have ended by a payment.
  await fetch(`${EDGE}/gateway/orders/${gone}:cancel`, { method: 'POST' });
  await ended(EDGE, gone);
  holds('the rest is redriven, and finished');
  await isAccessible(page, 'the parked messages');
}

/** By the service's own numbers: what it has done in the time that it noted is at most twice, and at least half of what was asked for. */
async function keepsItsRate(done) {
  const { redrives: all } = await call(ADMIN, '/admin/v1/payments/redrives', undefined, operator);
  assert.equal(all.length, 1);
  const [job] = all;
  assert.deepEqual([job.perSecond, job.done], [RATE, done]);
  const rate = Number(job.done) / ((Date.parse(job.endTime) - Date.parse(job.startTime)) / 1_000);
  assert.ok(rate >= RATE / 2 && rate <= RATE * 2, `${rate} a second, from ${job.startTime} until ${job.endTime}`);
}

async function noted(page) {
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  const events = page.getByTestId('audit').locator('li');
  for (const [action, text] of [['STOP_REDRIVE', 'olga'], ['REDRIVE', 'it is cured']]) {
    await page.getByLabel('Filter').fill(`action = ${action}`);
    await page.keyboard.press('Enter');
    await page.waitForFunction(
      (only) => {
        const all = [...document.querySelectorAll('[data-testid="audit"] strong')];
        return all.length > 0 && all.every((one) => one.textContent === only);
      },
      action,
    );
    await has(events, text);
  }
  await page.getByRole('button', { name: 'Everything' }).click();
  await has(events, 'ORDER_DEBIT');
  await picture(page, 'audit');
  holds('who has redriven and stopped is noted');
}

/** What a service subscribes to stands in the topology of the mesh. */
async function offersItsKinds(page, service) {
  const topology = readFileSync(new URL('../../proto/topology.rs', import.meta.url), 'utf8');
  const [, kinds] = new RegExp(`name: "${service}",\\s*kinds: &\\[([^\\]]*)\\]`).exec(topology);
  const wanted = [...kinds.matchAll(/"([^"]+)"/g)].map(([, kind]) => kind);
  assert.ok(wanted.length > 2, kinds);
  assert.deepEqual(await page.getByLabel('Only this kind').evaluate((input) => [...input.list.options].map(({ value }) => value)), wanted);
}

async function pauses(page) {
  await page.getByRole('link', { name: 'Pauses', exact: true }).click();
  await choose(page, 'payments');
  await page.getByText('Nothing is paused.').waitFor();
  await offersItsKinds(page, 'payments');
  await page.getByLabel('Only this kind').fill('ordermesh.orders.v1.OrderPlaced');
  await page.getByLabel('Reason').fill('a bad release');
  const partition = page.getByLabel('Only this partition');
  await partition.fill('9999');
  await page.getByRole('button', { name: 'Pause it' }).click();
  await saysAtField(page, 'Only this partition', /^There is no such partition\.$/, () => partition.fill(''));
  // Its answer is lost, and it is asked for again by the same key: it is paused once.
  const keys = [];
  await page.route('**/payments/pauses', async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    keys.push(route.request().headers()['idempotency-key']);
    if (keys.length > 1) return route.continue();
    await route.fetch();
    return route.abort('connectionreset');
  });
  await page.getByRole('button', { name: 'Pause it' }).click();
  await page.locator('.log li', { hasText: 'Pause' }).getByText('200, the first answer again').waitFor();
  assert.ok(keys.length === 2 && /^[\da-f]{32}$/.test(keys[0]) && keys[0] === keys[1], JSON.stringify(keys));
  await page.unroute('**/payments/pauses');
  const one = page.getByTestId('pauses').locator('li');
  await one.getByText('nothing of OrderPlaced is handled').waitFor();
  assert.equal(await one.count(), 1);
  await call(EDGE, '/gateway/payments', { userId: 'late' });
  await call(EDGE, '/gateway/payments/late/top-up', { amount: '100' });
  const { id } = await call(EDGE, '/gateway/orders', { userId: 'late', amount: '1' });
  await isAccessible(page, 'the pauses');
  await picture(page, 'pauses');
  assert.equal((await call(EDGE, `/gateway/orders/${id}`)).status, 'NEW');
  // Somebody else is quicker: the page has not read that yet.
  await call(ADMIN, '/admin/v1/payments/pauses', { part: 'RELAY', operator: 'olga', reason: 'for a moment' }, operator);
  const relay = one.filter({ hasText: 'The relay' });
  await relay.waitFor();
  await hide(page, true);
  const { pauses: paused } = await call(ADMIN, '/admin/v1/payments/pauses', undefined, operator);
  const { sequence } = paused.find(({ part }) => part === 'RELAY');
  await call(ADMIN, `/admin/v1/payments/pauses/${sequence}:resume`, { operator: 'otto' }, operator);
  await relay.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('it has ended already, by somebody else.').waitFor();
  assert.equal(await page.getByRole('alert').count(), 0, 'it is no error');
  await hide(page, false);
  await relay.waitFor({ state: 'detached' });
  // Its answer is lost, and it has taken effect.
  await page.route('**/pauses/*:resume', async (route) => {
    await route.fetch();
    return route.abort('connectionreset');
  });
  await one.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('Nothing is paused.').waitFor();
  await page.unroute('**/pauses/*:resume');
  await ended(EDGE, id);
  holds('what handles orders is paused and resumed');
}
