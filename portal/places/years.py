"""School years: `2026-27` is July 2026 through June 2027. Labels in, dates out; the terms say when school is.

A school year has the same bounds as the district's business year, so that a summer belongs to one of them; the terms of
the set-up lie within.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from sqlmodel import Session

from portal.errors import NotFound
from portal.places import district

_LABEL = re.compile(r"(20\d\d)-(\d\d)\Z", re.ASCII)
_JULY = 7


@dataclass(frozen=True, slots=True)
class SchoolYear:
    """`first` and `last` are days of it."""

    label: str
    first: date
    last: date

    @property
    def before(self) -> str:
        return _label(self.first.year - 1)

    @property
    def after(self) -> str:
        return _label(self.first.year + 1)


def _label(begins: int) -> str:
    return f"{begins}-{(begins + 1) % 100:02}"


def read(label: str) -> SchoolYear:
    """Return the year of this label. Raises `NotFound` for a text that is none."""
    found = _LABEL.match(label)
    begins = int(found[1]) if found else 0
    if found is None or not 2001 <= begins <= 2097 or _label(begins) != label:
        raise NotFound(f"There is no school year {label[:20]!r}; write it like 2026-27.")
    return SchoolYear(label, date(begins, _JULY, 1), date(begins + 1, _JULY - 1, 30))


def current(session: Session, now: float) -> SchoolYear:
    today = district.today(session, now)
    return read(_label(today.year if today.month >= _JULY else today.year - 1))


def school_begins(session: Session, year: SchoolYear) -> date | None:
    """Return the first day of the first term of this year; None when the set-up names no term of it."""
    starts = [date.fromisoformat(term["starts_on"]) for term in district.get(session).terms]
    return min((day for day in starts if year.first <= day <= year.last), default=None)
