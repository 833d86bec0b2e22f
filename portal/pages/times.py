"""Moments and dates as pages show them: in the district's zone, with the zone named. Pure; the zone is handed in."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup

_NBSP = "\u00a0"


def moment(seconds: float, zone: ZoneInfo) -> str:
    """Return `Sep 3, 2026, 2:05 PM CDT`. Lines break between the day and the hour only."""
    local = datetime.fromtimestamp(seconds, zone)
    hour = f"{local.hour % 12 or 12}:{local:%M %p} {local.tzname()}"
    return f"{local:%b} {local.day}, {local.year}, ".replace(" ", _NBSP, 2) + hour.replace(" ", _NBSP)


def when(seconds: float | None, zone: ZoneInfo) -> Markup:
    """Return a `<time>` element for a moment; a dash for none."""
    if seconds is None:
        return Markup("—")
    return _element(seconds, zone, moment(seconds, zone))


def day(iso: str) -> Markup:
    """Return a `<time>` element for an ISO date: `Thu, Sep 3, 2026`. Text that is no date is shown as it is."""
    try:
        parsed = date.fromisoformat(iso)
    except ValueError:
        return Markup("{}").format(iso)
    return Markup('<time datetime="{}">{}</time>').format(iso, _day_text(parsed))


def age(seconds: float) -> str:
    """Return how long something has lasted, in one unit: `3 minutes`, `5 hours`, `12 days`."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if whole >= size:
            number = whole // size
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "less than a minute"


def lasted(ms: int) -> str:
    """Return a delay as it is said beside "in force": `38 ms`, `2.4 s`, `3 minutes`."""
    if ms < 1_000:
        return f"{ms} ms"
    return f"{ms / 1000:.1f} s" if ms < 60_000 else age(ms / 1000)


def clock(minute: int) -> str:
    """Return a minute of the day as an `<input type=time>` holds it: `08:30`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _midnight(local: datetime) -> bool:
    return (local.hour, local.minute, local.second) == (0, 0, 0)


def since_text(seconds: float, zone: ZoneInfo) -> str:
    """Return a start: the day alone when it is the day's first moment."""
    local = datetime.fromtimestamp(seconds, zone)
    return _day_text(local.date()) if _midnight(local) else moment(seconds, zone)


def until_text(seconds: float, zone: ZoneInfo) -> str:
    """Return an end: windows are half-open, so midnight is the end of the day before, and is said so."""
    local = datetime.fromtimestamp(seconds, zone)
    if _midnight(local):
        return f"the end of {_day_text((local - timedelta(days=1)).date())}"
    return moment(seconds, zone)


def since(seconds: float | None, zone: ZoneInfo) -> Markup:
    return Markup("—") if seconds is None else _element(seconds, zone, since_text(seconds, zone))


def until(seconds: float | None, zone: ZoneInfo) -> Markup:
    return Markup("no end") if seconds is None else _element(seconds, zone, until_text(seconds, zone))


def _element(seconds: float, zone: ZoneInfo, text: str) -> Markup:
    stamp = datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(stamp, text)


def _day_text(day: date) -> str:
    return f"{day:%a}, " + f"{day:%b} {day.day}, {day.year}".replace(" ", _NBSP)


def day_words(iso: str) -> str:
    """Return the words of `day` as plain text."""
    return str(day(iso).striptags()) or "no day yet"
