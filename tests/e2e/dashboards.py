"""Reads deploy/grafana and deploy/prometheus by what shares no code with ours: Grafana's own types, and a parser of PromQL.

Prints JSON: `problems` of the dashboards, every query with the metrics that it takes and the labels that it needs of them, and what is known of
the alerts and of their tests.
"""

import enum
import json
import pathlib
import re
import sys
import types
import typing

import promql_parser as promql
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

# What Grafana puts in for its variables.
VARIABLES = {"$job": "ordermesh", "$__rate_interval": "1m"}
# Annotations are the data source's, whose fields Grafana's own types do not have (AnnotationQuery of its plugin for Prometheus).
OF_PLUGIN = {"$.annotations.list[0].titleFormat", "$.annotations.list[0].textFormat", "$.annotations.list[0].step"}
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


def selectors(expression, needed=frozenset()):
    """Each metric of an expression: (name, matchers as PromQL, labels that have to be on it). `needed` is what the expression around asks of
    the labels of its series."""
    match expression:
        case promql.VectorSelector():
            matchers = expression.matchers.matchers
            names = frozenset(matcher.name for matcher in matchers)
            yield expression.name, str(expression).removesuffix("{}"), needed | names
        case promql.MatrixSelector():
            yield from selectors(expression.vector_selector, needed)
        case promql.AggregateExpr():
            yield from selectors(expression.expr, grouped(expression, needed))
        case promql.Call():
            yield from call(expression, needed)
        case promql.BinaryExpr():
            yield from binary(expression, needed)
        case promql.ParenExpr() | promql.SubqueryExpr() | promql.UnaryExpr():
            yield from selectors(expression.expr, needed)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise ValueError(f"{type(expression).__name__} is not known: {expression}")


def grouped(aggregation, needed):
    """What an aggregation asks of the series that it aggregates."""
    if aggregation.modifier is None:
        labels, is_by = frozenset(), True
    else:
        labels = frozenset(aggregation.modifier.labels)
        is_by = aggregation.modifier.type == promql.AggModifierType.By
    if is_by and not needed <= labels:
        raise ValueError(f"{sorted(needed - labels)} do not survive {aggregation}")
    return labels if is_by else needed | labels


def call(expression, needed):
    name, args = expression.func.name, expression.args
    if name == "label_replace":
        _, made, _, source, _ = (getattr(arg, "val", None) for arg in args)
        yield from selectors(args[0], (needed - {made}) | {source})
    elif name == "histogram_quantile":
        yield from selectors(args[1], needed | {"le"})
    elif name == "absent":
        # It has the labels of its matchers, and only while there is no series.
        yield from selectors(args[0])
    else:
        for arg in args:
            yield from selectors(arg, needed)


def binary(expression, needed):
    matching = expression.modifier.matching if expression.modifier else None
    on = frozenset(matching.labels) if matching and str(expression.modifier).startswith("on") else frozenset()
    yield from selectors(expression.lhs, needed | on)
    # Of what is only compared with the left side nobody sees labels.
    is_seen = str(expression.op) == "or"
    yield from selectors(expression.rhs, (needed if is_seen else frozenset()) | on)


def query(where, text, needed):
    """A query, with the labels that its legend or its texts name."""
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    if "$" in re.sub(r'"[^"]*"', "", text):
        raise ValueError(f"{where}: a variable that is not known: {text}")
    try:
        found = list(selectors(promql.parse(text), frozenset(needed)))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    series = [{"metric": metric, "selector": selector, "labels": sorted(labels)} for metric, selector, labels in found]
    return {"where": where, "expression": text, "selectors": series}


