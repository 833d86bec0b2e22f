"""Traffic: what each resolver is asked, at a glance. Signals: where devices try to go round the filter, by building.

Counts only, from the resolvers' own heartbeats, and none over fewer than five devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from blocklists.exchange import MinuteCount, NodeStatus
from portal import access, delivery, sight
from portal.access import Actor
from portal.pages import cards, frame, streams, words
from portal.pages.web import PersonVisit
from portal.sight import DAY, Counts

router = APIRouter()

MINUTES = 30
WIDTH, HEIGHT = 600, 120  # of a chart, in its own units
DAYS = {"1": DAY, "7": 7 * DAY, "30": 30 * DAY}


@dataclass(frozen=True, slots=True)
class Chart:
    """Two polygons over the last half hour, oldest minute left; `peak` is what the top line stands for."""

    queries: str
    blocked: str
    peak: int
    about: str


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    rate: str
    share: str
    cached: str
    hidden: bool
    chart: Chart | None
    top: tuple[tuple[str, int, int], ...]  # category, blocked, width of its bar in percent


@router.get("/traffic")
def page(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        nodes = _nodes(session, visit.actor, visit.now)
        return visit.page(
            session, "traffic/nodes.html", nodes=nodes, live=frame.live("/traffic/events", nodes), minutes=MINUTES
        )


@router.get("/traffic/events")
def events(visit: PersonVisit) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: frame.fingerprint(_nodes(session, actor, now)))


@router.get("/signals")
def signals(visit: PersonVisit, days: str = "1") -> Response:
    days = days if days in DAYS else "1"
    with visit.reading() as session:
        found = sight.buildings(session, visit.actor, visit.now, DAYS[days])
        return visit.page(
            session,
            "traffic/signals.html",
            rows=[(one, _signal_words(one.all)) for one in found],
            parts=[(one, audience, counts, _signal_words(counts)) for one in found for audience, counts in one.groups],
            forwarders=[(one.name, audience) for one in found for audience, counts in one.groups if counts.forwarder],
            unassigned=next((one.all for one in found if not one.site), None),
            days=days,
            choices=[("1", "Last day"), ("7", "7 days"), ("30", "30 days")],
        )


def _signal_words(counts: Counts) -> str:
    if counts.bypass_hidden:
        return "from fewer than five devices"
    return f"{counts.bypass:,}" if counts.bypass else "none"


def _nodes(session: Session, actor: Actor, now: float) -> tuple[_Node, ...]:
    access.require(access.may_see_district(actor), "Traffic is shown to reviewers, administrators and auditors.")
    counted = sight.this_hour(session, actor, now)
    titles = cards.category_titles(session)
    found = []
    for view in delivery.node_views(session):
        counts = counted.get(view.id, Counts())
        status = view.status
        if counts.hidden or status is None or status.sight is None:
            found.append(_Node(view.name, "", "", "", True, None, ()))
            continue
        minutes = full(status.sight.minutes, now)
        last = minutes[-2] if len(minutes) > 1 else (0, 0)  # the last whole minute
        most = max((count for _, count in counts.top), default=1)
        found.append(
            _Node(
                name=view.name,
                rate=_rate(last[0] / 60),
                share=f"{round(100 * counts.blocked / max(1, counts.queries))} %",
                cached=_cached(status),
                hidden=False,
                chart=chart(minutes),
                top=tuple(
                    (titles.get(name, name), count, max(1, round(100 * count / most))) for name, count in counts.top
                ),
            )
        )
    return tuple(found)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def _cached(status: NodeStatus) -> str:
    return f"{round(100 * status.cached / status.queries)} %" if status.queries else "none yet"


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
