// Calls an edge by connect-web from a page of its own in Chromium.
//
// usage: node connect_page.mjs BROWSER MODULES SET URL > answers
// BROWSER and MODULES are folders with packages: the browser's with a bundler, and the clients'.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const [browsers, modules, file, edge] = process.argv.slice(2);
const library = createRequire(`${browsers}/node_modules/`);
const { chromium } = library("playwright-core");
const { buildSync } = library("esbuild");

const bundle = buildSync({
  entryPoints: [fileURLToPath(new URL("connect_web.mjs", import.meta.url))],
  nodePaths: [`${modules}/node_modules`],
  bundle: true,
  format: "iife",
  globalName: "connect",
  write: false,
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ bypassCSP: true });
  await page.goto(`${edge}/openapi.json`);
  await page.addScriptTag({ content: bundle.outputFiles[0].text });
  const set = readFileSync(file).toString("base64");
  const found = await page.evaluate(([set, edge]) => globalThis.connect.all(set, edge), [set, edge]);
  process.stdout.write(JSON.stringify(found));
} finally {
  await browser.close();
}
