// What the operations room keeps: books and who did what, in front of a running mesh. `EDGE` and `ADMIN` are its URLs, `ADMIN_TOKEN` the operator's
// token.
import assert from 'node:assert/strict';
import { ask, call, choose, ended, explained, has, holds, isAccessible, isPainted, isThereFarAway, launch, leave, open, paintsAlone, picture, pressTwice, slow, violatesNothing } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN } = process.env;

const browser = await launch();
try {
  const { page, close } = await open(browser, ADMIN);
  await paintsWithoutData(page);
  await page.goto(`${ADMIN}/console/#/books`);
  await page.getByLabel('Token', { exact: true }).fill(ADMIN_TOKEN);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await books(page);
  await audit(page);
  await heals(page);
  await close();
  await hasNoOperators();
  await isOfUseFarAway();
} finally {
  await browser.close();
  leave();
}

/** The listener says nothing for a while, and the page is there, and goes on by itself. */
async function paintsWithoutData(page) {
  let speak;
  const silence = new Promise((resolve) => (speak = resolve));
  let isLost = true;
  await page.route('**/admin/v1/openapi.json', async (route) => {
    await silence;
    return isLost ? route.abort('connectionreset') : route.continue();
  });
  const asked = page.waitForRequest('**/admin/v1/openapi.json');
  await page.goto(`${ADMIN}/console/`);
  await isPainted(page);
  await asked;
  assert.equal(await page.getByRole('navigation').getByRole('link').count(), 6);
  speak();
  await page.getByRole('alert').getByText('cannot be reached').waitFor();
  isLost = false;
  // Escape does not open what wants a token, however often it is pressed.
  await page.getByRole('dialog').waitFor();
  for (let times = 0; times < 3; times += 1) await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor();
  await page.unroute('**/admin/v1/openapi.json');
  await page.goto('about:blank');
  await paintsAlone(page, `${ADMIN}/console/`, 'Overview', page.getByText('What was sent'), /\/admin\/v1\/openapi\.json$/);
  holds('the operations room is painted without waiting for data, and goes on by itself');
}

/** The document of a process without admin services has no paths: this one's, without them. */
async function hasNoOperators() {
  const { page, close } = await open(browser, ADMIN);
  await page.route('**/admin/v1/openapi.json', async (route) => {
    const response = await route.fetch();
    return route.fulfill({ response, json: { ...(await response.json()), paths: {} } });
  });
  await page.goto(`${ADMIN}/console/`);
  await page.getByRole('heading', { name: 'Nobody can be an operator here' }).waitFor();
  await violatesNothing(page, 'a console without operators');
  await close();
  holds('a process without admin services says so');
}

