// @grpc/grpc-js with contracts that are read when it runs: PACKAGES PROTO ADDRESS USER; prints what it saw.
const { createRequire } = require('node:module');
const [packages, proto, address, user_id] = process.argv.slice(2);
const load = createRequire(`${packages}/node_modules/`);
const grpc = load('@grpc/grpc-js');
const { loadSync } = load('@grpc/proto-loader');
const protobuf = load('protobufjs');

const options = { keepCase: true, longs: String, enums: String, includeDirs: [proto] };
const { ordermesh } = grpc.loadPackageDefinition(loadSync('ordermesh/orders/v1/orders.proto', options));

// The reason of an error is a detail of the message in this trailer.
const details = protobuf.Root.fromJSON({
  nested: {
    Any: { fields: { type_url: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    Status: { fields: { details: { rule: 'repeated', type: 'Any', id: 3 } } },
    ErrorInfo: { fields: { reason: { type: 'string', id: 1 }, domain: { type: 'string', id: 2 } } },
  },
});

function reason(error) {
  const status = details.lookupType('Status').decode(error.metadata.get('grpc-status-details-bin')[0]);
  const info = status.details.find((detail) => detail.type_url.endsWith('/google.rpc.ErrorInfo'));
  return details.lookupType('ErrorInfo').decode(info.value).reason;
}

async function main() {
  const client = new ordermesh.orders.v1.OrdersService(address, grpc.credentials.createInsecure());
  const call = (method, request) =>
    new Promise((resolve, reject) => client[method](request, (error, answer) => (error ? reject(error) : resolve(answer))));
  const placed = await call('CreateOrder', { order: { user_id, amount: '100' } });
  const watched = [];
  for await (const { order } of client.WatchOrder({ order_id: placed.id })) watched.push(order.status);
  const refused = await call('CancelOrder', { order_id: placed.id }).catch((error) => error);
  console.log(JSON.stringify({ placed: placed.status, watched, code: refused.code, reason: reason(refused) }));
  client.close();
}

main();
