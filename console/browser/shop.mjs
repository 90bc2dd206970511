// The shop in a browser, in front of a running mesh without tokens. `EDGE` and `ADMIN` are its URLs, `ADMIN_TOKEN` the operator's token.
import assert from 'node:assert/strict';
import { costs } from './tasks.mjs';
import { ask, balance, explained, has, holds, isAccessible, launch, leave, open, order, pauser, picture, pressTwice, saysAtField, state, violatesNothing } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN } = process.env;
const pause = pauser(ADMIN, ADMIN_TOKEN);

const browser = await launch();
try {
  await isUsableAtOnce();
  const { page, close } = await open(browser, EDGE);
  await theScenario(page);
  await whatIsRefused(page);
  await cancels(page);
  await goesOn(page);
  await repeatsWhatWasLost(page);
  await repeatsWhatIsNotAnswered(page);
  await repeatsNothingInVain(page);
  await doesOnceWhatWasStopped(page);
  await keepsForWhoMadeIt(page);
  await close();
} finally {
  await browser.close();
  leave();
}

/** In processor time of the page: whoever else uses the processors is not the page's. */
async function isUsableAtOnce() {
  const [took, usable] = [[], []];
  for (let round = 0; round < 3; round += 1) {
    const { page, close } = await open(browser, EDGE);
    const { all } = await costs(page, async () => {
      await page.goto(`${EDGE}/shop`);
      await page.getByRole('button', { name: 'Enter' }).waitFor();
    });
    took.push(Math.round(all));
    usable.push(await page.evaluate(() => Math.round(performance.getEntriesByName('usable')[0].startTime)));
    if (round === 0) {
      assert.equal(new URL(page.url()).pathname, '/shop/');
      await isAccessible(page, 'the entrance');
      await page.goto(`${EDGE}/`);
      await isAccessible(page, 'the page at /');
      await page.getByRole('link', { name: 'errors/' }).click();
      await page.getByRole('link', { name: 'ACCOUNT_NOT_FOUND' }).waitFor();
      await page.goBack();
      await page.getByRole('link', { name: 'shop/' }).click();
      await page.getByRole('button', { name: 'Enter' }).waitFor();
    }
    await close();
  }
  // The first one is of an edge that has served nothing before, and of a browser that has just been started.
  assert.ok(took[0] < 1_000, `on a cold start usable after ${took[0]} ms of the processor`);
  holds(`the shop is usable after ${took} ms of the processor, by the clock on the wall after ${usable} ms`);
}

async function theScenario(page) {
  await page.goto(`${EDGE}/shop/`);
  await page.getByLabel('Name').fill('alice');
  await page.keyboard.press('Enter');
  await page.getByText('There is no account yet').waitFor();
  await hasNothingYet(page);
  await order(page, 'tea without an account', '1');
  await has(state(page), 'CANCELLED · no account');
  holds('an order without an account is cancelled, and says why');
  await page.getByRole('button', { name: 'Open an account' }).click();
  await balance(page, '0.00 RUB');
  await page.getByLabel('Top up by').fill('1000');
  await page.getByLabel('Top up by').press('Enter');
  await balance(page, '1,000.00 RUB');
  await order(page, 'green tea', '300');
  await has(state(page), 'FINISHED');
  await balance(page, '700.00 RUB');
  const versions = await page.locator('.timeline strong').allTextContents();
  assert.deepEqual(versions, ['Placed', 'Finished']);
  holds('an order is placed, watched and paid');
  await picture(page, 'counter');
  await order(page, 'a teapot', '5000');
  await has(state(page), 'CANCELLED · not enough money');
  await page.getByText('The balance was 700.00').waitFor();
  holds('an order above the balance is cancelled, and says what the balance was');
  await isAccessible(page, 'the counter');
}

/** What whoever is new finds on each tab, and where there is none. */
async function hasNothingYet(page) {
  await violatesNothing(page, 'the counter without an account');
  await page.getByRole('link', { name: 'Orders' }).click();
  await page.getByText('No orders yet.').waitFor();
  await violatesNothing(page, 'an empty list of orders');
  await page.getByRole('link', { name: 'Statement' }).click();
  await page.getByRole('main').getByText('There is no account yet').waitFor();
  await violatesNothing(page, 'the statement without an account');
  await page.goto(`${EDGE}/shop/#/nothing`);
  await page.getByText('There is no such page.').waitFor();
  await violatesNothing(page, 'no such page of the shop');
}

