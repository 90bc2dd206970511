// The lines that the pages show, run by a shell as they stand there, in front of a running mesh without tokens. `EDGE` and `ADMIN` are its URLs,
// `ADMIN_TOKEN` the operator's token, `GRPCURL` what calls over gRPC as grpcurl does.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { balance, call, choose, has, holds, launch, leave, open, pauser, state } from './world.mjs';

const { EDGE, ADMIN, ADMIN_TOKEN, GRPCURL } = process.env;
const pause = pauser(ADMIN, ADMIN_TOKEN);
const run = promisify(execFile);

/** What a shell would take for its own, were it not quoted. */
const TEA = `O'Brien's "tea" & $(exit 7) \`exit 8\` \\ 100 % $HOME \u{1f375} \u202egnp.exe`;

/** What turns the direction of what follows: in a line it would hide what is sent. */
const isSeen = (lines) => lines.forEach((line) => assert.ok(line.includes('\\u202egnp.exe') && !line.includes('\u202e'), line));

/** A line as it is shown, by a shell that says the headers of answers too: what curl writes, what grpcurl writes, and its metadata. */
async function shell(line) {
  const script = `set -eu\ncurl() { command curl -i "$@"; }\ngrpcurl() { ${GRPCURL} "$@"; }\n${line}`;
  const { stdout, stderr } = await run('sh', ['-c', script], { env: { ...process.env, TOKEN: ADMIN_TOKEN }, timeout: 30_000 });
  return { stdout, stderr };
}

/** A line of curl: the status, whether it is an earlier answer, and the body. */
async function curl(line) {
  assert.match(line, /^curl -s/);
  const { stdout } = await shell(line);
  const at = stdout.indexOf('\r\n\r\n');
  const [head, body] = [stdout.slice(0, at).toLowerCase(), stdout.slice(at + 4)];
  return { status: Number(head.split(' ')[1]), replayed: /\nidempotency-replayed: true\r?(\n|$)/.test(head), body };
}

/** The answer to a line of curl that succeeds. */
async function read(line, replayed = false) {
  const answer = await curl(line);
  assert.deepEqual([answer.status, answer.replayed], [200, replayed], `${line}\n${answer.body}`);
  return JSON.parse(answer.body);
}

/** The answers to a line of grpcurl. */
async function grpcurl(line, replayed = false) {
  assert.match(line, /^grpcurl -plaintext/);
  const { stdout, stderr } = await shell(line);
  assert.equal(/^idempotency-replayed: true$/m.test(stderr), replayed, `${line}\n${stderr}`);
  return stdout.trim().split('\n').map((text) => JSON.parse(text));
}

/** Both lines of what a part of the page sends. */
async function lines(part, what = 'What this sends') {
  const preview = part.locator('details', { has: part.page().getByText(what, { exact: true }) }).last();
  if (!(await preview.evaluate((one) => one.open))) await preview.locator('summary').click();
  const texts = preview.locator('pre');
  await texts.nth(1).waitFor();
  return texts.allTextContents();
}

const form = (page, label) => page.locator('form', { has: page.getByLabel(label, { exact: true }) });
const rows = async () => (await call(EDGE, '/gateway/orders?userId=walt&pageSize=100')).orders ?? [];
const again = (page, title) => page.locator('.log li', { hasText: title }).first().getByText('200, the first answer again').waitFor();

const browser = await launch();
try {
  const { page, close } = await open(browser, EDGE);
  await page.goto(`${EDGE}/shop/`);
  await page.getByLabel('Name').fill('walt');
  // It is read at first, and once more when the stream has begun: from then on nothing of what a line does is seen before the click.
  let reads = 0;
  const known = page.waitForResponse((answer) => answer.url().endsWith('/gateway/payments/walt') && (reads += 1) === 2);
  await page.keyboard.press('Enter');
  await known;
  await opensAnAccount(page);
  await topsUp(page);
  await orders(page);
  await cancels(page);
  await lists(page);
  await close();
  await operates();
} finally {
  await browser.close();
  leave();
}

