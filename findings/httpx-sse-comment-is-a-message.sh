#!/usr/bin/env bash
# httpx-sse 0.4.3: once an event had an id, a comment with an empty line behind it is delivered as an empty message.
#
# Guess: `: heartbeat` and an empty line, the usual way to keep a stream of server-sent events alive, delivers nothing: WHATWG HTML, section
#        9.2.6, passes over comments, and dispatches no event whose data is empty.
# Seen:  after the first `id:` each such heartbeat is an event `message` with empty data and the id of the event before it; so is an
#        `id:` or `retry:` alone. A comment line without the empty line delivers nothing.
# When:  2026-11-29.
# Why:   consumers that decode the data of each event as JSON fail at the first silence of the stream, and not before it.
# Needs: python3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1 httpx-sse==0.4.3
"$work/venv/bin/python" - <<'PYTHON'
import httpx
import httpx_sse


class Stream(httpx.SyncByteStream):
    def __init__(self, text):
        self.text = text

    def __iter__(self):
        yield self.text


def events(first, between):
    text = first + between + b"data: b\n\n"
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Stream(text))
    return [event.data for event in httpx_sse.EventSource(response).iter_sse()]


seen = {
    "comment and empty line, without an id before": events(b"data: a\n\n", b": heartbeat\n\n"),
    "comment and empty line, after an id": events(b"id: 1\ndata: a\n\n", b": heartbeat\n\n"),
    "comment alone, after an id": events(b"id: 1\ndata: a\n\n", b": heartbeat\n"),
}
for name, data in seen.items():
    print(f"{name}: {data}")
assert list(seen.values()) == [["a", "b"], ["a", "", "b"], ["a", "b"]], "the behaviour has changed"
PYTHON
