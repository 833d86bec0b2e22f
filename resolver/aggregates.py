"""What a node tells its portal of what it counted: `sight.json` in the shape of `blocklists.exchange`. No client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blocklists.exchange import MAX_CATEGORIES, AskedDay, AskedName, CategoryCount, GroupHour, MinuteCount, Sight
from resolver import tally


def sight(state: Path, *, groups: bool) -> Sight | None:
    """Return the counts of the node whose state folder this is; None when there are none. `groups`: by group, too."""
    plain = tally.read(state)
    if plain is None:
        return None
    try:
        return Sight(
            minutes=[MinuteCount(at=at, queries=queries, blocked=blocked) for at, queries, blocked in plain["minutes"]],
            groups=[_group(row) for row in plain["hours"]] if groups else [],
            asked=_asked(plain.get("asked")) if groups else None,
        )
    except (ValidationError, KeyError, TypeError, ValueError):
        return None


def _asked(plain: dict[str, Any] | None) -> AskedDay | None:
    if plain is None:
        return None
    found = [AskedName(name=name, permille=permille) for name, permille in plain["names"]]
    return AskedDay(day=plain["day"], names=found)


def _group(row: dict[str, object]) -> GroupHour:
    categories = row["categories"]
    assert isinstance(categories, list)
    most = sorted(categories, key=lambda one: -int(one[1]))[:MAX_CATEGORIES]
    counted = [CategoryCount(category=name, blocked=count, devices=devices) for name, count, devices in most]
    return GroupHour.model_validate({**row, "categories": counted})
