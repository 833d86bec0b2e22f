"""The order in which people look for names: *School 2* before *School 10*, whatever the case."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"([0-9]{1,18})")


def order(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return what `sorted` compares: runs of digits as numbers, before letters; equal ones as they are written."""
    parts = (part for part in _NUMBER.split(name.casefold()) if part)
    return tuple((0, int(part), "") if _NUMBER.fullmatch(part) else (1, 0, part) for part in parts), name