async function whatIsRefused(page) {
  const amount = page.getByLabel('Amount');
  for (const [text, says] of [['1.234', 'RUB has 2 digits'], ['tea', 'Write an amount'], ['0', 'above zero'], ['10000000000.01', 'At most']]) {
    await amount.fill(text);
    await page.getByText(says).waitFor();
  }
  // 4.35 times 100 is 434.99999999999994 in floating point: what is typed is what is sent.
  await amount.fill('4.35');
  await page.locator('form', { has: amount }).getByText('What this sends').click();
  const sent = page.locator('form', { has: amount }).locator('pre');
  assert.match(await sent.first().textContent(), /curl -s http.*\/gateway\/orders[^]*Idempotency-Key: [0-9a-f]{32}[^]*"amount":"435","currencyCode":"RUB"/);
  assert.match(await sent.last().textContent(), /grpcurl[^]*"requestId":"[0-9a-f]{32}"[^]*ordermesh\.orders\.v1\.OrdersService\/CreateOrder/);
  await amount.fill('1');
  await page.getByLabel('Currency').fill('eu');
  await page.getByRole('button', { name: 'Place the order' }).click();
  await page.getByRole('alert').getByText('INVALID_FIELD').waitFor();
  assert.equal(await explained(page, 'INVALID_FIELD', 'Shift+Tab'), `${EDGE}/errors/INVALID_FIELD`);
  assert.deepEqual([await amount.inputValue(), await page.getByLabel('Currency').inputValue()], ['1', 'eu']);
  await isAccessible(page, 'an order that was refused');
  const refused = page.locator('.log li', { hasText: 'Place an order' }).first();
  await refused.locator('summary').click();
  assert.equal(await refused.getByRole('link', { name: /^INVALID_FIELD/ }).evaluate((link) => link.href), `${EDGE}/errors/INVALID_FIELD`);
  await saysAtField(page, 'Currency', /^Must be the ISO 4217 code of a supported currency\.$/, () => page.getByLabel('Currency').fill('RUB'));
  // A letter may be two of JavaScript's: what is too long is refused, and nothing of it is cut.
  const what = page.getByLabel('What', { exact: true });
  const long = '\u{1f375}'.repeat(1_025);
  await what.fill(long);
  await page.getByRole('button', { name: 'Place the order' }).click();
  await saysAtField(page, 'What', /1,?024/, async () => {
    assert.equal(await what.inputValue(), long);
    await what.fill('');
  });
  holds('what cannot be sent is said, with a way to what it means, and what is sent is shown');
}

async function cancels(page) {
  const resume = await pause();
  await order(page, 'changed my mind', '10');
  await has(state(page), 'NEW');
  await page.getByRole('button', { name: 'Cancel this order' }).waitFor();
  await violatesNothing(page, 'an order that can be cancelled');
  await pressTwice(page.getByRole('button', { name: 'Cancel this order' }), /:cancel$/);
  await has(state(page), 'CANCELLED · you cancelled it');
  await resume();
  assert.deepEqual(await page.locator('.timeline strong').allTextContents(), ['Placed', 'Cancellation asked for', 'Cancelled']);
  holds('an order is cancelled');
}

async function goesOn(page) {
  const resume = await pause();
  // A tab beside it has the list of all orders.
  const beside = await page.context().newPage();
  await beside.goto(`${EDGE}/shop/`);
  await beside.evaluate(() => sessionStorage.setItem('ordermesh.user', 'alice'));
  await beside.goto(`${EDGE}/shop/#/orders`);
  await beside.reload();
  await beside.locator('.card .link.live').waitFor();
  await order(page, 'patience', '20');
  await has(state(page), 'NEW');
  await page.locator('.order .link.live').waitFor();
  await has(beside.getByTestId('orders').locator('li', { hasText: 'patience' }).locator('.chip'), 'NEW');
  await ask('edge down');
  await page.locator('.order .link.lost').waitFor();
  await resume();
  await ask('edge up');
  await has(state(page), 'FINISHED');
  assert.deepEqual(await page.locator('.timeline strong').allTextContents(), ['Placed', 'Finished']);
  await balance(page, '680.00 RUB');
  holds('a watch goes on after the edge was killed');
  await has(beside.getByTestId('orders').locator('li', { hasText: 'patience' }).locator('.chip'), 'FINISHED');
  await beside.close();
  holds('a list shows what has changed while nobody told it');
}

/** The top-up reaches the edge, and its answer does not reach the page. */
async function repeatsWhatWasLost(page) {
  let isSeen = false;
  await page.route('**/top-up', async (route) => {
    if (isSeen) return route.continue();
    await route.fetch();
    return route.abort('connectionreset');
  });
  await page.getByLabel('Top up by').fill('20.00');
  await page.getByRole('button', { name: 'Top up' }).click();
  const notice = page.locator('.repeats .notice');
  await notice.getByText('no answer came').waitFor();
  await violatesNothing(page, 'a write that is repeated');
  isSeen = true;
  await page.locator('.log').getByText('200, the first answer again').waitFor();
  await balance(page, '700.00 RUB');
  await notice.waitFor({ state: 'detached' });
  await page.unroute('**/top-up');
  // A page that is left before the answer goes on with it.
  let left = false;
  await page.route('**/top-up', async (route) => {
    if (left) return route.continue();
    await route.fetch();
    return route.abort('connectionreset');
  });
  await page.getByLabel('Top up by').fill('0.50');
  await page.getByRole('button', { name: 'Top up' }).click();
  await notice.waitFor();
  left = true;
  await page.reload();
  await page.locator('.log').getByText('200, the first answer again').waitFor();
  await balance(page, '700.50 RUB');
  await page.unroute('**/top-up');
  holds('a lost answer is repeated by the same key, for all to see, also after the page was loaded anew');
}

