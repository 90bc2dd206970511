// What a page calls by connect-web, in every way that it has.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

const code = (error) => Code[ConnectError.from(error).code];

async function failure(call) {
  try {
    await call();
    return "none";
  } catch (error) {
    return code(error);
  }
}

async function answers(service, baseUrl, useBinaryFormat) {
  const transport = (options) => createConnectTransport({ baseUrl, useBinaryFormat, ...options });
  const client = createClient(service, transport({}));
  const found = {};
  const order = await client.getOrder({ orderId: "7" }, { onHeader: (headers) => (found.metadata = headers.get("mine")) });
  Object.assign(found, { id: order.id, amount: String(order.amount) });
  found["by get"] = (await createClient(service, transport({ useHttpGet: true })).getOrder({ orderId: "8" })).id;
  const web = createClient(service, createGrpcWebTransport({ baseUrl, useBinaryFormat }));
  found["by gRPC-Web"] = (await web.getOrder({ orderId: "9" })).id;
  const watch = async (orderId, by = client) => {
    const versions = [];
    for await (const event of by.watchOrder({ orderId })) versions.push(String(event.order.version));
    return versions;
  };
  found.versions = await watch("7");
  found["versions by gRPC-Web"] = await watch("7", web);
  found.stream = await failure(() => watch("none"));
  try {
    await client.getOrder({ orderId: "none" });
  } catch (error) {
    found.code = code(error);
    found.reason = new TextDecoder("latin1").decode(error.details[0].value).match(/[A-Z]+_[A-Z_]+/)[0];
  }
  found.late = await failure(() => client.getOrder({ orderId: "late" }, { timeoutMs: 100 }));
  return found;
}

/** All answers, with messages in JSON and in protobuf; the set of descriptors is in base64. */
export async function all(set, baseUrl) {
  const bytes = Uint8Array.from(atob(set), (letter) => letter.charCodeAt(0));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  const service = registry.getService("ordermesh.orders.v1.OrdersService");
  return { json: await answers(service, baseUrl, false), proto: await answers(service, baseUrl, true) };
}