def misfits(value, hint, path):
    """Where a value is not of the type that it should have, by the annotations of Grafana's types."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return
        tries = [list(misfits(value, one, path)) for one in inner if one is not type(None)]
        if all(tries):
            yield from min(tries, key=len)
        return
    elif origin is list:
        for at, one in enumerate(value if isinstance(value, list) else [value]):
            yield from misfits(one, inner[0], f"{path}[{at}]")
    elif origin is dict:
        for key, one in value.items() if isinstance(value, dict) else ():
            yield from misfits(one, inner[1], f"{path}.{key}")
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{path}: {value!r} is none of {inner}"
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [one.value for one in hint]:
            yield f"{path}: {value!r} is none of {[one.value for one in hint]}"
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{path}: {value!r} is no number"
    elif isinstance(value, dict) and hasattr(hint, "from_json"):
        value = hint.from_json(value)
    elif isinstance(hint, type) and hint is not object:
        if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
            yield f"{path}: {value!r} is no {hint.__name__}"
    if type(value).__module__.startswith("grafana_foundation_sdk"):
        for name, of in typing.get_type_hints(type(value)).items():
            yield from misfits(getattr(value, name), of, f"{path}.{name}")


def lost(given, known, path):
    """What Grafana's types do not know of what is given: it is not there when they write it."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key not in known:
                if f"{path}.{key}" not in OF_PLUGIN:
                    yield f"{path}.{key} is not known"
            else:
                yield from lost(value, known[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        for at, (one, other) in enumerate(zip(given, known)):
            yield from lost(one, other, f"{path}[{at}]")
    elif given != known:
        yield f"{path}: {given!r} is taken for {known!r}"


def conventions(dashboard, file):
    """What holds for ours beyond Grafana's types."""
    if dashboard.get("id") is not None or dashboard["uid"] != file.stem:
        yield "its uid is not the name of its file, or it has the id of one Grafana"
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    if variables["datasource"]["type"] != "datasource" or variables["datasource"]["query"] != "prometheus":
        yield "it has no variable for its data source"
    if uids := set(re.findall(r'"uid": "([^"]*)"', json.dumps(dashboard))) - {"${datasource}", dashboard["uid"]}:
        yield f"data sources by their uids: {uids}"
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    for name, values in {"ids": [panel["id"] for panel in dashboard["panels"]], "titles": [panel["title"] for panel in panels]}.items():
        if len(values) != len(set(values)):
            yield f"{name} of panels that are not unique"
    for panel in panels:
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if not panel.get("title") or unit not in UNITS:
            yield f"{panel.get('title')!r} has no title, or no unit that Grafana knows: {unit!r}"
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        if any(source != {"type": "prometheus", "uid": "${datasource}"} for source in sources):
            yield f"{panel['title']!r} does not take the variable for its data source"
        if not panel["targets"]:
            yield f"{panel['title']!r} asks nothing"


def overlaps(dashboard):
    places = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            yield f"{panel['title']!r} is wider than the page"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if other := places.setdefault((x, y), panel["title"]):
                    if other != panel["title"]:
                        yield f"{panel['title']!r} lies on {other!r}"
                        return


def problems(file, dashboard):
    known = Dashboard.from_json(dashboard)
    again = json.loads(json.dumps(known, cls=JSONEncoder))
    found = [*lost(dashboard, again, "$"), *misfits(known, Dashboard, "$"), *conventions(dashboard, file), *overlaps(dashboard)]
    return [f"{file.name}: {problem}" for problem in found]


def queries_of_dashboard(file, dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            legend = re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"])
            yield query(f"{file.name}: {panel['title']}", target["expr"], legend)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()
            yield query(f"{file.name}: ${variable['name']}", metric, [label])
    for annotation in dashboard["annotations"]["list"]:
        yield query(f"{file.name}: {annotation['name']}", annotation["expr"], [])


def queries_of_rules(rules):
    for rule in rules:
        texts = " ".join(rule.get("annotations", {}).values())
        yield query(rule.get("alert") or rule["record"], rule["expr"], re.findall(r"\$labels\.(\w+)", texts))


def main(deploy):
    register_default_plugins()
    dashboards = {file: json.loads(file.read_text()) for file in sorted((deploy / "grafana").glob("*.json"))}
    groups = yaml.safe_load((deploy / "prometheus/rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    tests = yaml.safe_load((deploy / "prometheus/rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    queries = [found for file, dashboard in dashboards.items() for found in queries_of_dashboard(file, dashboard)]
    alerts = [
        {
            "name": rule["alert"],
            "severity": rule["labels"]["severity"],
            "runbook": rule["annotations"]["runbook_url"],
            "fires": sum(case["alertname"] == rule["alert"] and bool(case["exp_alerts"]) for case in cases),
            "is_silent": sum(case["alertname"] == rule["alert"] and not case["exp_alerts"] for case in cases),
        }
        for rule in rules
        if "alert" in rule
    ]
    # promtool takes it for silent.
    unknown = {case["alertname"] for case in cases} - {alert["name"] for alert in alerts}
    found = {
        "problems": [f"there is no alert {name}" for name in sorted(unknown)]
        + [problem for file, dashboard in dashboards.items() for problem in problems(file, dashboard)],
        "panels": queries,
        "rules": list(queries_of_rules(rules)),
        "alerts": alerts,
    }
    json.dump(found, sys.stdout)


main(pathlib.Path(sys.argv[1]))