/** The answer never comes: whoever is between says nothing. */
async function repeatsWhatIsNotAnswered(page) {
  await page.evaluate(() => {
    const { timeout } = AbortSignal;
    AbortSignal.timeout = () => timeout.call(AbortSignal, 1_000);
  });
  let isSilent = true;
  await page.route('**/top-up', async (route) => {
    if (!isSilent) return route.continue();
    await route.fetch();
  });
  await page.getByLabel('Top up by').fill('0.50');
  await page.getByRole('button', { name: 'Top up' }).click();
  await page.locator('.repeats .notice').getByText('no answer came').waitFor();
  isSilent = false;
  await balance(page, '701.00 RUB');
  await page.unroute('**/top-up');
  holds('what is not answered in time is repeated too');
}

/** What the catalogue of errors does not let be repeated is said, and sent no more. */
async function repeatsNothingInVain(page) {
  let sent = 0;
  await page.route('**/top-up', (route) => {
    sent += 1;
    const reason = 'UPSTREAM_RESPONSE_TOO_LARGE';
    const problem = { type: `/errors/${reason}`, title: 'Bad Gateway', status: 502, detail: 'the service has answered more than is taken', reason };
    return route.fulfill({ status: 502, contentType: 'application/problem+json', body: JSON.stringify(problem) });
  });
  await page.getByLabel('Top up by').fill('0.75');
  await page.getByRole('button', { name: 'Top up' }).click();
  await page.getByRole('alert').getByText('It took effect: look at what has become of it').waitFor();
  assert.equal(sent, 1);
  assert.equal(await page.locator('.repeats .notice').count(), 0);
  await page.unroute('**/top-up');
  holds('an error that a repetition does not mend is not repeated');
}

/** Whoever stops a write and follows the advice sends it by its key. */
async function doesOnceWhatWasStopped(page) {
  const keys = [];
  let isLost = true;
  await page.route('**/top-up', async (route) => {
    keys.push(route.request().headers()['idempotency-key']);
    if (!isLost) return route.continue();
    await route.fetch();
    return route.abort('connectionreset');
  });
  await page.getByLabel('Top up by').fill('0.25');
  await page.getByRole('button', { name: 'Top up' }).click();
  await page.locator('.repeats .notice').getByRole('button', { name: 'Stop' }).click();
  const advice = page.getByRole('alert').getByText('Look in the statement');
  await advice.waitFor();
  await isAccessible(page, 'a top-up that was stopped');
  await page.getByLabel('Top up by').fill('0.26');
  await advice.waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'Statement' }).click();
  await has(page.getByTestId('statement').locator('tbody tr').first(), '701.25');
  await page.getByRole('link', { name: 'Counter' }).click();
  await page.getByLabel('Top up by').fill('0.25');
  await advice.waitFor();
  isLost = false;
  await page.getByRole('button', { name: 'Top up' }).click();
  await page.locator('.log').getByText('200, the first answer again').first().waitFor();
  await balance(page, '701.25 RUB');
  assert.equal(new Set(keys).size, 1, 'one key');
  await page.unroute('**/top-up');
  await page.getByLabel('Top up by').fill('0.25');
  await page.getByRole('button', { name: 'Top up' }).click();
  await balance(page, '701.50 RUB');
  holds('what was stopped and is sent again unchanged is done once, and the same afterwards once more');
}

/** A write without an answer is sent for who made it, and for nobody else. */
async function keepsForWhoMadeIt(page) {
  await order(page, 'of alice alone', '0.50');
  await balance(page, '701.00 RUB');
  assert.match(new URL(page.url()).hash, /order=/);
  await page.route('**/top-up', (route) => route.abort('connectionreset'));
  await page.getByLabel('Top up by').fill('0.50');
  await page.getByRole('button', { name: 'Top up' }).click();
  const notice = page.locator('.repeats .notice');
  await notice.waitFor();
  await page.getByRole('button', { name: 'Change' }).click();
  await page.getByRole('main').getByText('it is kept for alice in this tab: Top up.').waitFor();
  await isAccessible(page, 'the entrance with a write that is kept');
  await page.unroute('**/top-up');
  const sent = [];
  const note = (request) => request.method() === 'POST' && sent.push(request.url());
  page.on('request', note);
  await page.getByLabel('Name').fill('mallory');
  await page.keyboard.press('Enter');
  await page.getByText('There is no account yet').waitFor();
  assert.equal(new URL(page.url()).hash, '#/', 'the order of the user before is not shown');
  await page.reload();
  await page.getByText('There is no account yet').waitFor();
  assert.equal(await notice.count(), 0);
  await page.getByRole('button', { name: 'Change' }).click();
  assert.deepEqual(sent, [], 'nothing is sent for somebody else');
  page.off('request', note);
  await page.getByLabel('Name').fill('alice');
  await page.keyboard.press('Enter');
  await balance(page, '701.50 RUB');
  holds('a write without an answer waits for who made it');
}