/** What the line has done is what the button does: by the same key it is not done once more. */
async function opensAnAccount(page) {
  const opening = form(page, 'Currency').filter({ hasText: 'Open an account' });
  const [byCurl, byGrpcurl] = await lines(opening);
  const account = await read(byCurl);
  assert.deepEqual([account.userId, account.currencyCode], ['walt', 'RUB']);
  assert.deepEqual(await read(byCurl, true), account);
  assert.deepEqual(await grpcurl(byGrpcurl, true), [account]);
  await opening.getByRole('button', { name: 'Open an account' }).click();
  await again(page, 'Open an account');
  await balance(page, '0.00 RUB');
  holds('the lines of an account open it, once');
}

async function topsUp(page) {
  const topUp = form(page, 'Top up by, in RUB');
  await page.getByLabel('Top up by').fill('12.50');
  const [byCurl, byGrpcurl] = await lines(topUp);
  // Over gRPC at first: the same key is the same call, whatever it came over.
  const [{ account, entry }] = await grpcurl(byGrpcurl);
  assert.deepEqual([account.balance, entry.amount], ['1250', '1250']);
  assert.equal((await read(byCurl, true)).entry.id, entry.id);
  await topUp.getByRole('button', { name: 'Top up' }).click();
  await again(page, 'Top up');
  await balance(page, '12.50 RUB');
  holds('the lines of a top-up book it, once');
}

async function orders(page) {
  const placing = form(page, 'What');
  const fill = async () => {
    await page.getByLabel('What', { exact: true }).fill(TEA);
    await page.getByLabel('Amount').fill('2.50');
    return lines(placing);
  };
  const [byCurl, byGrpcurl] = await fill();
  isSeen([byCurl, byGrpcurl]);
  const order = await read(byCurl);
  assert.deepEqual([order.description, order.amount, order.userId], [TEA, '250', 'walt']);
  assert.equal((await read(byCurl, true)).id, order.id);
  const [same] = await grpcurl(byGrpcurl, true);
  assert.deepEqual([same.id, same.description], [order.id, TEA]);
  await page.getByRole('button', { name: 'Place the order' }).click();
  await again(page, 'Place an order');
  await has(state(page), 'FINISHED');
  const description = page.locator('.order .description');
  assert.equal(await description.textContent(), TEA);
  assert.equal(await description.locator('bdi').evaluate((one) => getComputedStyle(one).unicodeBidi), 'isolate');
  await page.waitForURL(new RegExp(`order=${order.id}$`));
  assert.equal((await rows()).length, 1);
  // What was sent stands in the list below with the same lines.
  const entry = page.locator('.log li', { hasText: 'Place an order' }).first();
  await entry.locator('summary').click();
  assert.deepEqual(await entry.locator('pre').allTextContents(), [byCurl, byGrpcurl]);
  holds('the lines of an order place it, once, whatever is in its description');
  // The next one has another key.
  const [, next] = await fill();
  assert.notEqual(next, byGrpcurl);
  const [other] = await grpcurl(next);
  assert.notEqual(other.id, order.id);
  assert.equal(other.description, TEA);
  const third = await read((await lines(placing))[0], true);
  assert.equal(third.id, other.id);
  const all = await rows();
  assert.deepEqual(all.map(({ id, description }) => [id, description]), [[other.id, TEA], [order.id, TEA]]);
  await watches(page);
  holds('the lines of another order make another row');
}

/** A stream goes on until the order has ended, and has its last version at the end. */
async function watches(page) {
  const [byCurl, byGrpcurl] = await lines(page.locator('.order'), 'How it is watched');
  assert.match(byCurl, /accept: text\/event-stream/i);
  const { status, body } = await curl(byCurl);
  const versions = [...body.matchAll(/^data: ?(\{.*"order".*\})$/gm)].map(([, text]) => JSON.parse(text).order);
  assert.equal(status, 200, body);
  assert.deepEqual([versions.at(-1)?.status, versions.at(-1)?.description], ['FINISHED', TEA], body);
  assert.equal((await grpcurl(byGrpcurl)).at(-1).order.status, 'FINISHED');
}

