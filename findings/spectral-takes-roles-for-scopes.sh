#!/usr/bin/env bash
# Spectral 6.16: in OpenAPI 3.1 the roles of a bearer token are "not listed among scopes", which such a scheme has no place for.
#
# Guess: what 3.1 allows, the rules for OpenAPI (spectral:oas) allow. Section 4.8.30: for a security scheme that is neither oauth2 nor
#        openIdConnect "the array MAY contain a list of role names which are required for the execution".
# Seen:  oas3-operation-security-defined warns of each operation that names one, in 3.0, where that is right, and in 3.1 alike. Redocly's
#        recommended rules and openapi-spec-validator have nothing to say.
# When:  2026-11-30, @stoplight/spectral-cli 6.16.3, @redocly/cli 2.77.0.
# Why:   "scopes" are what most APIs with JWTs have, and a gate at 0 warnings makes people take them out of their documents, or call a scheme oauth2
#        that has no flows: switch the rule off where tokens are bearer tokens.
# Needs: Node.js 20 with npm.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @stoplight/spectral-cli@6.16.3 @redocly/cli@2.77.0
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
cat > document.json <<'JSON'
{"openapi": "3.1.0", "servers": [{"url": "https://api.example"}], "tags": [{"name": "a", "description": "a"}],
 "info": {"title": "a", "version": "1", "description": "a", "contact": {"name": "a"}, "license": {"name": "MIT", "identifier": "MIT"}},
 "paths": {"/a": {"get": {"operationId": "a", "summary": "a", "description": "a", "tags": ["a"], "security": [{"bearer": ["a:read"]}],
   "responses": {"200": {"description": "a"}, "4XX": {"description": "a"}}}}},
 "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}}}
JSON
echo 'extends: spectral:oas' > rules.yaml
node_modules/.bin/redocly lint --extends recommended document.json 2>&1 | grep -i 'valid' | tail -n 1
said=$(node_modules/.bin/spectral lint --ruleset rules.yaml --fail-severity hint document.json || true)
echo "$said"
grep -q 'oas3-operation-security-defined  "a:read" must be listed among scopes' <<< "$said"
grep -q '1 problem (0 errors, 1 warning' <<< "$said"
