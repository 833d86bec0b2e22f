"""Traffic: what each resolver is asked, at a glance. Signals: where devices try to go round the filter, by building.

Counts only, from the resolvers' own heartbeats, and none over fewer than five devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from blocklists.exchange import NodeStatus
from portal import access
from portal.access import Actor
from portal.nodes import delivery, sight
from portal.nodes.sight import DAY, Counts
from portal.pages import cards, charts, frame, streams
from portal.pages.charts import Chart
from portal.pages.web import PersonVisit

router = APIRouter()

DAYS = {"1": DAY, "7": 7 * DAY, "30": 30 * DAY}


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
            session,
            "traffic/nodes.html",
            nodes=nodes,
            live=frame.live("/traffic/events", nodes),
            minutes=charts.MINUTES,
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
        minutes = charts.full(status.sight.minutes, now)
        most = max((count for _, count in counts.top), default=1)
        found.append(
            _Node(
                name=view.name,
                rate=charts.rate(sight.per_second(status.sight.minutes, now)),
                share=f"{round(100 * counts.blocked / max(1, counts.queries))} %",
                cached=_cached(status),
                hidden=False,
                chart=charts.chart(minutes),
                top=tuple(
                    (titles.get(name, name), count, max(1, round(100 * count / most))) for name, count in counts.top
                ),
            )
        )
    return tuple(found)


def _cached(status: NodeStatus) -> str:
    return f"{round(100 * status.cached / status.queries)} %" if status.queries else "none yet"
