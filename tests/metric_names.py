"""The names of `docs/metrics.md`, and those that a scrape gave."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

DOCUMENT = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
NODE_SECTION, PORTAL_SECTION = re.split(r"^## ", DOCUMENT, flags=re.M)[1:3]


def names_in(text: str) -> set[str]:
    """The names in the first columns of a document's tables."""
    return set(re.findall(r"^\| `(schoolgate_[a-z_]+)`", text, re.M))


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a scrape, by its name and its labels in order."""
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def exported(text: str) -> set[str]:
    """The names of a scrape's families, as a question to Prometheus has them; a histogram's parts are one."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
    }
