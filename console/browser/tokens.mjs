// Both pages in a browser, in front of a running mesh that wants tokens, behind a proxy that adds prefixes. `EDGE` and `ADMIN` are the
// URLs of the mesh.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { ask, balance, call, explained, has, holds, isAccessible, launch, leave, open, order, pauser, picture, state } from './world.mjs';

const { EDGE, ADMIN } = process.env;

/** Whether nobody is there. */
let isAway = false;

/** `/mesh/x` here is `/x` at the edge, and `/ops/x` is `/x` at the admin listener. */
const proxy = createServer((from, to) => {
  if (isAway) return to.destroy();
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
  assert.equal(await explained(page, 'UNAUTHENTICATED'), `${origin}/mesh/errors/UNAUTHENTICATED`);
  await isAccessible(page, 'the sign-in after a refusal');
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
  // Behind a prefix is a listener whose address only who has put it there knows: the shell asks for it.
  const sends = page.locator('form', { has: page.getByLabel('Amount') });
  await sends.getByText('What this sends').click();
  await sends.locator('pre').nth(1).waitFor();
  const [byCurl, byGrpcurl] = await sends.locator('pre').allTextContents();
  assert.ok(byCurl.includes(`${origin}/mesh/gateway/orders`), byCurl);
  assert.ok(byGrpcurl.includes('"${GRPC:?') && !byGrpcurl.includes(new URL(origin).host), byGrpcurl);
  await page.getByRole('button', { name: 'Place the order' }).click();
  await has(page.locator('.order .chip'), 'FINISHED');
  await has(page.getByTestId('balance'), '10.00');
  assert.deepEqual(await page.locator('.timeline strong').allTextContents(), ['Placed', 'Finished']);
  assert.match(await page.evaluate(() => sessionStorage.getItem('ordermesh.token')), /^ey/);
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  holds('an order is watched with a token, behind a prefix');
  await goesOn(page);
  await keepsForWhoMadeIt(page);
  await close();
  await acts();
} finally {
  await browser.close();
  leave();
  proxy.closeAllConnections();
  proxy.close();
}

/** What is read with a token is no EventSource: it goes on after an outage as well, from the version that it has seen last. */
async function goesOn(page) {
  const resume = await pauser(ADMIN, await ask('token olga 1h admin:write'))();
  await order(page, 'patience', '1');
  await has(state(page), 'NEW');
  await page.locator('.order .link.live').waitFor();
  isAway = true;
  proxy.closeAllConnections();
  await page.locator('.order .link.lost').waitFor();
  await resume();
  isAway = false;
  await has(state(page), 'FINISHED');
  assert.deepEqual(await page.locator('.timeline strong').allTextContents(), ['Placed', 'Finished']);
  await balance(page, '9.00 RUB');
  holds('a watch with a token goes on after an outage');
}

/** Who signs out without a network is out, and what had no answer is sent with no other token than theirs. */
async function keepsForWhoMadeIt(page) {
  const dialog = page.getByRole('dialog');
  isAway = true;
  proxy.closeAllConnections();
  await page.getByLabel('Top up by').fill('1');
  await page.getByRole('button', { name: 'Top up' }).click();
  await page.locator('.repeats .notice').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog.getByText('You have signed out.').waitFor();
  await dialog.getByText('it is kept for alice in this tab: Top up.').waitFor();
  await isAccessible(page, 'the sign-in with a write that is kept');
  isAway = false;
  const sent = [];
  const note = (request) => request.method() === 'POST' && sent.push(request.url());
  page.on('request', note);
  await sign(page, await ask('token bob 1h'));
  await page.getByText('There is no account yet').waitFor();
  assert.doesNotMatch(page.url(), /order=/);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog.getByText('You have signed out.').waitFor();
  assert.deepEqual(sent, [], 'nothing is sent for somebody else');
  page.off('request', note);
  await sign(page, token);
  await balance(page, '10.00 RUB');
  holds('who signs out without a network is out, and a write without an answer waits for its token');
}

/** Who a token is of is the operator's name, and what it is good for is seen. What who only reads sees is in `readonly.mjs`. */
async function acts() {
  const { page, close } = await open(browser, origin);
  await page.goto(`${origin}/ops/console/`);
  await asksNothingInVain(page);
  await page.goto(`${origin}/ops/console/#/pauses`);
  await sign(page, await ask('token olga 1h admin:write'));
  await page.getByRole('button', { name: 'Pause it' }).waitFor();
  assert.equal(await page.getByLabel('Your name').inputValue(), 'olga');
  holds('who acts does so by the name in the token');
  await goesOnWithANewToken(page);
  await pausesForNobodyElse(page);
  await close();
}

/** Who may not read what waits is told so, and the page does not ask again. An absence has no condition to wait for: three looks would have been taken. */
async function asksNothingInVain(page) {
  await sign(page, await ask('token alice 1h'));
  await page.getByRole('alert').nth(1).getByText('SCOPE_MISSING').waitFor();
  const asked = [];
  const note = (request) => /\/status$/.test(request.url()) && asked.push(request.url());
  page.on('request', note);
  await page.waitForTimeout(3_500);
  assert.deepEqual(asked, [], 'nothing is asked again that was refused');
  page.off('request', note);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('dialog').getByText('You have signed out.').waitFor();
  holds('what was refused is not asked again');
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

/** A pause without an answer is sent with the token of who wanted it, and with nobody else's. */
async function pausesForNobodyElse(page) {
  const dialog = page.getByRole('dialog');
  const pauses = /\/admin\/v1\/\w+\/pauses$/;
  await page.route(pauses, (route) => (route.request().method() === 'POST' ? route.abort('connectionreset') : route.fallback()));
  await page.getByLabel('Only this kind').fill('ordermesh.payments.v1.PaymentDecided');
  await page.getByLabel('Reason').fill('for nobody else');
  await page.getByRole('button', { name: 'Pause it' }).click();
  await page.locator('.repeats .notice').getByText('no answer came').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog.getByText('it is kept for olga in this tab: Pause.').waitFor();
  await page.unroute(pauses);
  const sent = [];
  const note = (request) => request.method() === 'POST' && pauses.test(request.url()) && sent.push(request.url());
  page.on('request', note);
  await sign(page, await ask('token bob 1h admin:write'));
  await page.getByText('Nothing is paused.').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog.getByText('it is kept for olga in this tab: Pause.').waitFor();
  assert.deepEqual(sent, [], 'nothing is sent for somebody else');
  await sign(page, await ask('token olga 1h admin:write'));
  const one = page.getByTestId('pauses').locator('li');
  await one.getByText('for nobody else').waitFor();
  assert.equal(sent.length, 1, 'it is sent once');
  page.off('request', note);
  await one.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('Nothing is paused.').waitFor();
  holds('a pause without an answer waits for the token of who wanted it');
}

async function sign(page, text) {
  await page.getByLabel('Token', { exact: true }).fill(text);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
}
