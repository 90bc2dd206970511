#!/usr/bin/env bash
# @connectrpc/connect-node 2.2.0: a deadline of 28 hours over gRPC is one of 13 minutes at a server of @grpc/grpc-js 1.14.7, is refused by
# connect-node's own server, and one of 25 days is over at once, over Connect as well.
#
# Guess: a client whose deadline is a day and more says so in a larger unit, since `grpc-timeout` has 8 digits at most, and the server sees
#        what is left of it. The Connect protocol takes 10 digits of milliseconds, "more than 100 days".
# Seen:  the client always writes milliseconds, so that from 27.8 hours on there are 9 digits or more. grpc-js finds the last 8 of them:
#        `100800000m` is `00800000m` to it, 800 s, without an error on either side. connect-node answers INVALID_ARGUMENT. From 2^31 ms on the
#        client of connect-node gives up after a millisecond, because a timer of Node.js takes no longer time and fires at once; so does
#        the client of grpc-js, and a server of connect-node aborts the work of a call whose client, of whatever language, has asked for that.
# When:  2026-11-30. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (TimeoutValue), https://connectrpc.com/docs/protocol/
# Why:   who watches with a deadline of a day and a bit, so that nothing is left behind for ever, is cut off after minutes, or before
#        anything has begun; tests with seconds or hours do not show it. Deadlines below 27 hours are right everywhere, and so is none at all.
# Needs: npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @connectrpc/connect@2.2.0 @connectrpc/connect-node@2.2.0 @bufbuild/protobuf@2.17.0 \
  @grpc/grpc-js@1.14.7 >/dev/null
cat > deadlines.mjs <<'NODE'
import assert from 'node:assert';
import http2 from 'node:http2';
import { create, createFileRegistry } from '@bufbuild/protobuf';
import { file_google_protobuf_empty as empty, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import grpc from '@grpc/grpc-js';

const file = create(FileDescriptorProtoSchema, {
  name: 'shop.proto',
  package: 'shop',
  syntax: 'proto3',
  dependency: [empty.proto.name],
  service: [{ name: 'Orders', method: [{ name: 'Watch', inputType: '.google.protobuf.Empty', outputType: '.google.protobuf.Empty' }] }],
});
const Orders = createFileRegistry(file, (name) => (name === empty.proto.name ? empty : undefined)).getService('shop.Orders');

// Each server notes what is left of the deadline when the call comes, and whether the call is aborted while it works for 100 ms.
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const work = () => new Promise((turn) => setTimeout(turn, 100));
let seen;
const handler = async (_request, context) => {
  const left = context.timeoutMs();
  await work();
  seen = { left, aborted: context.signal.aborted };
  return {};
};
const connectNode = http2.createServer(connectNodeAdapter({ routes: (router) => router.service(Orders, { watch: handler }) }));
const connectPort = await new Promise((done) => connectNode.listen(0, '127.0.0.1', () => done(connectNode.address().port)));

const none = () => Buffer.alloc(0);
const codec = { requestSerialize: none, requestDeserialize: none, responseSerialize: none, responseDeserialize: none };
const grpcJs = new grpc.Server();
grpcJs.addService({ watch: { path: '/shop.Orders/Watch', requestStream: false, responseStream: false, ...codec } }, {
  watch: async (call, answer) => {
    const left = call.getDeadline() - Date.now();
    await work();
    seen = { left, aborted: call.cancelled };
    answer(null, none());
  },
});
const grpcPort = await new Promise((done, failed) =>
  grpcJs.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => (error ? failed(error) : done(port))),
);

const ofConnectEs = (transport) => async (timeoutMs) => {
  try {
    await createClient(Orders, transport).watch({}, { timeoutMs });
    return 'OK';
  } catch (error) {
    return Code[error.code];
  }
};
const ofGrpcJs = (port) => {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  return (timeoutMs) =>
    new Promise((done) =>
      client.makeUnaryRequest('/shop.Orders/Watch', none, none, {}, new grpc.Metadata(), { deadline: Date.now() + timeoutMs }, (error) =>
        done(error ? grpc.status[error.code] : 'OK'),
      ),
    );
};
const byHand = (timeoutMs) =>
  new Promise((done) => {
    const session = http2.connect(`http://127.0.0.1:${connectPort}`);
    const headers = { ':method': 'POST', ':path': '/shop.Orders/Watch', 'content-type': 'application/json', 'connect-timeout-ms': `${timeoutMs}` };
    const stream = session.request(headers);
    stream.on('response', (answer) => done(answer[':status'] === 200 ? 'OK' : `HTTP ${answer[':status']}`));
    stream.on('close', () => session.close());
    stream.resume();
    stream.end('{}');
  });
const calls = {
  'connect-es, gRPC, to grpc-js': ofConnectEs(createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpcPort}` })),
  'connect-es, gRPC, to connect-node': ofConnectEs(createGrpcTransport({ baseUrl: `http://127.0.0.1:${connectPort}` })),
  'connect-es, Connect, to connect-node': ofConnectEs(createConnectTransport({ baseUrl: `http://127.0.0.1:${connectPort}`, httpVersion: '2' })),
  'grpc-js to grpc-js': ofGrpcJs(grpcPort),
  'by hand, Connect, to connect-node': byHand,
};
const found = {};
for (const [name, call] of Object.entries(calls)) {
  found[name] = {};
  for (const hours of [27, 28, 25 * 24]) {
    seen = undefined;
    const status = await call(hours * HOUR);
    const given = hours * HOUR;
    const left = seen && (Math.abs(seen.left - given) < MINUTE ? 'all of it is left' : `${Math.round(seen.left / MINUTE)} min are left`);
    found[name][`${hours} h`] = status === 'OK' ? `${status}: ${left}${seen.aborted ? ', and it is aborted' : ''}` : status;
    // A call that its client has given up may still be at work, and would note what the next one looks for.
    await work();
    await work();
  }
}
console.log(found);
const right = 'OK: all of it is left';
assert.deepEqual(found, {
  'connect-es, gRPC, to grpc-js': { '27 h': right, '28 h': 'OK: 13 min are left', '600 h': 'DeadlineExceeded' },
  'connect-es, gRPC, to connect-node': { '27 h': right, '28 h': 'InvalidArgument', '600 h': 'DeadlineExceeded' },
  'connect-es, Connect, to connect-node': { '27 h': right, '28 h': right, '600 h': 'DeadlineExceeded' },
  'grpc-js to grpc-js': { '27 h': right, '28 h': right, '600 h': 'DEADLINE_EXCEEDED' },
  'by hand, Connect, to connect-node': { '27 h': right, '28 h': right, '600 h': `${right}, and it is aborted` },
});
process.exit(0);
NODE
node --no-warnings deadlines.mjs
