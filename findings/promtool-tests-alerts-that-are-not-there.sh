#!/usr/bin/env bash
# promtool 2.42 (Debian 12, prometheus): a test of an alert that does not exist is green, and so is one whose file of rules does not exist.
#
# Guess: `promtool test rules` fails when a test names an alert that no rule has, or when none of `rule_files` is there.
# Seen:  an alert that is not there does not fire, which is what a case with `exp_alerts: []` wants: SUCCESS and status 0, for a name with a
#        letter too few, and with the file of rules gone, about which there is a line of warning. A case without `exp_alerts` is the same.
# When:  2026-11-29.
# Why:   who renames an alert or moves its file keeps green tests for "does not fire" that test nothing; tests for "fires" do fail.
# Needs: promtool.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
promtool --version | head -1
echo 'groups: [{ name: g, rules: [{ alert: TargetDown, expr: up == 0 }] }]' >rules.yml

# test NAME RULES ALERT FIRES: what promtool says of a target that is down.
test_of() {
  local expected='[]'
  if [ "$4" = fires ]; then expected='[{ exp_labels: {} }]'; fi
  cat >"$1.yml" <<YAML
rule_files: [$2]
tests:
  - interval: 1m
    input_series: [{ series: up, values: 0x5 }]
    alert_rule_test: [{ alertname: $3, eval_time: 3m, exp_alerts: $expected }]
YAML
  local status=0
  promtool test rules "$1.yml" >"$1.out" 2>&1 || status=$?
  printf '%-32s status %s, %s\n' "$1" "$status" "$(grep -oE 'SUCCESS|FAILED' "$1.out")"
  return "$status"
}

test_of fires rules.yml TargetDown fires
if test_of is-not-silent rules.yml TargetDown silent; then exit 1; fi
if test_of misspelled-and-fires rules.yml TargetDwon fires; then exit 1; fi
test_of misspelled-and-silent rules.yml TargetDwon silent
test_of no-rules-and-silent gone.yml TargetDown silent
cat no-rules-and-silent.out