async function books(page) {
  await call(EDGE, '/gateway/payments', { userId: 'alice' });
  await call(EDGE, '/gateway/payments/alice/top-up', { amount: '1000' });
  const { id } = await call(EDGE, '/gateway/orders', { userId: 'alice', amount: '300' });
  assert.equal((await ended(EDGE, id)).status, 'FINISHED');
  const compared = page.getByTestId('compared');
  await has(compared, 'no differences');
  await page.getByTestId('compared').getByText(/Orders were compared from/).waitFor();
  await page.getByText('None: both have stored the same.').waitFor();
  // Nothing is to be healed, and who wanted that is noted.
  const operator = { authorization: `Bearer ${ADMIN_TOKEN}` };
  await call(ADMIN, '/admin/v1/orders/reconciliation:heal', { operator: 'olga', reason: 'a look at it' }, operator);
  await isAccessible(page, 'the differences');
  await page.getByLabel('Differences that').selectOption('were, and are healed');
  await page.getByText('None was found and healed.').waitFor();
  await page.waitForURL(/#\/books\?healed=true$/);
  holds('orders and payments are compared');
  const add = page.getByRole('button', { name: 'Add them up' });
  const sums = /\/payments\/reconciliation$/;
  const cells = page.getByTestId('books').locator('tbody td');
  for (const [off, said] of [[1, 'differ by \u22120.01 RUB'], [-1, 'differ by 0.01 RUB']]) {
    await page.route(sums, async (route) => {
      const response = await route.fetch();
      const { currencies: [one] } = await response.json();
      return route.fulfill({ response, json: { currencies: [{ ...one, balances: String(Number(one.balances) + off) }] } });
    });
    await add.click();
    await has(cells, said);
    await page.unroute(sums);
  }
  await pressTwice(add, sums, 'GET');
  await has(cells, 'agree');
  const seen = (await cells.allTextContents()).map((text) => text.replace(/\s/g, ' '));
  assert.deepEqual(seen, ['RUB', '1', '10.00 RUB', '3.00 RUB', '7.00 RUB', 'agree']);
  await isAccessible(page, 'the books');
  holds('the books agree');
}

/** Decisions are lost until somebody has mended that: what was asked again meanwhile is not healed, and the button does not wait for its time. */
async function heals(page) {
  await call(EDGE, '/gateway/payments/alice/top-up', { amount: '1000' });
  await ask('lose');
  const ids = [];
  for (const amount of [30, 40]) ids.push((await call(EDGE, '/gateway/orders', { userId: 'alice', amount })).id);
  await page.goto(`${ADMIN}/console/#/books`);
  const compared = page.getByTestId('compared');
  await has(compared, '2 differences');
  // Each was tried at once, and is tried again after half a minute.
  const operator = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const differ = async (query = '') => (await call(ADMIN, `/admin/v1/orders/reconciliation${query}`, undefined, operator)).differences;
  for (let tried = 0; tried < 2; ) tried = (await differ()).filter(({ healAttempts }) => healAttempts > 0).length;
  await page.reload();
  const found = page.getByTestId('differences').locator('li');
  await has(found, /NOT_APPLIED.*Tried (once|\d times); the next time .* in \d+ s/);
  assert.equal(await found.count(), 2);
  await isAccessible(page, 'the orders that differ');
  await picture(page, 'books');
  await page.getByLabel('Your name').fill('olga');
  await page.getByLabel('Reason').fill('the outbox is mended');
  const next = await aWhileBefore(differ);
  await ask('keep');
  await page.getByRole('button', { name: 'Heal them now' }).click();
  await has(compared, 'no differences');
  const healed = await differ('?healed=true');
  assert.equal(healed.length, 2);
  for (const { orderId, healTime } of healed) assert.ok(Date.parse(healTime) < next.get(orderId), `${healTime}: ${orderId} was healed at its time`);
  await page.getByText('None: both have stored the same.').waitFor();
  await page.getByLabel('Differences that').selectOption('were, and are healed');
  await has(found, /NOT_APPLIED.*Healed/);
  assert.equal(await found.count(), 2);
  for (const id of ids) assert.equal((await call(EDGE, `/gateway/orders/${id}`)).status, 'FINISHED');
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  await choose(page, 'orders');
  await page.getByLabel('Filter').fill('action = HEAL');
  await page.keyboard.press('Enter');
  await has(page.getByTestId('audit').locator('li'), 'the outbox is mended');
  holds('what differs is healed by the button, and who has pressed it is noted');
}

/** When each is tried again by itself, where that is not soon: until then something else may heal them. */
async function aWhileBefore(differ) {
  for (;;) {
    const next = new Map((await differ()).map(({ orderId, nextHealTime }) => [orderId, Date.parse(nextHealTime)]));
    if ([...next.values()].every((time) => time > Date.now() + 15_000)) return next;
  }
}

/** On a slow network the page is there within seconds, and shows what it reads. */
async function isOfUseFarAway() {
  const { page, close } = await open(browser, ADMIN);
  await slow(page);
  await page.goto(`${ADMIN}/console/`);
  await isPainted(page);
  await isThereFarAway(page, 'the operations room');
  await page.getByLabel('Token', { exact: true }).fill(ADMIN_TOKEN);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
  await page.getByTestId('waits-payments').waitFor();
  await page.getByTestId('parts').getByText('payments.consumer.0').first().waitFor();
  await close();
  holds('on a slow network the operations room shows what it reads');
}

async function audit(page) {
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  const events = page.getByTestId('audit').locator('li');
  await suggests(page);
  await choose(page, 'orders');
  const filter = page.getByLabel('Filter');
  await filter.fill('act');
  const suggested = () => page.locator('datalist option').evaluateAll((all) => all.map(({ value }) => value));
  assert.deepEqual(await suggested(), ['action = ', 'action != ']);
  await filter.fill('action = HE');
  assert.deepEqual(await suggested(), ['action = HEAL']);
  await filter.fill('action = HEAL');
  await filter.press('Enter');
  await has(events, 'olga');
  await page.getByText('All 1').waitFor();
  await page.waitForURL(/filter=action\+%3D\+HEAL/);
  assert.equal(await filter.evaluate((one) => one === document.activeElement), true);
  await filter.fill('action = TOP_UP');
  await filter.press('Enter');
  await page.getByText('Nothing meets this filter.').waitFor();
  await page.goBack();
  await has(events, 'a look at it');
  assert.equal(await filter.inputValue(), 'action = HEAL');
  await filter.fill('what = ever');
  await filter.press('Enter');
  const alert = page.getByRole('alert');
  await alert.getByText('INVALID_FILTER').waitFor();
  // It is said once, and no more of what is another filter by now.
  const note = page.locator('.field', { has: filter }).locator('.note.wrong');
  assert.equal(await page.getByText(await note.textContent()).count(), 1);
  await filter.fill('what = eve');
  await alert.waitFor({ state: 'detached' });
  assert.equal(await note.count(), 0);
  await filter.fill('what = ever');
  await alert.waitFor();
  assert.equal(await explained(page, 'INVALID_FILTER'), `${ADMIN}/errors/INVALID_FILTER`);
  assert.equal(await filter.inputValue(), 'what = ever');
  await page.getByRole('button', { name: 'Everything' }).click();
  await has(events, 'HEAL');
  await isAccessible(page, 'the list of who did what');
  holds('who did what is listed, and found by a filter');
}

/** Suggestions are what the service understands, and all of that: its document says so. */
async function suggests(page) {
  const document = await call(ADMIN, '/admin/v1/openapi.json');
  const { description } = document.paths['/admin/v1/orders/audit'].get.parameters.find(({ name }) => name === 'filter');
  const [grammar] = /: (`subject`[^]*?)\. /.exec(description) ?? [];
  const filter = page.getByLabel('Filter');
  const suggested = async (text) => {
    await filter.fill(text);
    return page.locator('datalist option').evaluateAll((all) => all.map(({ value }) => value));
  };
  const fields = [...new Set((await suggested('')).map((text) => text.split(' ')[0]))];
  assert.deepEqual([...fields].sort(), [...new Set([...grammar.matchAll(/`(\w+)`/g)].map(([, field]) => field))].sort());
  const action = document.components.schemas.AuditEvent.properties.action.description;
  const actions = (await suggested('action = ')).map((text) => text.split(' ').at(-1));
  assert.deepEqual([...actions].sort(), [...new Set(action.match(/[A-Z]+(_[A-Z]+)*(?=\W)/g).filter((word) => word.length > 2))].sort());
  // What is read of a value, unlike other ones, has to be one.
  const values = { time: '2026-01-31T00:00:00Z', order_id: '0198c0de-0000-7000-8000-000000000000', action: 'TOP_UP' };
  for (const field of fields) {
    for (const start of await suggested(field)) {
      const value = values[field] ?? 'x';
      const answer = await fetch(`${ADMIN}/admin/v1/orders/audit?filter=${encodeURIComponent(start + value)}`, {
        headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
      });
      assert.equal(answer.status, 200, `${start + value}: ${await answer.text()}`);
    }
  }
  await filter.fill('');
  holds(`suggestions are the grammar of the filter: ${fields.length} fields, ${actions.length} actions`);
}
