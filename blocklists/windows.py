"""Windows: when a grant is in force, and when that may change next.

A window is `[starts_at, ends_at)`, cut by weekly hours in the district's zone. Hours follow the wall clock over
daylight-saving changes: 08:00–15:00 is 08:00–15:00 on the day the clocks change too.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from blocklists.policy import FOREVER, Window


def is_open(window: Window, now: float, zone: ZoneInfo) -> bool:
    """True when `now` (seconds since 1970) lies in the window."""
    if now < window.starts_at or (window.ends_at is not None and now >= window.ends_at):
        return False
    if not window.hours:
        return True
    local = _local(now, zone)
    minute = local.hour * 60 + local.minute
    day = local.weekday()
    return any(day in hours.days and hours.start <= minute < hours.end for hours in window.hours)


def next_change(window: Window, now: float, zone: ZoneInfo) -> float:
    """Return the first moment after `now` at which `is_open` may change, or FOREVER. Never later than the true one."""
    if window.ends_at is not None and now >= window.ends_at:
        return FOREVER
    if now < window.starts_at:
        return float(window.starts_at)
    end = FOREVER if window.ends_at is None else float(window.ends_at)
    if not window.hours:
        return end
    return min(end, _next_edge(window, now, zone))


def _next_edge(window: Window, now: float, zone: ZoneInfo) -> float:
    """The next start or end of weekly hours, or the next local midnight when today has none left.

    A midnight is a safe answer (the caller asks again then), so one day of look-ahead is enough.
    """
    local = _local(now, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    edges = [_at(midnight, 24 * 60)]
    for hours in window.hours:
        if local.weekday() in hours.days:
            edges += [_at(midnight, hours.start), _at(midnight, hours.end)]
    # An hour that the clock repeats makes the local edge happen twice: the offset's change is an edge of its own.
    edges += [_at(midnight, minute, fold=1) for hours in window.hours for minute in (hours.start, hours.end)]
    change = _offset_change(midnight, zone)
    if change is not None:
        edges.append(change)
    return min((edge for edge in edges if edge > now), default=now + 60)


def _local(now: float, zone: ZoneInfo) -> datetime:
    """The whole second that has begun. `fromtimestamp` rounds a fraction up, and would open a moment early."""
    return datetime.fromtimestamp(math.floor(now), zone)


def _at(midnight: datetime, minute: int, fold: int = 0) -> float:
    naive = midnight.replace(tzinfo=None) + timedelta(minutes=minute)
    return naive.replace(tzinfo=midnight.tzinfo, fold=fold).timestamp()


def _offset_change(midnight: datetime, zone: ZoneInfo) -> float | None:
    """The moment, on the local day that begins at `midnight`, at which the zone's offset changes; None without one."""
    low, high = int(midnight.timestamp()), int(_at(midnight, 24 * 60))

    def offset(moment: int) -> timedelta | None:
        return datetime.fromtimestamp(moment, zone).utcoffset()

    if offset(low) == offset(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if offset(middle) == offset(low):
            low = middle
        else:
            high = middle
    return float(high)