async function cancels(page) {
  const resume = await pause();
  await page.getByLabel('What', { exact: true }).fill('changed my mind');
  await page.getByLabel('Amount').fill('1');
  await page.getByRole('button', { name: 'Place the order' }).click();
  await has(page.locator('.order .description'), 'changed my mind');
  const [byCurl, byGrpcurl] = await lines(page.locator('.order'));
  const asked = await read(byCurl);
  assert.ok(asked.cancelRequestTime, JSON.stringify(asked));
  await has(state(page), 'CANCELLED · you cancelled it');
  assert.equal((await grpcurl(byGrpcurl, true))[0].id, asked.id);
  await resume();
  holds('the line of a cancellation cancels');
}

async function lists(page) {
  await page.getByRole('link', { name: 'Orders' }).click();
  await page.getByLabel('Status').selectOption('FINISHED');
  await page.getByText('All 2').waitFor();
  assert.deepEqual(await page.getByTestId('orders').locator('bdi').allTextContents(), [TEA, TEA]);
  const shown = await page.getByTestId('orders').locator('a').evaluateAll((all) => all.map((one) => one.href.replace(/.*order=/, '')));
  const [byCurl, byGrpcurl] = await lines(page.locator('.card', { has: page.getByTestId('orders') }));
  for (const { orders } of [await read(byCurl), ...(await grpcurl(byGrpcurl))]) assert.deepEqual(orders.map(({ id }) => id), shown);
  await page.getByRole('link', { name: 'Statement' }).click();
  await page.getByText('All 3').waitFor();
  const [statement, overGrpc] = await lines(page.locator('.card', { has: page.getByTestId('statement') }));
  const { entries } = await read(statement);
  assert.deepEqual(entries.map(({ sequence, balanceAfter }) => [sequence, balanceAfter]), [['3', '750'], ['2', '1000'], ['1', '1250']]);
  assert.deepEqual(await grpcurl(overGrpc), [{ entries }]);
  holds('the lines of lists answer what is listed');
}

/** The operator's lines, with a token that no line says. */
async function operates() {
  const { page, close } = await open(browser, ADMIN);
  await page.goto(`${ADMIN}/console/#/pauses`);
  await page.getByLabel('Token', { exact: true }).fill(ADMIN_TOKEN);
  await page.getByRole('dialog').getByRole('button', { name: 'Sign in' }).click();
  await choose(page, 'payments');
  await page.getByLabel('Your name').fill("Miles O'Brien");
  await page.getByLabel('Reason').fill(TEA);
  const both = await lines(page.locator('form.act'));
  isSeen(both);
  for (const line of both) assert.ok(line.includes('$TOKEN') && !line.includes(ADMIN_TOKEN), line);
  // By one key: whatever they come over, and the button too, they are one pause.
  const made = await read(both[0]);
  assert.deepEqual(await grpcurl(both[1], true), [made]);
  const paused = page.getByTestId('pauses').locator('li', { hasText: TEA });
  assert.deepEqual([made.operator, made.reason], ["Miles O'Brien", TEA]);
  await paused.waitFor();
  await page.getByRole('button', { name: 'Pause it' }).click();
  await again(page, 'Pause');
  assert.equal(await paused.count(), 1);
  // The next one has another key.
  const [next] = await lines(page.locator('form.act'));
  assert.notEqual(next, both[0]);
  await paused.getByRole('button', { name: 'Resume' }).click();
  await paused.waitFor({ state: 'detached' });
  await page.getByText('Nothing is paused.').waitFor();
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  await choose(page, 'payments');
  await page.getByLabel('Filter').fill('action = PAUSE');
  await page.keyboard.press('Enter');
  // This one, and the one of the cancellation; each was resumed.
  await page.getByText('All 2', { exact: true }).waitFor();
  await has(page.getByTestId('audit').locator('li'), TEA);
  const shown = await page.getByTestId('audit').locator('li').allTextContents();
  const [byCurl, byGrpcurl] = await lines(page.locator('.card', { has: page.getByTestId('audit') }));
  for (const { events } of [await read(byCurl), ...(await grpcurl(byGrpcurl))]) {
    const seen = events.map(({ action, reason }) => [action, reason]);
    assert.deepEqual(seen, [['PAUSE', TEA], ['PAUSE', 'a look at NEW']]);
    seen.forEach((words, at) => assert.ok(words.every((word) => shown[at].includes(word)), shown[at]));
  }
  await close();
  holds("the operator's lines do what they say");
}
