// Calls an edge by connect-es, in every way that it has.
//
// usage: node connect.cjs MODULES SET URL > answers
"use strict";

const fs = require("node:fs");
const { createRequire } = require("node:module");

const [modules, file, baseUrl] = process.argv.slice(2);
const library = createRequire(modules + "/");
const { createFileRegistry, fromBinary } = library("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = library("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = library("@connectrpc/connect");
const { compressionGzip, createConnectTransport, createGrpcWebTransport } = library("@connectrpc/connect-node");

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fs.readFileSync(file)));
const service = registry.getService("ordermesh.orders.v1.OrdersService");

const code = (error) => Code[ConnectError.from(error).code];

async function failure(call) {
  try {
    await call();
    return "none";
  } catch (error) {
    return code(error);
  }
}

async function answers(useBinaryFormat) {
  const transport = (options) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat, ...options });
  const client = createClient(service, transport({}));
  const found = {};
  const order = await client.getOrder({ orderId: "7" }, { onHeader: (headers) => (found.metadata = headers.get("mine")) });
  Object.assign(found, { id: order.id, amount: String(order.amount) });
  const web = createGrpcWebTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat });
  found["by gRPC-Web"] = (await createClient(service, web).getOrder({ orderId: "9" })).id;
  found["by get"] = (await createClient(service, transport({ useHttpGet: true })).getOrder({ orderId: "8" })).id;
  // Every message, however short.
  const compressed = createClient(service, transport({ sendCompression: compressionGzip, compressMinBytes: 0 }));
  found.compressed = (await compressed.getOrder({ orderId: "long" })).description.length;
  const watch = async (orderId, by = client) => {
    const versions = [];
    for await (const event of by.watchOrder({ orderId })) versions.push(String(event.order.version));
    return versions;
  };
  found.versions = await watch("7");
  found["versions compressed"] = await watch("7", compressed);
  found.stream = await failure(() => watch("none"));
  try {
    await client.getOrder({ orderId: "none" });
  } catch (error) {
    found.code = code(error);
    found.reason = Buffer.from(error.details[0].value).toString("latin1").match(/[A-Z]+_[A-Z_]+/)[0];
  }
  found.late = await failure(() => client.getOrder({ orderId: "late" }, { timeoutMs: 100 }));
  return found;
}

(async () => {
  const found = { json: await answers(false), proto: await answers(true) };
  process.stdout.write(JSON.stringify(found));
})();
