// What the tests of the pages have in common: a browser that keeps to the origin, looks at the policy, and asks axe.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

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

/** No violation of axe, in light and in dark, and nothing wider than a phone. */
export async function isAccessible(page, what) {
  await page.evaluate(axe);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    // Of the rules, those about colours are all that another scheme can break.
    const runOnly = colorScheme === 'light' ? undefined : { type: 'rule', values: ['color-contrast', 'link-in-text-block'] };
    const { violations } = await page.evaluate((runOnly) => globalThis.axe.run(document, { resultTypes: ['violations'], runOnly }), runOnly);
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
    assert.deepEqual(found, [], `${what} in ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  const before = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(over, 0, `${what} is wider than a phone`);
  await page.setViewportSize(before);
  holds(`${what} is accessible in light and dark, and fits a phone`);
}

/** Waits until one of these has this text. */
export const has = (locator, text) => locator.filter({ hasText: text }).first().waitFor();

/** A picture for the eye, where somebody wants them. */
export async function picture(page, name) {
  const folder = process.env.PICTURES;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: `${folder}/${name}-${colorScheme}.png` });
  }
  await page.emulateMedia({ colorScheme: 'light' });
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

/** Does `work` for each number below `count`, so many at a time. */
export async function each(count, at, work) {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: at }, worker));
}

/** The processor time of the longest task of the page's thread while `work` is done, in milliseconds. */
export async function longestTask(page, work) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'] },
  });
  await work();
  const over = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await over;
  await session.detach();
  const main = new Set(events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = events.filter(({ ph, tdur, pid, tid }) => ph === 'X' && tdur !== undefined && main.has(`${pid} ${tid}`));
  assert.ok(tasks.length > 10, `${tasks.length} tasks were seen`);
  return Math.max(...tasks.map(({ tdur }) => tdur)) / 1_000;
}
