"""Pictures of a node's last half hour: plain SVG polygons, made from its counts by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blocklists.exchange import MinuteCount
from portal.pages import words

MINUTES = 30
WIDTH, HEIGHT = 600, 120  # of a chart, in its own units


@dataclass(frozen=True, slots=True)
class Chart:
    """Two polygons over the last half hour, oldest minute left; `peak` is what the top line stands for."""

    queries: str
    blocked: str
    peak: int
    about: str


def rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def full(minutes: Sequence[MinuteCount], now: float) -> list[tuple[int, int]]:
    """Return queries and blocked of the last `MINUTES` minutes, the present one last; minutes without a word are 0."""
    known = {one.at: (one.queries, one.blocked) for one in minutes}
    last = int(now) // 60 * 60
    return [known.get(last - 60 * back, (0, 0)) for back in range(MINUTES - 1, -1, -1)]


def chart(minutes: Sequence[tuple[int, int]]) -> Chart:
    """Return the picture of whole minutes; the present one, which is not over, is left out."""
    whole = list(minutes)[:-1]
    peak = max(1, *(queries for queries, _ in whole))
    total, blocked = sum(queries for queries, _ in whole), sum(blocked for _, blocked in whole)
    return Chart(
        _polygon([queries for queries, _ in whole], peak),
        _polygon([blocked for _, blocked in whole], peak),
        peak,
        f"{words.count(total, 'question')} in the last half hour, {blocked:,} of them blocked; "
        f"at most {peak:,} in a minute",
    )


def _polygon(values: Sequence[int], peak: int) -> str:
    step = WIDTH / max(1, len(values) - 1)
    line = [f"{round(at * step)},{round(HEIGHT - value / peak * HEIGHT)}" for at, value in enumerate(values)]
    return " ".join((f"0,{HEIGHT}", *line, f"{WIDTH},{HEIGHT}"))
