#!/usr/bin/env bash
# @redocly/cli 2.77.0 (npm), `respect`: a condition of Arazzo in parentheses is never fulfilled, and text is compared with its case.
#
# Guess: `($statusCode == 200)` means what `$statusCode == 200` does, and `'new' == 'NEW'` is true: the operators of a simple condition have
#        "()" for grouping and "!" for "not", and "string comparisons MUST be case insensitive" (Arazzo 1.0.1, Criterion Object).
# Seen:  whatever has parentheses around a runtime expression is false, `($statusCode == 200)` and `!($statusCode == 500)` alike, without
#        a word that it could not be read; `lint` finds both documents valid, and also one whose operationId no description has. Text
#        differs when its case does, so that `$response.body#/status != 'new'` is fulfilled by a status `NEW`, and the workflow goes on.
# When:  2026-11-30. https://spec.openapis.org/arazzo/v1.0.1.html#criterion-object
# Why:   the workflow "paid or cancelled, and not 500" fails in CI against a service that does all of it, with an answer that looks right beside
#        a condition that looks right. In an action's criteria (`onSuccess`, `onFailure`) there is no failure to be seen: another step is taken.
#        One criterion for each part of an "and" needs no parentheses; `regex` and `jsonpath` criteria have rules of their own for the rest.
# Needs: npm with Node 20.
set -euo pipefail
work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @redocly/cli@2.77.0 >/dev/null
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
cat > server.mjs <<'NODE'
import http from 'node:http';
http.createServer((_request, answer) => {
  answer.setHeader('content-type', 'application/json');
  answer.end(JSON.stringify({ status: 'NEW' }));
}).listen(Number(process.argv[2]), '127.0.0.1');
NODE
node server.mjs "$port" & server=$!
cat > api.yaml <<YAML
openapi: 3.1.0
info: { title: orders, version: '1' }
servers: [ { url: 'http://127.0.0.1:$port' } ]
paths:
  /order:
    get:
      operationId: getOrder
      responses:
        '200':
          description: The order.
          content: { application/json: { schema: { type: object, properties: { status: { type: string } } } } }
YAML
document() {
  cat > "$1" <<YAML
arazzo: 1.0.1
info: { title: look, version: '1' }
sourceDescriptions: [ { name: api, url: ./api.yaml, type: openapi } ]
workflows:
  - workflowId: look
    steps:
      - stepId: read
        operationId: api.$2
        successCriteria:
          - condition: >-
              $3
YAML
}
verdict() { if "$@" >> "$work/output" 2>&1; then echo yes; else echo no; fi; }
seen=
number=0
judge() {
  number=$((number + 1))
  document "$number.arazzo.yaml" "$1" "$2"
  local line
  line="$2 | valid: $(verdict npx redocly lint --extends=spec "$number.arazzo.yaml") | fulfilled: $(verdict npx redocly respect "$number.arazzo.yaml")"
  echo "$1: $line"
  seen+="$line"$'\n'
}
judge getOrder '$statusCode == 200'
judge getOrder '($statusCode == 200)'
judge getOrder '!($statusCode == 500)'
judge getOrder "\$response.body#/status == 'OLD' || \$response.body#/status == 'NEW'"
judge getOrder "(\$response.body#/status == 'OLD' || \$response.body#/status == 'NEW')"
judge getOrder "\$response.body#/status == 'new'"
judge getOrder "\$response.body#/status != 'new'"
judge getOrderr '$statusCode == 200'
cat > expected <<'TEXT'
$statusCode == 200 | valid: yes | fulfilled: yes
($statusCode == 200) | valid: yes | fulfilled: no
!($statusCode == 500) | valid: yes | fulfilled: no
$response.body#/status == 'OLD' || $response.body#/status == 'NEW' | valid: yes | fulfilled: yes
($response.body#/status == 'OLD' || $response.body#/status == 'NEW') | valid: yes | fulfilled: no
$response.body#/status == 'new' | valid: yes | fulfilled: no
$response.body#/status != 'new' | valid: yes | fulfilled: yes
$statusCode == 200 | valid: yes | fulfilled: no
TEXT
diff expected <(printf %s "$seen") || { tail -n 40 "$work/output"; exit 1; }
