// What the tests of the pages have in common: a browser that keeps to the origin, looks at the policy, and asks axe.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { isReadable, tabTo } from './reading.mjs';

/** The npm packages of console/, which scripts/setup has installed. */
const require = createRequire(`${process.env.PACKAGES}/node_modules/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

/** How long a state may take to come. */
export const PATIENCE = 30_000;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks whoever has started this for something that only they can do: `edge down`. */
export async function ask(what) {
  process.stdout.write(`ask ${what}\n`);
  const { value, done } = await answers.next();
  assert.ok(!done, `nobody does "${what}"`);
  return value;
}

/** Asks nothing more: without this the process would wait for answers. */
export const leave = () => process.stdin.destroy();

let started = performance.now();

/** Says what holds, and how long it took to see it. */
export function holds(what) {
  process.stdout.write(`holds ${what} (${Math.round(performance.now() - started)} ms)\n`);
  started = performance.now();
}

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--disable-gpu', '--force-prefers-reduced-motion'],
  });

/**
 * A page that fails the test when it asks another origin, breaks its policy or throws. Errors of the network are said in the console too: those
 * that a test brings about match `expected`.
 */
export async function open(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  context.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(origin).origin) wrong.push(`asked ${request.url()}`);
  });
  // Swagger UI is somebody else's page: it has none.
  context.on('response', (response) => {
    if (new URL(response.url()).pathname.includes('/swagger/')) return;
    const headers = response.headers();
    if (!response.request().isNavigationRequest() || !/^text\/html/.test(headers['content-type'] ?? '')) return;
    if (!/default-src 'none';/.test(headers['content-security-policy'] ?? '')) wrong.push(`no policy at ${response.url()}`);
  });
  page.on('pageerror', (error) => wrong.push(`threw ${error.stack}`));
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !/^Failed to load resource/.test(text)) wrong.push(`said ${text}`);
  });
  await page.addInitScript(() => {
    globalThis.broken = [];
    addEventListener('securitypolicyviolation', (event) => broken.push(`${event.effectiveDirective} ${event.blockedURI}`));
  });
  const close = async () => {
    assert.deepEqual(await page.evaluate(() => broken), [], 'the policy is kept');
    assert.deepEqual(wrong, []);
    await context.close();
  };
  return { page, context, close };
}

/** Windows that nothing may be wider than: a phone's, and one of 1,280 pixels at a zoom of 200 % and of 400 % (WCAG 1.4.10). */
const WINDOWS = [
  ['a phone', { width: 360, height: 740 }],
  ['a window at 200 %', { width: 640, height: 512 }],
  ['a window at 400 %', { width: 320, height: 256 }],
];

/** No violation of axe, in light and in dark. What is open, pointed at or under way stays as it is. */
export async function violatesNothing(page, what) {
  await page.evaluate(axe);
  const grounds = new Set();
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
    assert.deepEqual(found, [], `${what} in ${colorScheme}`);
  }
  assert.equal(grounds.size, 2, `${what} is as light in the dark`);
  await page.emulateMedia({ colorScheme: 'light' });
}

/**
 * No violation of axe, in light and in dark; nothing is cut off in small windows, nor where letters are twice as large (WCAG 1.4.4), also on a phone;
 * and a screen reader has a name for everything.
 */
export async function isAccessible(page, what) {
  await violatesNothing(page, what);
  const before = page.viewportSize();
  for (const [where, size] of WINDOWS) {
    await page.setViewportSize(size);
    assert.deepEqual(await wider(page), [], `${what} is wider than ${where}`);
  }
  const session = await page.context().newCDPSession(page);
  const letters = async (standard) => {
    await session.send('Page.setFontSizes', { fontSizes: { standard } });
    await page.waitForFunction((size) => getComputedStyle(document.body).fontSize === `${size}px`, standard);
  };
  await letters(32);
  for (const [where, size] of [['a window', { width: 1_100, height: 800 }], WINDOWS[0]]) {
    await page.setViewportSize(size);
    assert.deepEqual(await wider(page), [], `${what} is wider than ${where} with letters twice as large`);
  }
  await letters(16);
  await session.detach();
  const links = await page.evaluate(() => [...document.links].filter((link) => link.origin !== location.origin).map(({ href }) => href));
  assert.deepEqual(links, [], `${what} leads to other origins`);
  await page.setViewportSize(before);
  await isReadable(page, what);
  holds(`${what} is accessible in light and dark, has names for a screen reader, and fits a phone, a zoom of 400 % and larger letters`);
}

/** What reaches beyond the window, unless it can be scrolled by itself. */
const wider = (page) =>
  page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const reaches = [...document.body.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > clientWidth);
    return [`by ${scrollWidth - clientWidth}`, ...reaches.slice(0, 5).map((one) => one.outerHTML.slice(0, 120))];
  });

/** A network of 400 kbit/s, 400 ms away: in milliseconds, and bytes a second. */
const FAR = { latency: 400, throughput: 50_000 };

export async function slow(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  const { latency, throughput } = FAR;
  await session.send('Network.emulateNetworkConditions', { offline: false, latency, downloadThroughput: throughput, uploadThroughput: throughput });
}

/**
 * On a network that is `slow`, something is painted within three seconds, and can be used within five: by what came until then, as if each had
 * waited for the one before. By the clock on the wall, which is said, it is later where the machine is slow, too.
 */
export async function isThereFarAway(page, what) {
  const [painted, usable] = await page.evaluate(({ latency, throughput }) => {
    const came = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return ['first-contentful-paint', 'usable'].map((name) => {
      const at = performance.getEntriesByName(name)[0].startTime;
      const before = came.filter(({ responseEnd }) => responseEnd > 0 && responseEnd <= at);
      const bytes = before.reduce((sum, { transferSize }) => sum + transferSize, 0);
      return { wall: Math.round(at), network: Math.round(before.length * latency + (1_000 * bytes) / throughput) };
    });
  }, FAR);
  assert.ok(usable.wall > 2 * FAR.latency, `${usable.wall} ms: the network is not slow`);
  const wall = `by the clock on the wall after ${painted.wall} and ${usable.wall} ms`;
  const all = `${what} is painted after ${painted.network} ms of a slow network, and of use after ${usable.network} ms; ${wall}`;
  assert.ok(usable.network > 2 * FAR.latency && painted.network < 3_000 && usable.network < 5_000, all);
  holds(all);
}

/** Something was painted, and it can be used. */
export async function isPainted(page) {
  await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
  await page.waitForFunction(() => performance.getEntriesByName('usable').length > 0);
}

/**
 * A page that is loaded while nothing that it asks is ever answered: what it is made of comes, and no data. Once it has asked for its `data` it
 * is painted, with its heading and what `skeleton` finds.
 */
export async function paintsAlone(page, url, heading, skeleton, data) {
  const files = ['document', 'script', 'stylesheet', 'image', 'font'];
  const held = [];
  const hold = (route, request) => (files.includes(request.resourceType()) ? route.continue() : held.push(request.url()));
  await page.route('**/*', hold);
  const asked = page.waitForRequest(data);
  await page.goto(url);
  await isPainted(page);
  await asked;
  // What is drawn because of that request is drawn by then.
  await frames(page, 2);
  // At once: the page gives a request up before a wait ends, and its error is nothing that was painted without data.
  assert.ok(await page.getByRole('heading', { level: 1, name: heading, exact: true }).isVisible(), `${url} has its heading`);
  assert.ok(await skeleton.isVisible(), `${url} is painted before anything is answered`);
  await page.unroute('**/*', hold);
}

/** Waits until so many frames were drawn. */
const frames = (page, count) =>
  page.evaluate(async (count) => {
    for (let drawn = 0; drawn < count; drawn += 1) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  }, count);

/** Presses a button, and again while nothing has been answered: a request to what `url` matches is sent once. */
export async function pressTwice(button, url, method = 'POST') {
  const page = button.page();
  let sent = 0;
  let answer;
  const isPressed = new Promise((resolve) => (answer = resolve));
  const hold = async (route) => {
    if (route.request().method() !== method) return route.fallback();
    sent += 1;
    await isPressed;
    return route.fallback();
  };
  await page.route(url, hold);
  const answered = page.waitForResponse((response) => url.test(response.url()) && response.request().method() === method);
  for (let times = 0; times < 2; times += 1) {
    await button.evaluate((one) => one.click());
    await frames(page, 2);
  }
  answer();
  await answered;
  await page.unroute(url, hold);
  assert.equal(sent, 1, `pressed twice, ${url} is asked once`);
}

/** Hides the tab, or shows it again: a browser without a window has no other tab in front of it. */
export const hide = (page, isHidden) =>
  page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);

/** Waits until one of these has this text. */
export const has = (locator, text) => locator.filter({ hasText: text }).first().waitFor();

/** What was refused is said once: at the field with this label, while the alert leads there; and no more once `mend` has changed the form. */
export async function saysAtField(page, label, text, mend) {
  const field = page.locator('.field', { has: page.getByLabel(label, { exact: true }) });
  await has(field.locator('.note.wrong'), text);
  const note = await field.locator('.note.wrong').textContent();
  assert.equal(await page.getByText(note).count(), 1, `${note} is said once`);
  const alert = page.getByRole('alert').filter({ hasText: `Not accepted: see ${label}.` });
  const said = await alert.textContent();
  assert.match(said, new RegExp(`^Not accepted: see ${label}\\. +INVALID_FIELD`));
  await mend();
  await alert.waitFor({ state: 'detached' });
  await field.locator('.note.wrong').waitFor({ state: 'detached' });
}

/** A picture for the eye, where somebody wants them: of what is to be seen, or of a part of the page. */
export async function picture(page, name, part) {
  const folder = process.env.PICTURES;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  // Nothing is pointed at.
  await page.mouse.move(0, 0);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(() => {
      document.activeElement?.blur();
      scrollTo(0, 0);
    });
    await (part ?? page).screenshot({ path: `${folder}/${name}-${colorScheme}.png` });
  }
  await page.emulateMedia({ colorScheme: 'light' });
  const before = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  await page.screenshot({ path: `${folder}/${name}-phone.png`, fullPage: true });
  await page.setViewportSize(before);
}

/** Goes from an error to its entry in the catalogue, by keyboard, and returns where that is. It is a tab of its own: the page stays as it was. */
export async function explained(page, reason, key = 'Tab') {
  await tabTo(page, new RegExp(`^link ${reason}`), key);
  const [entry] = await Promise.all([page.context().waitForEvent('page'), page.keyboard.press('Enter')]);
  await entry.getByRole('heading', { name: reason, exact: true }).waitFor();
  const at = entry.url();
  await entry.close();
  return at;
}

/** A call of the API beside the pages. */
export async function call(base, path, body, headers = {}) {
  const answer = await fetch(base + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** The state of the order that is looked at. */
export const state = (page) => page.locator('.order .chip');

/** Waits for a balance. */
export const balance = (page, text) => has(page.getByTestId('balance'), new RegExp(`^${text.replace('.', '\\.').replace(' ', '.')}$`));

/** Places an order at the counter. */
export async function order(page, description, amount) {
  await page.getByRole('link', { name: 'Counter' }).click();
  await page.getByLabel('What', { exact: true }).fill(description);
  await page.getByLabel('Amount').fill(amount);
  await page.getByRole('button', { name: 'Place the order' }).click();
  await has(page.locator('.order .description'), description);
}

/** By this, payments handles no new orders until what it returns is called: they stay NEW. */
export const pauser = (base, token) => async () => {
  const admin = (path, body) => call(base, `/admin/v1/payments${path}`, body, { authorization: `Bearer ${token}` });
  const { sequence } = await admin('/pauses', { part: 'CONSUMER', kind: 'ordermesh.orders.v1.OrderPlaced', operator: 'test', reason: 'a look at NEW' });
  return () => admin(`/pauses/${sequence}:resume`, { operator: 'test' });
};

/** An order that has ended: its stream has that last. */
export async function ended(base, id) {
  const answer = await fetch(`${base}/gateway/orders/${id}:watch`, { headers: { accept: 'application/x-ndjson' }, signal: AbortSignal.timeout(PATIENCE) });
  const text = await answer.text();
  assert.ok(answer.ok, `${id}: ${answer.status} ${text}`);
  const { order } = JSON.parse(text.trim().split('\n').at(-1));
  assert.notEqual(order?.status ?? 'NEW', 'NEW', text);
  return order;
}

/** What is shown as long as something goes on: `work` is done again and again until `seen` has come. */
export async function meanwhile(work, seen) {
  let isOver = false;
  const again = async () => {
    while (!isOver) await work();
  };
  await Promise.all([again(), seen.finally(() => (isOver = true))]);
}

/** Chooses the service of a tab that has both, and waits until it is that of the other one. */
export async function choose(page, service) {
  const button = page.getByRole('group', { name: 'Service' }).getByRole('button', { name: service });
  await button.click();
  await button.and(page.locator('[aria-pressed="true"]')).waitFor();
}

/** Does `work` for each number below `count`, so many at a time. */
export async function each(count, at, work) {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: at }, worker));
}
