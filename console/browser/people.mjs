// The shop in a browser for whoever comes: without a mouse, of another time zone, writing or currency, on a network that says nothing. `EDGE` and
// `ADMIN` are the URLs of a running mesh without tokens, `ADMIN_TOKEN` is the operator's token.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { focused, tabTo } from './reading.mjs';
import { balance, call, has, holds, isAccessible, isPainted, isThereFarAway, launch, leave, open, order, paintsAlone, pauser, pressTwice, slow, state } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN } = process.env;
const pause = pauser(ADMIN, ADMIN_TOKEN);

const browser = await launch();
try {
  await byKeyboardAlone();
  await knowsDigits();
  await paintsWithoutData();
  await fitsAPhone();
  await alignsAmounts();
  await goesByTheServersClock();
  await findsWhatOthersOpened();
  await isOfUseFarAway();
} finally {
  await browser.close();
  leave();
}

/** From the entrance to a paid order without a mouse, on another side of the world. */
async function byKeyboardAlone() {
  const { page, close } = await open(browser, EDGE, { timezoneId: 'Asia/Kolkata', reducedMotion: 'no-preference' });
  const { keyboard } = page;
  await page.goto(`${EDGE}/shop/`);
  await keyboard.press('Tab');
  assert.equal(await focused(page), 'link Skip to the content');
  await keyboard.press('Enter');
  await keyboard.press('Tab');
  assert.equal(await focused(page), 'textbox Name', 'the content is next');
  await keyboard.type(' carol ');
  await keyboard.press('Enter');
  await tabTo(page, /^button Open an account$/);
  await keyboard.press('Enter');
  await balance(page, '0.00 RUB');
  await tabTo(page, /^textbox Top up by, in RUB$/);
  await keyboard.type('1,250.50');
  await keyboard.press('Enter');
  await balance(page, '1,250.50 RUB');
  await tabTo(page, /^textbox What$/);
  await keyboard.type('\u05e9\u05dc\u05d5\u05dd "tea" & <b>\ud83c\udf75</b>');
  await tabTo(page, /^textbox Amount$/);
  await keyboard.type('250,5');
  await tabTo(page, /^button Place the order$/);
  await keyboard.press('Enter');
  await has(state(page), 'FINISHED');
  await balance(page, '1,000.00 RUB');
  assert.equal(await focused(page), 'button Place the order', 'whoever has pressed a button is still there');
  assert.equal(await page.locator('.order .description').textContent(), '\u05e9\u05dc\u05d5\u05dd "tea" & <b>\ud83c\udf75</b>');
  assert.equal(await page.locator('.order .description bdi').evaluate((one) => getComputedStyle(one).direction), 'rtl');
  // India is five hours and a half ahead.
  const [, utc, here] = /(\d\d:\d\d:\d\d) UTC · (?:\S+ )?(\d\d:\d\d:\d\d) here · (now|\d+ s ago)/.exec(await page.locator('.timeline time').first().textContent());
  const seconds = (text) => text.split(':').reduce((sum, part) => 60 * sum + Number(part), 0);
  assert.equal((seconds(here) - seconds(utc) + 86_400) % 86_400, 19_800);
  holds('an order is placed without a mouse, and times are in UTC, local and relative');
  const resume = await pause();
  await order(page, 'motion', '1');
  await has(state(page), 'NEW');
  const moving = () => page.evaluate(() => document.getAnimations().length);
  assert.ok((await moving()) > 0);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal(await moving(), 0);
  await resume();
  await close();
  holds('who wants no motion sees none');
}

