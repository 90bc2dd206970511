#!/usr/bin/env bash
# grafana-foundation-sdk (PyPI, releases of 2026-01-29): what pip installs as the newest has the types of the oldest Grafana.
#
# Guess: `pip install grafana-foundation-sdk` brings the types of the newest Grafana that it knows.
# Seen:  each release is published once per version of Grafana, as `EPOCH!VERSION` with the time of publishing as the epoch (PEP 440), from
#        Grafana 11.6 down to 10.1. An epoch goes before everything, so the newest is 1769699998!10.1.0, three minutes younger than
#        1769699379!11.6.0. What 11 has added is dropped without a word when a dashboard is read and written: percentChangeColorMode of a stat.
# When:  2026-11-29. https://peps.python.org/pep-0440/#version-epochs
# Why:   who builds or checks dashboards with it does so for a Grafana of 2023, and `>=11` does not help: any epoch is above it. Only a
#        version with its epoch says which Grafana is meant.
# Needs: python3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
installs() { "$work/python/bin/pip" --quiet --disable-pip-version-check install "$1"; }
keeps() {
  "$work/python/bin/python" - <<'PYTHON'
import importlib.metadata, json
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()
stat = {"type": "stat", "title": "orders", "options": {"percentChangeColorMode": "inverted"}}
again = json.loads(json.dumps(Dashboard.from_json({"title": "mesh", "panels": [stat]}), cls=JSONEncoder))
kept = "percentChangeColorMode" in again["panels"][0]["options"]
print(importlib.metadata.version("grafana-foundation-sdk"), "keeps the option" if kept else "drops the option")
PYTHON
}

installs grafana-foundation-sdk
newest=$(keeps)
installs 'grafana-foundation-sdk>=11'
at_least=$(keeps)
installs 'grafana-foundation-sdk==1769699379!11.6.0'
named=$(keeps)
printf 'newest: %s\nat least 11: %s\nby its epoch: %s\n' "$newest" "$at_least" "$named"
[[ $newest == *'!10.1.0 drops'* && $at_least == *'!10.1.0 drops'* && $named == *'!11.6.0 keeps'* ]]
