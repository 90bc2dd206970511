// Reads /asyncapi.json by the parser of its makers, and messages of released versions by what it says of them: PACKAGES URL CORPUS. Prints all
// that is wrong, and how many messages there were of each kind.
const { readdirSync, readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { isDeepStrictEqual } = require('node:util');
const [packages, url, corpus] = process.argv.slice(2);
const load = createRequire(`${packages}/node_modules/`);
const { Parser } = load('@asyncapi/parser');
const { ProtoBuffSchemaParser } = load('@asyncapi/protobuf-schema-parser');
const Ajv = load('ajv').default;
const protobuf = load('protobufjs');

/** As ProtoJSON prints it: times as text. */
function readable(value) {
  if (Array.isArray(value)) return value.map(readable);
  if (value === null || typeof value !== 'object') return value;
  if ('seconds' in value) {
    const micros = String((value.nanos ?? 0) / 1_000).padStart(6, '0');
    return new Date(Number(value.seconds) * 1_000).toISOString().replace('000Z', `${micros}Z`);
  }
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, readable(one)]));
}

/** What is wrong with a message, by the document as it is and as the parser has it. */
function wrong(raw, document, { headers, payload, meaning, properties, routing_key }) {
  const kind = headers['cloudEvents:type'];
  const message = document.components().messages().all().find((one) => one.name() === kind);
  if (message === undefined) return [`${kind} is not there`];
  const found = [];
  const [before, after] = raw.channels[kind].address.split('{partition}');
  if (!new RegExp(`^${before}[0-9]+${after}$`).test(routing_key)) found.push(`${routing_key} is of no channel`);
  if (message.contentType() !== properties.content_type) found.push(`${properties.content_type} is not ${message.contentType()}`);
  const schema = message.headers().json();
  const ajv = new Ajv({ validateFormats: false, strict: false });
  if (!ajv.validate(schema, headers)) found.push(ajv.errorsText());
  found.push(...Object.keys(headers).filter((name) => !(name in schema.properties)).map((name) => `${name} is not known`));
  // A schema imports the well-known types, which every library of protobuf brings.
  const known = new protobuf.Root().addJSON(protobuf.common.get('google/protobuf/timestamp.proto').nested);
  const { root } = protobuf.parse(raw.components.messages[kind].payload.schema, known);
  const type = root.lookupType(kind);
  const seen = readable(type.toObject(type.decode(Buffer.from(payload, 'hex')), { longs: String, enums: String }));
  if (!isDeepStrictEqual(seen, meaning)) found.push(`${JSON.stringify(seen)} is not ${JSON.stringify(meaning)}`);
  return found;
}

async function main() {
  const parser = new Parser();
  parser.registerSchemaParser(ProtoBuffSchemaParser());
  const text = await (await fetch(url)).text();
  const { document, diagnostics } = await parser.parse(text);
  // Remarks are left out: that there is a later version of AsyncAPI is one.
  const problems = diagnostics.filter(({ severity }) => severity < 2).map(({ code, message, path }) => `${code} ${message} at ${path.join('/')}`);
  const kinds = {};
  for (const version of document ? readdirSync(corpus).filter((name) => /^\d/.test(name)) : []) {
    for (const name of readdirSync(`${corpus}/${version}`)) {
      const message = JSON.parse(readFileSync(`${corpus}/${version}/${name}`));
      const kind = message.headers['cloudEvents:type'];
      kinds[kind] = (kinds[kind] ?? 0) + 1;
      problems.push(...wrong(JSON.parse(text), document, message).map((what) => `${name}: ${what}`));
    }
  }
  console.log(JSON.stringify({ problems, kinds: Object.keys(kinds).sort() }));
}

main();
