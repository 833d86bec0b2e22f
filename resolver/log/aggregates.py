"""What a node tells its portal of what it counted: `sight.json` in the shape of `blocklists.exchange`. No client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blocklists.exchange import (
    MAX_CATEGORIES,
    MAX_USED,
    AskedDay,
    AskedName,
    CategoryCount,
    GrantUse,
    GroupHour,
    MinuteCount,
    Sight,
)
from resolver.log import tally, use


def sight(state: Path, *, groups: bool, used: int | None = None) -> Sight | None:
    """Return the counts of the node whose state folder this is; None when there are none. `groups`: by group, too.
    `used`: and the names of grants in use, from the piece of this number on."""
    plain = tally.read(state)
    if plain is None:
        return None
    try:
        return Sight(
            minutes=[MinuteCount(at=at, queries=queries, blocked=blocked) for at, queries, blocked in plain["minutes"]],
            groups=[_group(row) for row in plain["hours"]] if groups else [],
            asked=_asked(plain.get("asked")) if groups else None,
            used=None if used is None else _used(state, used),
        )
    except (ValidationError, KeyError, TypeError, ValueError):
        return None


def _asked(plain: dict[str, Any] | None) -> AskedDay | None:
    if plain is None:
        return None
    found = [AskedName(name=name, permille=permille) for name, permille in plain["names"]]
    return AskedDay(day=plain["day"], names=found)


def _used(state: Path, piece: int) -> list[GrantUse] | None:
    """All of them come round, `MAX_USED` at a time."""
    if (rows := use.read(state)) is None:
        return None
    start = piece % max(1, -(-len(rows) // MAX_USED)) * MAX_USED
    found = sorted(rows)[start : start + MAX_USED]
    return [GrantUse(grant=grant, entry=entry, day=day) for grant, entry, day in found]


def _group(row: dict[str, object]) -> GroupHour:
    categories = row["categories"]
    assert isinstance(categories, list)
    most = sorted(categories, key=lambda one: -int(one[1]))[:MAX_CATEGORIES]
    counted = [CategoryCount(category=name, blocked=count, devices=devices) for name, count, devices in most]
    return GroupHour.model_validate({**row, "categories": counted})
