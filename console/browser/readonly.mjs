// The operations room of who only reads, in front of a running mesh that wants tokens, where something of everything is to be acted on: parked, paused,
// a redrive that runs, and an order that differs. `EDGE` and `ADMIN` are its URLs.
import assert from 'node:assert/strict';
import { ask, call, has, holds, isAccessible, launch, leave, open } from './world.mjs';

const { EDGE, ADMIN } = process.env;
const PARKED = 12;

/** What buttons of who only reads may do: show, search, copy, leave. The first one is of a group, or of a message in it. */
const LOOKS = [
  /^\d+.*the poison works/,
  /^(orders|payments)$/,
  /^Show the payload$/,
  /^Copy /,
  /^Explain$/,
  /^Add them up$/,
  /^(Search|Everything)$/,
  /^Load more$/,
  /^Sign out$/,
];

const bearer = (token) => ({ authorization: `Bearer ${token}` });
const writer = bearer(await ask('token olga 1h admin:write'));
const admin = (path, body) => call(ADMIN, `/admin/v1${path}`, body, writer);

/** Asks until the answer is right. */
async function until(path, isRight) {
  for (;;) {
    const answer = await admin(path);
    if (isRight(answer)) return answer;
  }
}

/** An account with money of a user of this name, and what places orders of it. */
async function shopper(name) {
  const own = bearer(await ask(`token ${name} 1h`));
  await call(EDGE, '/gateway/payments', {}, own);
  await call(EDGE, `/gateway/payments/${name}/top-up`, { amount: '1000' }, own);
  return async () => (await call(EDGE, '/gateway/orders', { amount: '1' }, own)).id;
}

/** Something of everything that an operator would act on; returns an order that is stuck. */
async function trouble() {
  const [poisoned, lost] = [await shopper('poison'), await shopper('alice')];
  await ask('poison');
  const ids = [];
  while (ids.length < PARKED) ids.push(await poisoned());
  await until('/payments/status', ({ parked }) => parked === String(PARKED));
  await ask('lose');
  await lost();
  await until('/orders/reconciliation', ({ total }) => total === '1');
  // As long as the consumer is paused, the redrive goes on and comes to no end.
  await admin('/payments/pauses', { part: 'CONSUMER', operator: 'olga', reason: 'a look at it' });
  for (let state; state !== 'paused'; ) ({ 'payments.consumer.0': state } = (await (await fetch(`${ADMIN}/readyz`)).json()).states);
  await admin('/payments/redrives', { filter: { state: 'PARKED' }, perSecond: 1, operator: 'olga', reason: 'it is cured' });
  return ids[0];
}

/** Everything is well again, and nothing was lost. */
async function cure() {
  await ask('keep');
  await ask('cure');
  const { redrives } = await admin('/payments/redrives');
  for (const { redriveId } of redrives) await admin(`/payments/redrives/${redriveId}:stop`, { operator: 'olga' });
  const { pauses } = await admin('/payments/pauses');
  for (const { sequence } of pauses) await admin(`/payments/pauses/${sequence}:resume`, { operator: 'olga' });
  await admin('/payments/redrives', { filter: { state: 'PARKED' }, operator: 'olga', reason: 'the rest' });
  await until('/payments/redrives', ({ redrives }) => redrives.every(({ state }) => state !== 'RUNNING'));
  await until('/payments/status', ({ parked }) => (parked ?? '0') === '0');
  await admin('/orders/reconciliation:heal', { operator: 'olga', reason: 'the outbox is mended' });
  await until('/orders/reconciliation', ({ total }) => (total ?? '0') === '0');
}

