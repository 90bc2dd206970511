// Both pages in a browser, in front of a running mesh that wants tokens, behind a proxy that adds prefixes. `EDGE` and `ADMIN` are the
// URLs of the mesh.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { ask, call, has, holds, isAccessible, launch, leave, open, picture } from './world.mjs';

const { EDGE, ADMIN } = process.env;

/** `/mesh/x` here is `/x` at the edge, and `/ops/x` is `/x` at the admin listener. */
const proxy = createServer((from, to) => {
  const [, prefix, path] = /^\/(mesh|ops)(.*)$/.exec(from.url) ?? [];
  const at = new URL(path ?? '/', prefix === 'ops' ? ADMIN : EDGE);
  const on = request(at, { method: from.method, headers: { ...from.headers, host: at.host } }, (answer) => {
    to.writeHead(answer.statusCode, answer.headers);
    answer.pipe(to);
  });
  on.on('error', () => to.destroy());
  to.on('close', () => on.destroy());
  from.pipe(on);
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${proxy.address().port}`;

const token = await ask('token alice 1h');
const authorization = { authorization: `Bearer ${token}` };
await call(EDGE, '/gateway/payments', {}, authorization);

const browser = await launch();
try {
  const { page, close } = await open(browser, origin);
  await page.goto(`${origin}/mesh/shop`);
  const dialog = page.getByRole('dialog');
  await dialog.getByText('This mesh wants a token with each call.').waitFor();
  await isAccessible(page, 'the sign-in');
  await picture(page, 'sign-in');
  await sign(page, 'a.wrong.token');
  await dialog.getByText('Your token was refused').waitFor();
  holds('a token is asked for, and a wrong one is refused');

  await sign(page, await ask('token alice 5s'));
  await page.getByText('alice', { exact: true }).first().waitFor();
  await has(page.getByTestId('balance'), '0.00');
  // A stream ends with its token, and so the page knows before anybody clicks.
  await dialog.getByText('the token has expired').waitFor();
  await sign(page, await ask('token alice 5s'));
  await dialog.waitFor({ state: 'hidden' });
  await page.getByLabel('Top up by').fill('12.50');
  await dialog.getByText('the token has expired').waitFor();
  await page.evaluate(() => [...document.forms].find((form) => form.textContent.includes('Top up by')).requestSubmit());
  await page.getByText('It is sent again once you have signed in.').waitFor();
  await sign(page, token);
  await has(page.getByTestId('balance'), '12.50');
  await dialog.waitFor({ state: 'hidden' });
  holds('an expired token is asked for anew, and what was clicked is done then, once');

  await page.getByLabel('What', { exact: true }).fill('tea behind a prefix');
  await page.getByLabel('Amount').fill('2.50');
  await page.getByRole('button', { name: 'Place the order' }).click();
  await has(page.locator('.order .chip'), 'FINISHED');
  await has(page.getByTestId('balance'), '10.00');
  assert.deepEqual(await page.locator('.timeline strong').allTextContents(), ['Placed', 'Finished']);
  assert.match(await page.evaluate(() => sessionStorage.getItem('ordermesh.token')), /^ey/);
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  holds('an order is watched with a token, behind a prefix');
  await close();
  await onlyReads();
} finally {
  await browser.close();
  leave();
  proxy.closeAllConnections();
  proxy.close();
}

/** An operator who may look sees no button that acts. */
async function onlyReads() {
  const { page, close } = await open(browser, origin);
  await page.goto(`${origin}/ops/console/#/pauses`);
  await sign(page, await ask('token olga 1h admin:read'));
  await page.getByText('read only').waitFor();
  await page.getByText('Nothing is paused.').waitFor();
  for (const tab of ['pauses', 'parked', 'books', '']) {
    await page.goto(`${origin}/ops/console/#/${tab}`);
    await page.locator('main .card').first().waitFor();
    assert.equal(await page.getByRole('button', { name: /Pause it|Resume|Redrive|Discard|Preview a redrive|Edit|Heal/ }).count(), 0, tab);
  }
  await isAccessible(page, 'the console of who only reads');
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await sign(page, await ask('token olga 1h admin:write'));
  await page.goto(`${origin}/ops/console/#/pauses`);
  await page.getByRole('button', { name: 'Pause it' }).waitFor();
  assert.equal(await page.getByLabel('Your name').inputValue(), 'olga');
  holds('who only reads sees no buttons, and who acts does');
  await goesOnWithANewToken(page);
  await close();
}

/** What was being done stays as it was written, and is sent with the new token. */
async function goesOnWithANewToken(page) {
  const dialog = page.getByRole('dialog');
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await sign(page, await ask('token olga 8s admin:write'));
  await page.getByLabel('Only this kind').fill('ordermesh.payments.v1.PaymentDecided');
  await page.getByLabel('Reason').fill('a look at an expired token');
  await dialog.getByText('the token has expired').waitFor();
  await isAccessible(page, 'the console of an expired token');
  await sign(page, await ask('token olga 1h admin:write'));
  await dialog.waitFor({ state: 'hidden' });
  assert.match(page.url(), /#\/pauses/);
  assert.equal(await page.getByLabel('Reason').inputValue(), 'a look at an expired token');
  await page.getByRole('button', { name: 'Pause it' }).click();
  const one = page.getByTestId('pauses').locator('li');
  await one.getByText('a look at an expired token').waitFor();
  await one.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('Nothing is paused.').waitFor();
  holds('an operator whose token has expired goes on with a new one');
}

async function sign(page, text) {
  await page.getByLabel('Token', { exact: true }).fill(text);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
}
