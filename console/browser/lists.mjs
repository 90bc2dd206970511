// The lists of the shop in a browser, in front of a running mesh without tokens: many orders, and how they change. `EDGE` is its URL.
import assert from 'node:assert/strict';
import { isClear } from './charts.mjs';
import { costs } from './tasks.mjs';
import { call, each, has, hide, holds, isAccessible, launch, leave, open, picture } from './world.mjs';

const { EDGE } = process.env;

const browser = await launch();
try {
  const { page, close } = await open(browser, EDGE);
  await lists(page);
  await catchesUp(page);
  await close();
} finally {
  await browser.close();
  leave();
}

async function lists(page) {
  await call(EDGE, '/gateway/payments', { userId: 'busy' });
  await call(EDGE, '/gateway/payments/busy/top-up', { amount: '100000' });
  await page.goto(`${EDGE}/shop/#/orders`);
  await page.evaluate(() => sessionStorage.setItem('ordermesh.user', 'busy'));
  await page.reload();
  await page.locator('.card .link.live').waitFor();
  const rows = page.getByTestId('orders').locator('li');
  const { task } = await costs(page, async () => {
    await each(500, 8, (at) => call(EDGE, '/gateway/orders', { userId: 'busy', amount: 1 + (at % 7), description: `item ${at}` }));
    await rows.nth(99).waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.rows .chip.busy').length === 0);
    await page.getByRole('button', { name: 'Show 400 new orders' }).waitFor();
  });
  assert.ok(task < 100, `a task took ${task} ms`);
  holds(`1,000 changes are shown, the longest task took ${Math.round(task)} ms of the processor`);
  await page.getByRole('button', { name: 'Show 400 new orders' }).click();
  await page.getByText('100 so far').waitFor();
  for (let shown = 100; shown < 500; shown += 50) {
    await rows.last().scrollIntoViewIfNeeded();
    await page.waitForFunction((least) => document.querySelectorAll('.rows li').length >= least, shown + 50);
  }
  await page.getByText('All 500').waitFor();
  const links = await rows.locator('a').evaluateAll((all) => all.map((one) => one.href));
  assert.equal(new Set(links).size, 500);
  holds('500 orders are paged through');
  await page.getByLabel('Status').selectOption('FINISHED');
  await page.getByLabel('From').pressSequentially('0.07');
  await page.waitForFunction(() => {
    const amounts = [...document.querySelectorAll('.rows .number')];
    return amounts.length > 0 && amounts.every((one) => one.textContent.startsWith('0.07'));
  });
  await rows.nth(49).scrollIntoViewIfNeeded();
  await page.getByText('All 71').waitFor();
  await page.waitForURL(/#\/orders\?status=FINISHED&from=0.07$/);
  await page.getByLabel('Status').selectOption('CANCELLED');
  await page.getByText('No order meets this filter.').waitFor();
  holds('orders are filtered, and the URL has the filter');
  await goesBack(page);
  await refusesWhatMeansNothing(page);
  await page.goto(`${EDGE}/shop/#/orders`);
  await rows.first().waitFor();
  await isAccessible(page, 'the list of orders');
  await picture(page, 'orders');
  await page.getByRole('link', { name: 'Statement' }).click();
  await page.getByTestId('statement').locator('tbody tr').nth(49).waitFor();
  const first = await page.getByTestId('statement').locator('tbody tr').first().locator('td').allTextContents();
  assert.equal(first[0], '501');
  await page.getByRole('img', { name: /^Balance/ }).waitFor();
  await runs(page);
  await isClear(page, 'the statement');
  await isAccessible(page, 'the statement');
  await picture(page, 'statement');
  holds('the statement has the balance after each booking, and its chart can be read');
}

/** Each choice is a place to go back to, and the letters of an amount are one together. */
async function goesBack(page) {
  for (const [at, status, from] of [[/\?status=FINISHED&from=0\.07$/, 'FINISHED', '0.07'], [/\?status=FINISHED$/, 'FINISHED', ''], [/#\/orders$/, '', '']]) {
    await page.goBack();
    await page.waitForURL(at);
    const isShown = ([choice, text]) => {
      const [select, input] = ['select', 'input'].map((what) => document.querySelector(`.filters ${what}`));
      return select.value === choice && input.value === text;
    };
    await page.waitForFunction(isShown, [status, from]);
  }
  await page.getByTestId('orders').locator('li').nth(49).waitFor();
  holds('the button that goes back undoes filters');
}

/** A link may say anything: it is said at its field, once, and nothing is listed that nobody has asked for. */
async function refusesWhatMeansNothing(page) {
  const asked = [];
  const note = (request) => /\/gateway\/orders\?userId=busy/.test(request.url()) && asked.push(request.url());
  page.on('request', note);
  const wrong = [['status=BOGUS', 'Status', 'BOGUS is none of these.'], ['sort=id', 'Sort', 'id is none of these.'], ['from=1e9', 'From, RUB', 'Write an amount of RUB']];
  for (const [query, label, text] of wrong) {
    // A page of its own: what the list before had asked for is none of it.
    await page.goto('about:blank');
    asked.length = 0;
    await page.goto(`${EDGE}/shop/#/orders?${query}`);
    await has(page.locator('.field', { has: page.getByLabel(label, { exact: true }) }).locator('.note.wrong'), text);
    await page.getByText('Nothing is listed by what is wrong above.').waitFor();
    assert.equal(await page.getByTestId('orders').locator('li').count(), 0);
    assert.deepEqual([await page.getByText(text).count(), await page.getByRole('alert').count(), asked], [1, 0, []]);
  }
  page.off('request', note);
  await isAccessible(page, 'orders by an amount that is none');
  holds('a filter that means nothing lists nothing, and is said at its field');
}

/** Each balance is the one below it and its own amount, in hundredths. */
async function runs(page) {
  const rows = await page.getByTestId('statement').locator('tbody tr').evaluateAll((all) =>
    all.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent)),
  );
  const hundredths = (text) => Number(text.replace('\u2212', '-').replace(/[^\d-]/g, ''));
  assert.ok(rows.length >= 50, `${rows.length} bookings`);
  rows.slice(0, -1).forEach(([number, , amount, after], at) => {
    const [before, , , balance] = rows[at + 1];
    assert.equal(Number(number), Number(before) + 1);
    assert.equal(hundredths(after), hundredths(balance) + hundredths(amount), `after booking ${number}`);
  });
}

/** A statement that goes on stays where it is read, and what happened behind a hidden tab is there when it is seen again. */
async function catchesUp(page) {
  const rows = page.getByTestId('statement').locator('tbody tr');
  await page.goto(`${EDGE}/shop/#/account`);
  await rows.nth(49).waitFor();
  await rows.last().scrollIntoViewIfNeeded();
  await rows.nth(99).waitFor();
  const [loads, begun] = [[], performance.now()];
  page.on('request', (request) => request.url().includes('/entries') && loads.push(request.url()));
  await each(60, 4, () => call(EDGE, '/gateway/orders', { userId: 'busy', amount: 1 }));
  await rows.first().getByText('561', { exact: true }).waitFor();
  assert.ok((await rows.count()) >= 100, 'what was loaded stays');
  const seconds = (performance.now() - begun) / 1_000;
  assert.ok(loads.length < 15 + seconds, `60 bookings are not read ${loads.length} times in ${seconds} s`);
  holds('a statement goes on as it is read');
  await page.goto(`${EDGE}/shop/#/orders`);
  await page.locator('.card .link.live').waitFor();
  await rows.first().waitFor({ state: 'detached' });
  await page.getByTestId('orders').locator('li').first().waitFor();
  await hide(page, true);
  const asked = [];
  const note = (request) => asked.push(request.url());
  page.on('request', note);
  await call(EDGE, '/gateway/orders', { userId: 'busy', amount: 1, description: 'behind the tab' });
  await page.waitForTimeout(1_500);
  assert.deepEqual(asked, [], 'nothing is asked while the tab is hidden');
  page.off('request', note);
  assert.equal(await page.getByText('behind the tab').count(), 0);
  await hide(page, false);
  await page.getByTestId('orders').getByText('behind the tab').waitFor();
  holds('a hidden tab asks nothing, and catches up when it is seen again');
}