/** Every tab, and what on it shows that there is something to act on; and the buttons there that only who acts has. */
const places = (id) => [
  ['the overview', '', (page) => has(page.getByTestId('waits-payments').locator('.bad'), String(PARKED)), []],
  ['what is parked', 'parked?service=payments', isRunning, ['Discard…', 'Preview a redrive', 'Redrive…', 'Stop']],
  [
    'an opened message of an opened group',
    undefined,
    opened,
    ['Discard this one…', 'Discard…', 'Edit…', 'Preview a redrive', 'Preview a redrive', 'Redrive this one…', 'Redrive…', 'Stop'],
  ],
  ['an order', `order?id=${id}`, (page) => page.getByTestId('explanation').getByText('PARKED', { exact: true }).waitFor(), []],
  ['what is paused', 'pauses?service=payments', (page) => has(page.getByTestId('pauses').locator('li'), 'a look at it'), ['Pause it', 'Resume']],
  ['the books', 'books', (page) => has(page.getByTestId('differences').locator('li'), 'NOT_APPLIED'), ['Heal them now']],
  ['the audit', 'audit?service=payments', (page) => has(page.getByTestId('audit').locator('li'), 'REDRIVE'), []],
];

/** A redrive runs, and the group that it is about is there. */
async function isRunning(page) {
  await has(page.getByTestId('redrives').locator('.chip'), 'running');
  await has(page.getByTestId('groups').getByRole('button'), 'the poison works');
  await page.getByTestId('messages').locator('li').first().waitFor();
}

/** From what is parked to a message of a group, by clicks. */
async function opened(page) {
  await page.getByTestId('groups').getByRole('button').first().click();
  await page.getByRole('heading', { name: 'Messages of this cause' }).waitFor();
  await page.getByTestId('messages').locator('li').first().getByRole('button').click();
  await page.getByRole('button', { name: 'Show the payload' }).waitFor();
  await isRunning(page);
}

/** The texts of all that is shown and looks like a button, in whatever way it was made. */
const buttons = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll('button, [role="button"], input:is([type="submit"], [type="button"], [type="image"], [type="reset"])')]
      .filter((one) => one.checkVisibility())
      .map((one) => one.getAttribute('aria-label') ?? (one.value || one.textContent))
      .map((text) => text.replace(/\s+/g, ' ').trim()),
  );

/** The buttons at each place of who has this token, and what the page has sent; `look` is done at each place. */
async function visits(id, token, look) {
  const { page, close } = await open(browser, ADMIN);
  const sent = [];
  page.on('request', (request) => request.method() !== 'GET' && sent.push(`${new URL(request.url()).pathname} ${request.postData()}`));
  await page.goto(`${ADMIN}/console/`);
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  const seen = [];
  for (const [name, at, isThere, acts] of places(id)) {
    if (at !== undefined) await page.goto(`${ADMIN}/console/#/${at}`);
    await isThere(page);
    await look(page, name, acts);
    seen.push(await buttons(page));
  }
  await close();
  return { seen, sent };
}

const browser = await launch();
try {
  const id = await trouble();
  const reading = await visits(id, await ask('token rita 1h admin:read'), async (page, name) => {
    await page.getByText('read only').waitFor();
    assert.equal(await page.locator('form.act, input[type="checkbox"], [contenteditable]').count(), 0, name);
    if (name.startsWith('an opened')) await isAccessible(page, 'the console of who only reads');
  });
  const acting = await visits(id, await ask('token olga 1h admin:write'), async (page, name, acts) => {
    // They come once the service has said what the token is good for.
    for (const act of acts) await page.getByRole('button', { name: act, exact: true }).first().waitFor();
    assert.equal(await page.getByText('read only').count(), 0, name);
  });
  places(id).forEach(([name, , , acts], index) => {
    const [reads, writes] = [reading.seen[index], acting.seen[index]];
    assert.deepEqual(reads.filter((text) => !LOOKS.some((look) => look.test(text))), [], `${name} of who only reads`);
    assert.deepEqual(writes.filter((text) => !LOOKS.some((look) => look.test(text))).sort(), acts, `${name} of who acts`);
  });
  holds('who only reads sees no button that acts, where who acts sees all of them');
  // The page itself asks what the token is good for; nothing is redriven by that.
  const asked = reading.sent.filter((text) => !/parked:redrive .*"dryRun":true/.test(text));
  assert.deepEqual(asked, [], 'who only reads sends nothing else than questions');
  await cure();
} finally {
  await browser.close();
  leave();
}
