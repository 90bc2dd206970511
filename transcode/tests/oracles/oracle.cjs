// Says what protobuf-es makes of messages, one a line.
//
// usage: node oracle.cjs MODULES SET MESSAGE < cases > answers
// MODULES is the folder that has @bufbuild/protobuf. A case is {"json": TEXT} or {"wire": HEX}, its answer {"wire": HEX} or
// {"json": TEXT}, or {"refused": WHY}.
"use strict";

const fs = require("node:fs");
const { createRequire } = require("node:module");

const [modules, file, name] = process.argv.slice(2);
const library = createRequire(modules + "/");
const { createFileRegistry, fromBinary, fromJsonString, toBinary, toJsonString } = library("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = library("@bufbuild/protobuf/wkt");

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fs.readFileSync(file)));
const schema = registry.getMessage(name);

function answer(text) {
  const given = JSON.parse(text);
  try {
    if (given.wire !== undefined) {
      const message = fromBinary(schema, Buffer.from(given.wire, "hex"));
      return { json: toJsonString(schema, message, { registry }) };
    }
    const message = fromJsonString(schema, given.json, { registry });
    return { wire: Buffer.from(toBinary(schema, message)).toString("hex") };
  } catch (error) {
    return { refused: String(error) };
  }
}

const lines = fs.readFileSync(0, "utf8").split("\n").filter((line) => line !== "");
process.stdout.write(lines.map((line) => JSON.stringify(answer(line)) + "\n").join(""));
