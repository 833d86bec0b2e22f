"""Safe search and YouTube's restricted modes: which name is answered as which other one.

Data in `data/rewrites.toml`; each name stands for itself alone. Resolving the other name is the resolver's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from blocklists.policy import YouTube

GOOGLE = "forcesafesearch.google.com"


@cache
def rewrites(safe_search: bool, youtube: YouTube) -> Mapping[str, str]:
    """Return name -> the name that answers in its place, both canonical, for a group with these settings."""
    data = _data()
    found: dict[str, str] = {}
    if safe_search:
        found |= {f"www.google.{suffix}": GOOGLE for suffix in data["google"]}
        found |= {name: engine["target"] for engine in data["safe-search"] for name in engine["names"]}
    if youtube is not YouTube.OFF:
        found |= dict.fromkeys(data["youtube"]["names"], data["youtube"][youtube])
    return MappingProxyType(found)


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files("blocklists") / "data" / "rewrites.toml").read_text("utf-8"))