/** Digits of the page are those of the services, whatever the browser says of a currency. */
async function knowsDigits() {
  const rules = readFileSync(new URL('../../proto/rules.rs', import.meta.url), 'utf8');
  const [, table] = /pub fn currency_exponent[^]*?match code \{([^]*?)_ => None/.exec(rules);
  const digits = [...table.matchAll(/((?:\s*\|?\s*"[A-Z]{3}")+) => Some\((\d)\)/g)];
  const currencies = digits.flatMap(([, codes, places]) => [...codes.matchAll(/[A-Z]{3}/g)].map(([code]) => [code, Number(places)]));
  assert.ok(currencies.length > 60, `${currencies.length} currencies`);
  const { page, close } = await open(browser, EDGE);
  await page.goto(`${EDGE}/shop/`);
  await page.getByRole('button', { name: 'As a guest' }).click();
  const form = page.locator('form', { has: page.getByLabel('Amount') });
  await form.getByText('What this sends').click();
  await form.getByLabel('Amount').fill('7');
  for (const [code, places] of currencies) {
    await form.getByLabel('Currency').fill(code);
    await has(form.locator('pre').first(), `"amount":"${7 * 10 ** places}","currencyCode":"${code}"`);
  }
  for (const [code, text, minor] of [['JPY', '1,000', '1000'], ['KWD', '1,234.5', '1234500'], ['EUR', '1 000,50', '100050'], ['EUR', '1\u00a0000\u00a0000', '100000000'], ['USD', '9,999,999', '999999900']]) {
    await form.getByLabel('Currency').fill(code);
    await form.getByLabel('Amount').fill(text);
    await has(form.locator('pre').first(), `"amount":"${minor}","currencyCode":"${code}"`);
  }
  await form.getByLabel('Currency').fill('KWD');
  await form.getByLabel('Amount').fill('1,000');
  await form.getByText('Write 1000 or 1.000').waitFor();
  // Who has typed a space too many means another amount, or nobody knows which.
  await form.getByLabel('Currency').fill('EUR');
  for (const text of ['1 0 0', '1 00', '10 00', '1 0000', '0 100', '1 00,50', '1 000,000 000', '1,0,0', '1, 000']) {
    await form.getByLabel('Amount').fill('5');
    await has(form.locator('pre').first(), '"amount":"500"');
    await form.getByLabel('Amount').fill(text);
    await form.getByText('Fill in the form to see it.').waitFor();
    assert.notEqual(await form.locator('.note.wrong').count(), 0, text);
  }
  await close();
  holds(`digits of ${currencies.length} currencies are those of the services`);
}

/** The API says nothing at all, and the page is there. */
async function paintsWithoutData() {
  const { page, close } = await open(browser, EDGE);
  await page.route('**/gateway/**', () => {});
  await page.goto(`${EDGE}/shop/`);
  await isPainted(page);
  await page.getByLabel('Name').fill('..');
  await page.getByText('Letters, digits').waitFor();
  await page.getByLabel('Name').fill('dave');
  await page.keyboard.press('Enter');
  const button = page.getByRole('button', { name: 'Place the order' });
  await page.getByRole('heading', { level: 1, name: 'Counter', exact: true }).waitFor();
  assert.ok(await button.isVisible(), 'the counter is there before the account is known');
  for (const [tab, heading, skeleton, data] of [
    ['', 'Counter', button, /\/gateway\/payments\/dave$/],
    ['orders', 'Orders', page.getByLabel('Status'), /\/gateway\/orders\?userId=dave/],
    ['account', 'Statement', page.getByTestId('statement'), /\/gateway\/payments\/dave\/entries/],
  ]) {
    await page.goto('about:blank');
    await paintsAlone(page, `${EDGE}/shop/#/${tab}`, heading, skeleton, data);
  }
  assert.equal(await page.getByRole('navigation').getByRole('link').count(), 3);
  await close();
  holds('the shop is painted without waiting for data');
}

/** The longest name, the largest amounts, and what is written from right to left, on a phone. */
async function fitsAPhone() {
  const userId = 'x'.repeat(64);
  await call(EDGE, '/gateway/payments', { userId, currencyCode: 'JPY' });
  for (const amount of ['1000000000000', '999999999999']) {
    await call(EDGE, `/gateway/payments/${userId}/top-up`, { amount, currencyCode: 'JPY' });
  }
  const { page, close } = await open(browser, EDGE, { viewport: { width: 360, height: 740 }, timezoneId: 'America/Los_Angeles' });
  await page.goto(`${EDGE}/shop/`);
  await page.getByLabel('Name').fill(userId);
  await page.keyboard.press('Enter');
  await balance(page, '1,999,999,999,999 JPY');
  await order(page, '\u05e9\u05dc\u05d5\u05dd '.repeat(60) + 'w'.repeat(300), '999,999,999,999');
  await has(state(page), 'FINISHED');
  await isAccessible(page, 'the counter of a long name');
  await page.getByRole('link', { name: 'Orders' }).click();
  await page.getByTestId('orders').locator('li').first().waitFor();
  await isAccessible(page, 'the order of a long name');
  await page.getByRole('link', { name: 'Statement' }).click();
  const rows = page.getByTestId('statement').locator('tbody tr');
  await rows.nth(2).waitFor();
  const heights = await rows.evaluateAll((all) => all.map((one) => one.getBoundingClientRect().height));
  assert.ok(Math.max(...heights) < 100, `bookings are ${heights} high`);
  await showsAmounts(page, page.getByTestId('statement'));
  await isAccessible(page, 'the statement of a long name');
  await close();
}

/** An amount that is cut at its point is another amount: on the smallest phone each is in one line, and all of it is in its box. */
async function showsAmounts(page, table) {
  const before = page.viewportSize();
  await page.setViewportSize({ width: 320, height: 740 });
  // Half a pixel is none that anybody sees.
  const cut = await table.evaluate((one) => {
    const { left, right } = one.closest('.scroll').getBoundingClientRect();
    const isCut = (cell) => {
      const text = document.createRange();
      text.selectNodeContents(cell);
      const box = text.getBoundingClientRect();
      return box.left < left - 1 || box.right > right + 1 || box.height > 2 * parseFloat(getComputedStyle(cell).fontSize);
    };
    return [...one.querySelectorAll('td.number')].filter(isCut).map((cell) => cell.textContent);
  });
  assert.deepEqual(cut, []);
  assert.equal(await table.locator('td.number').count(), 6);
  await page.setViewportSize(before);
  holds('amounts of the statement are whole on the smallest phone');
}

/** Amounts in a list end at one line, however large, and none begins before its column. */
async function alignsAmounts() {
  for (const amount of ['1', '1000000000000', '12345']) await call(EDGE, '/gateway/orders', { userId: 'whale', amount });
  const { page, close } = await open(browser, EDGE);
  await page.goto(`${EDGE}/shop/#/orders`);
  await page.getByLabel('Name').fill('whale');
  await page.keyboard.press('Enter');
  const amounts = page.getByTestId('orders').locator('.number');
  await amounts.nth(2).waitFor();
  const edges = await amounts.evaluateAll((all) =>
    all.map((cell) => {
      const text = document.createRange();
      text.selectNodeContents(cell);
      const [inner, outer] = [text.getBoundingClientRect(), cell.getBoundingClientRect()];
      return { text: cell.textContent, right: Math.round(inner.right), isWhole: inner.left >= outer.left - 1, digits: getComputedStyle(cell).fontVariantNumeric };
    }),
  );
  assert.deepEqual(edges.map(({ text }) => text.replace(/\s/g, ' ')).sort(), ['0.01 RUB', '10,000,000,000.00 RUB', '123.45 RUB']);
  assert.equal(new Set(edges.map(({ right }) => right)).size, 1, JSON.stringify(edges));
  for (const edge of edges) assert.ok(edge.isWhole && edge.digits === 'tabular-nums', JSON.stringify(edge));
  await close();
  holds('amounts in a list end at one line');
}

/** Whoever's clock is an hour off sees how long ago something was, and not how long it takes until then. */
async function goesByTheServersClock() {
  for (const off of [-3_600_000, 3_600_000]) {
    const userId = `clock${off}`;
    const { page, close } = await open(browser, EDGE);
    await page.addInitScript((off) => {
      const { now } = Date;
      Date.now = () => now() + off;
    }, off);
    await call(EDGE, '/gateway/orders', { userId, amount: '1' });
    const known = page.waitForResponse(/\/gateway\/orders/);
    await page.goto(`${EDGE}/shop/#/orders`);
    await known;
    await page.getByLabel('Name').fill(userId);
    await page.keyboard.press('Enter');
    await has(page.getByTestId('orders').locator('time'), / · (now|\d+ s ago)$/);
    const entry = page.locator('.log li', { hasText: 'List orders' }).first();
    await entry.locator('summary').click();
    await has(entry.locator('time'), / · (now|\d+ s ago)$/);
    await close();
  }
  holds("times are relative to the server's clock");
}

/** Whoever has two windows opens the account in the other one first. */
async function findsWhatOthersOpened() {
  const { page, close } = await open(browser, EDGE);
  await page.goto(`${EDGE}/shop/`);
  await page.getByLabel('Name').fill('frank');
  await page.keyboard.press('Enter');
  const button = page.getByRole('button', { name: 'Open an account' });
  await button.waitFor();
  await call(EDGE, '/gateway/payments', { userId: 'frank' });
  await button.click();
  await balance(page, '0.00 RUB');
  await close();
  holds('an account that was opened elsewhere is found when it is opened again');
}

/** On a slow network the page is there within seconds, and everything can be done. */
async function isOfUseFarAway() {
  const { page, close } = await open(browser, EDGE);
  await slow(page);
  await page.goto(`${EDGE}/shop/`);
  await isPainted(page);
  await isThereFarAway(page, 'the shop');
  await page.getByLabel('Name').fill('erin');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Open an account' }).click();
  await balance(page, '0.00 RUB');
  await page.getByLabel('Top up by').fill('10');
  await pressTwice(page.getByRole('button', { name: 'Top up' }), /top-up$/);
  await balance(page, '10.00 RUB');
  await order(page, 'tea from afar', '4');
  await has(state(page), 'FINISHED');
  await balance(page, '6.00 RUB');
  await close();
  holds('on a slow network an order is paid');
}
