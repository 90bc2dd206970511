// Both pages without a mouse and without eyes, in front of a running mesh: keys alone, the accessibility tree, and what is said by itself. `EDGE` and
// `ADMIN` are its URLs, `ADMIN_TOKEN` the operator's token.
import assert from 'node:assert/strict';
import { focused, isReadable, isSaid, note, saidSince, tabTo, tree } from './reading.mjs';
import { ask, call, each, ended, holds, launch, leave, open, PATIENCE } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN } = process.env;
const PARKED = 12;

const browser = await launch();
try {
  await shop();
  await operations();
} finally {
  await browser.close();
  leave();
}

/** Writes into the field that has the focus, in place of what is there. */
async function write(page, text) {
  await page.keyboard.press('Control+A');
  await page.keyboard.press('Delete');
  await page.keyboard.type(text);
}

async function press(page, what) {
  await tabTo(page, what);
  await page.keyboard.press('Enter');
}

async function hasFocus(page, what) {
  const until = performance.now() + PATIENCE;
  for (let at = ''; !what.test(at); at = await focused(page)) {
    assert.ok(performance.now() < until, `the focus is at ${at}, not at ${what}`);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

async function shop() {
  const { page, close } = await open(browser, EDGE);
  await page.goto(`${EDGE}/shop/`);
  await page.getByRole('button', { name: 'Enter' }).waitFor();
  await note(page);
  await tabTo(page, /^textbox Name$/);
  await page.keyboard.type('rita');
  await page.keyboard.press('Enter');
  await hasFocus(page, /^heading Counter$/);
  await isSaid(page, /^No account\.$/);
  await press(page, /^button Open an account$/);
  await isSaid(page, /^Balance: 0\.00.RUB$/);
  await hasFocus(page, /^region Account$/);
  holds('where the focus was is gone, and it is at what that was in');
  await tabTo(page, /^textbox Top up by, in RUB$/);
  await page.keyboard.type('1000');
  await page.keyboard.press('Enter');
  await isSaid(page, /^Balance: 1,000\.00.RUB$/);
  for (const [amount, says] of [['300', /^Paid: 300\.00.RUB was debited, once\.$/], ['5000', /^There was not enough money for 5,000\.00.RUB/]]) {
    await tabTo(page, /^textbox What$/);
    await write(page, 'green tea');
    await tabTo(page, /^textbox Amount$/);
    await write(page, amount);
    await press(page, /^button Place the order$/);
    await isSaid(page, says);
    assert.equal(await focused(page), 'button Place the order');
  }
  await tabTo(page, /^textbox Amount$/);
  await write(page, 'tea');
  await isReadable(page, 'the counter');
  const amount = (await tree(page)).find(({ role, name }) => role === 'textbox' && name === 'Amount');
  assert.equal(amount.invalid, 'true', 'what is wrong with a field is known');
  holds('an account, a paid order and one without enough money are said, and done without a mouse');
  await goesElsewhere(page);
  await isCalm(page);
  await close();
}

/** A tab that was chosen has the focus, and what is read from there on is its own. */
async function goesElsewhere(page) {
  for (const [link, title] of [['Statement', 'Statement · ordermesh shop'], ['Orders', 'Orders · ordermesh shop']]) {
    await press(page, new RegExp(`^link ${link}$`));
    await hasFocus(page, new RegExp(`^heading ${link}$`));
    assert.equal(await page.title(), title);
    await page.locator('.more .faint').getByText(/^All \d/).waitFor();
    await isReadable(page, link);
  }
  await isSaid(page, /^2 are shown, and no more\.$/);
  holds('a tab that is chosen has the focus, and its list is said');
}

/** 200 orders come and end: how many have is said, and not each of them. */
async function isCalm(page) {
  await page.locator('.card .link.live').waitFor();
  await saidSince(page);
  const begun = performance.now();
  await each(200, 4, () => call(EDGE, '/gateway/orders', { userId: 'rita', amount: 1 }));
  await isSaid(page, /^200 finished and 0 cancelled since the list was opened\. 100 new ones are not listed\.$/);
  const said = await saidSince(page);
  const seconds = (performance.now() - begun) / 1_000;
  assert.ok(said.length <= 2 + seconds / 5, `${said.length} sentences in ${seconds} s: ${said.join(' | ')}`);
  await page.getByRole('button', { name: 'Show 100 new orders' }).focus();
  await page.keyboard.press('Enter');
  await hasFocus(page, /^region Orders$/);
  holds(`200 changes in ${seconds.toFixed(1)} s are ${said.length} sentences`);
}

/** A redrive by keys alone, from the sign-in to its end. */
async function operations() {
  await call(EDGE, '/gateway/payments', { userId: 'poison' });
  await call(EDGE, '/gateway/payments/poison/top-up', { amount: '100000' });
  await ask('poison');
  const ids = [];
  await each(PARKED, 4, async () => ids.push((await call(EDGE, '/gateway/orders', { userId: 'poison', amount: 1 })).id));
  const { page, close } = await open(browser, ADMIN);
  await page.goto(`${ADMIN}/console/`);
  await hasFocus(page, /^textbox Token$/);
  await note(page);
  await page.keyboard.type(ADMIN_TOKEN);
  await page.keyboard.press('Enter');
  await hasFocus(page, /^heading Overview$/);
  await isSaid(page, new RegExp(`^payments: parked ${PARKED}$`));
  await isReadable(page, 'the overview');
  holds('who has signed in is at the beginning, and what wants a person is said');
  await press(page, /^link Parked$/);
  await hasFocus(page, /^heading Parked$/);
  // The group, and not the twelfth message.
  await page.getByTestId('groups').getByRole('button').first().waitFor();
  await press(page, /^button 12 ?the database.*the poison works/);
  await hasFocus(page, /^heading Messages of this cause: .*the poison works/);
  await press(page, /^button 1 ?OrderPlaced/);
  await press(page, /^button Show the payload$/);
  await hasFocus(page, /^region Payload$/);
  await isReadable(page, 'a parked message');
  await press(page, /^button Hide the payload$/);
  await hasFocus(page, /^listitem/);
  await press(page, /^button Preview a redrive$/);
  await isSaid(page, /^The preview: 0 done, 1 failed, 0 behind others\.$/);
  await ask('cure');
  holds('a message is looked at and tried without a mouse');
  await redrives(page);
  for (const id of ids) assert.equal((await ended(EDGE, id)).status, 'FINISHED');
  await close();
}

async function redrives(page) {
  // From the top again, as who has come to the end does.
  await press(page, /^link Parked$/);
  await page.getByRole('heading', { name: 'All messages' }).waitFor();
  await press(page, /^button Redrive…$/);
  await tabTo(page, /^textbox Messages a second$/);
  await write(page, '1');
  await tabTo(page, /^textbox Your name$/);
  await write(page, 'olga');
  await tabTo(page, /^textbox Reason$/);
  await page.keyboard.type('it is cured');
  await press(page, /^button Start the redrive$/);
  await hasFocus(page, /^region All messages$/);
  await isSaid(page, /^Redrive \d+ is running: \d+ are done, 0 failed, \d+ to go\.$/);
  await tabTo(page, /^button Stop$/, 'Shift+Tab');
  await page.keyboard.press('Enter');
  await isSaid(page, /^Redrive \d+ is stopped: \d+ are done/);
  const [bar] = (await tree(page)).filter(({ role }) => role === 'progressbar');
  assert.match(bar.name, /^Redrive \d+$/);
  await press(page, /^button Redrive…$/);
  await tabTo(page, /^textbox Messages a second$/);
  await write(page, '');
  await tabTo(page, /^textbox Reason$/);
  await page.keyboard.type('the rest');
  await saidSince(page);
  await page.keyboard.press('Enter');
  await isSaid(page, /^Redrive \d+ is finished: \d+ are done, 0 failed, 0 to go\.$/);
  await isSaid(page, /^Parked: 0$/);
  await page.getByText('Nothing is parked.').waitFor();
  await isReadable(page, 'the parked messages');
  assert.notEqual(await focused(page), 'nothing');
  holds('parked messages are redriven, stopped and finished without a mouse, and how it goes is said');
}
