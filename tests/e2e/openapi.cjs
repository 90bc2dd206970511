// Lints the OpenAPI document on the standard input by the recommended rules of Redocly: `node openapi.cjs FOLDER`, where its packages are (those
// of the console: openapi-typescript reads documents by the same library). Every error and every warning is a failure.
const { createRequire } = require('node:module');
const { text } = require('node:stream/consumers');

async function main() {
  const { createConfig, lintFromString } = createRequire(`${process.argv[2]}/`)('@redocly/openapi-core');
  const config = await createConfig({ extends: ['recommended'] });
  const source = await text(process.stdin);
  const problems = await lintFromString({ source, absoluteRef: 'openapi.json', config });
  for (const { severity, ruleId, message, location } of problems) {
    console.error(`${severity} ${ruleId}: ${message} at ${location.map((one) => one.pointer).join(', ')}`);
  }
  process.exitCode = problems.length === 0 ? 0 : 1;
}

main();
