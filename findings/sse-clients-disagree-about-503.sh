#!/usr/bin/env bash
# Clients for server-sent events disagree about a 503 to a reconnect, and about a stream that ends: eventsource 5.1.5, eventsource-client 1.2.0,
# launchdarkly-eventsource 2.2.0, @microsoft/fetch-event-source 2.0.1.
#
# Guess: all of them do as WHATWG HTML, section 9.2.3, says: connect again when a stream ends, stop for good at 204 and at every other
#        status than 200.
# Seen:  at 204 all stop. At 503 eventsource stops for good, eventsource-client and launchdarkly-eventsource go on, as often as `retry` says and
#        without backing off. fetch-event-source never connects again after an orderly end, whatever the answer would be.
# When:  2026-11-29.
# Why:   a server that restarts must answer 200 with an event of its own to keep the first kind alive, has the second kind call ten times a
#        second at `retry: 100`, and loses the third kind with each orderly shutdown.
# Needs: node 20, npm.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error --save-exact eventsource@5.1.5 eventsource-client@1.2.0 \
  launchdarkly-eventsource@2.2.0 @microsoft/fetch-event-source@2.0.1 >/dev/null
cat > clients.mjs <<'NODE'
import assert from 'node:assert';
import http from 'node:http';
import { EventSource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import launchdarkly from 'launchdarkly-eventsource';

const calls = {};
const server = http.createServer((request, response) => {
  const [, client, status] = request.url.split('/');
  const first = !(calls[request.url] ?? 0);
  calls[request.url] = (calls[request.url] ?? 0) + 1;
  if (first || status === '200') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(first ? 'retry: 100\nid: 1\ndata: a\n\n' : 'data: b\n\n');
  } else {
    response.writeHead(Number(status));
    response.end();
  }
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const base = `http://127.0.0.1:${server.address().port}`;

// fetch-event-source is made for pages.
globalThis.window = { setTimeout, clearTimeout, fetch };
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import('@microsoft/fetch-event-source');

for (const status of [200, 204, 503]) {
  new EventSource(`${base}/eventsource/${status}`).onerror = () => {};
  createEventSource({ url: `${base}/eventsource-client/${status}`, onMessage() {} });
  new launchdarkly.EventSource(`${base}/launchdarkly-eventsource/${status}`, { initialRetryDelayMillis: 100 }).onerror = () => {};
  fetchEventSource(`${base}/fetch-event-source/${status}`, { onerror() {} }).catch(() => {});
}

// Ten calls of whoever goes on: whoever stops has stopped by then.
const goesOn = () => calls['/eventsource/200'] >= 10;
const deadline = Date.now() + 30_000;
while (!goesOn() && Date.now() < deadline) await new Promise((turn) => setTimeout(turn, 50));
console.log(calls);
const after = (client, status) => (calls[`/${client}/${status}`] > 3 ? 'goes on' : `stops after ${calls[`/${client}/${status}`]}`);
const seen = Object.fromEntries(
  ['eventsource', 'eventsource-client', 'launchdarkly-eventsource', 'fetch-event-source'].map((client) => [
    client,
    [200, 204, 503].map((status) => after(client, status)),
  ]),
);
console.log(seen);
assert.deepEqual(seen, {
  eventsource: ['goes on', 'stops after 2', 'stops after 2'],
  'eventsource-client': ['goes on', 'stops after 2', 'goes on'],
  'launchdarkly-eventsource': ['goes on', 'stops after 2', 'goes on'],
  'fetch-event-source': ['stops after 1', 'stops after 1', 'stops after 1'],
});
process.exit(0);
NODE
node clients.mjs
