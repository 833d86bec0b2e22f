"""The dashboard in `deploy/examples/grafana`: read by Grafana's own model of a dashboard and by a reader of PromQL.

Grafana itself is not installed here: what is checked is that its model (generated from its schema) keeps every field,
and that every question can be read and asks only for names and labels that are documented, and so exported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.metric_names import DOCUMENT

PLAIN = json.loads((Path(__file__).parents[2] / "deploy" / "examples" / "grafana" / "schoolgate.json").read_text())
GIVEN = {"instance", "job"}  # by Prometheus, to every sample


def documented() -> dict[str, set[str]]:
    """The labels of every documented name; a histogram's is that of its buckets too."""
    found = {}
    for name, labels in re.findall(r"^\| `(schoolgate_\w+)`[ *]*\|([^|]*)\|", DOCUMENT, re.M):
        found[name] = found[f"{name}_bucket"] = set(labels.replace(",", " ").split())
    return found


def unknown(given: Any, kept: Any, where: str = "") -> Iterator[str]:
    """What of `given` is not in `kept`."""
    if isinstance(given, dict):
        for key, value in given.items():
            yield from unknown(value, kept[key], f"{where}.{key}") if key in kept else [f"{where}.{key}"]
    elif isinstance(given, list):
        assert len(given) == len(kept)
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from unknown(one, other, f"{where}[{number}]")
    elif given != kept:
        yield where


def walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(node, name, None)) is not None:
            yield from walk(inner)
    for one in getattr(node, "args", None) or ():
        yield from walk(one)


def test_grafana_s_own_model_keeps_every_field_of_the_dashboard() -> None:
    plugins.register_default_plugins()
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(PLAIN)))
    assert list(unknown(PLAIN, kept)) == []
    assert list(unknown({**PLAIN, "pannels": []}, kept)) == [".pannels"]
    assert len({panel["title"] for panel in PLAIN["panels"]}) == len(PLAIN["panels"])


def test_every_question_can_be_read_and_asks_for_documented_names_and_labels_only() -> None:
    known = documented()
    asked: set[str] = set()
    for expression in [target["expr"] for panel in PLAIN["panels"] for target in panel["targets"]]:
        nodes = list(walk(promql_parser.parse(expression)))
        selectors = [one for one in nodes if isinstance(one, promql_parser.VectorSelector)]
        assert selectors, expression
        labels = {matcher.name for one in selectors for matcher in one.matchers.matchers}
        labels |= {label for one in nodes for label in getattr(getattr(one, "modifier", None), "labels", ())}
        allowed = set.intersection(*(known[one.name] for one in selectors)) | GIVEN
        assert labels <= allowed, f"{expression}: {labels - allowed}"
        asked |= {str(one.name) for one in selectors}
    for wanted in ("verdicts", "queries", "transport_queries", "cache_hits", "upstream_failures"):
        assert f"schoolgate_{wanted}_total" in asked
    assert {"schoolgate_policy_version", "schoolgate_upstream_wait_seconds_bucket"} <= asked
