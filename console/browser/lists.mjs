// The lists of the shop in a browser, in front of a running mesh without tokens: many orders, and how they change. `EDGE` is its URL.
import assert from 'node:assert/strict';
import { call, each, hide, holds, isAccessible, launch, leave, longestTask, open, picture } from './world.mjs';

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
  const longest = await longestTask(page, async () => {
    await each(500, 8, (at) => call(EDGE, '/gateway/orders', { userId: 'busy', amount: 1 + (at % 7), description: `item ${at}` }));
    await rows.nth(99).waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.rows .chip.busy').length === 0);
    await page.getByRole('button', { name: 'Show 400 new orders' }).waitFor();
  });
  assert.ok(longest < 100, `a task took ${longest} ms`);
  holds(`1,000 changes are shown, the longest task took ${Math.round(longest)} ms`);
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
  await page.getByLabel('From').fill('0.07');
  await page.waitForFunction(() => [...document.querySelectorAll('.rows .number')].every((one) => one.textContent.startsWith('0.07')));
  await rows.nth(49).scrollIntoViewIfNeeded();
  await page.getByText('All 71').waitFor();
  await page.waitForURL(/#\/orders\?status=FINISHED&from=0.07$/);
  await page.getByLabel('Status').selectOption('CANCELLED');
  await page.getByText('No order meets this filter.').waitFor();
  holds('orders are filtered, and the URL has the filter');
  await page.goto(`${EDGE}/shop/#/orders`);
  await rows.first().waitFor();
  await isAccessible(page, 'the list of orders');
  await picture(page, 'orders');
  await page.getByRole('link', { name: 'Statement' }).click();
  await page.getByTestId('statement').locator('tbody tr').nth(49).waitFor();
  const first = await page.getByTestId('statement').locator('tbody tr').first().locator('td').allTextContents();
  assert.equal(first[0], '501');
  await page.getByRole('img', { name: /^Balance/ }).waitFor();
  await isAccessible(page, 'the statement');
  await picture(page, 'statement');
  holds('the statement has the balance after each booking');
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
