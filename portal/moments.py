"""Moments: what people type in the district's zone, as seconds since 1970; and back, as people say them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_YEARS = range(2000, 2100)


class BadMoment(ValueError):
    """Text that is no moment. The message is a sentence for the person."""


def parse(text: str, zone: ZoneInfo, end: bool = False) -> int:
    """Return the seconds of `2026-03-04` (the day's first moment; as an `end`, the first moment after it),
    `2026-03-04T08:00` in `zone`, or a time with an offset. Raises `BadMoment`."""
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadMoment(f"{text[:40]!r} is not a date or time; write 2026-03-04 or 2026-03-04T08:00") from None
    if _DAY.match(text):
        return day(moment.date(), zone, end)
    if moment.year not in _YEARS:
        raise BadMoment(f"{text[:40]!r}: that year is not meant")
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp())


def day(value: date, zone: ZoneInfo, end: bool = False) -> int:
    """Return the first moment of a local day; as an `end`, that of the next day. Raises `BadMoment`."""
    if value.year not in _YEARS:
        raise BadMoment(f"{value.isoformat()}: that year is not meant")
    value += timedelta(days=1 if end else 0)
    return int(datetime(value.year, value.month, value.day, tzinfo=zone).timestamp())


def words(at: int, now: float, zone: ZoneInfo) -> str:
    """Return `at 10:42 CST` for a moment of today, else `on 4 March 2026 at 10:42 CST`."""
    local, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone).date()
    if local.date() == today:
        return f"at {local:%H:%M %Z}"
    return f"on {local.day} {local:%B %Y} at {local:%H:%M %Z}"


def iso(at: int, zone: ZoneInfo) -> str:
    """Return RFC 3339 with the zone's offset at that moment."""
    return datetime.fromtimestamp(at, zone).isoformat()


def clock(text: str) -> int:
    """Return the minute of the day of `HH:MM`, 0 to 1440. Raises `BadMoment`."""
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", text.strip())
    minute = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else -1
    if not 0 <= minute <= 24 * 60:
        raise BadMoment(f"{text[:20]!r} is not a time of day; write it like 08:15")
    return minute
