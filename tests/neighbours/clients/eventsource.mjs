// One EventSource in Chromium: PACKAGES EDGE; does what its input says, a line each, and answers with a line.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [packages, edge] = process.argv.slice(2);
const { chromium } = createRequire(`${packages}/node_modules/`)('playwright-core');
const PATIENCE = 30_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-background-networking', '--disable-gpu'],
});
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE);
const statuses = [];
page.on('response', (response) => response.url().includes(':watch') && statuses.push(response.status()));

/** What a page does, and nothing around it. */
function watch(url) {
  globalThis.source = new EventSource(url);
  globalThis.seen = [];
  // The kinds of events without a name, and those that the edge names.
  source.onmessage = ({ data }) => seen.push(JSON.parse(data).order);
  source.addEventListener('end', () => seen.push('end'));
  source.addEventListener('error', ({ data }) => data && seen.push(JSON.parse(data).error));
}

const until = {
  closed: () => page.waitForFunction(() => source.readyState === EventSource.CLOSED),
  status: (status) => page.waitForFunction((status) => seen.some((one) => one.status === status && one.id), status),
  twice: (reason) => page.waitForFunction((reason) => seen.filter(({ details }) => details?.[0].reason === reason).length > 1, reason),
};

async function does(what, ...words) {
  switch (what) {
    case 'watch':
      // A page of the edge whose policy lets it ask.
      await page.goto(`${edge}/openapi.json`);
      await page.evaluate(watch, words[0]);
      return 'watching';
    case 'until':
      await until[words[0]](words[1]);
      return words.join(' ');
    case 'seen':
      return (await page.evaluate(() => seen.filter((one) => !one.details).map((one) => one.status ?? one))).join(' ');
    case 'requests':
      return statuses.join(' ');
    default:
      throw new Error(`nobody does ${what}`);
  }
}

try {
  for await (const line of createInterface({ input: process.stdin })) console.log(await does(...line.split(' ')));
} finally {
  await browser.close();
}
