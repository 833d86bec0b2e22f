"""`/nodes`: the resolvers, what each was offered and has acknowledged; tokens for new ones; cutting one off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlmodel import Session

from blocklists.exchange import NodeStatus
from portal import access
from portal.access import Actor
from portal.api.dependencies import CHANGES, READS, Answer, Caller, Message, Moment, Number, Text
from portal.models.alerts import AlertKind
from portal.nodes import delivery, enrolment, sight
from portal.nodes.delivery import NodeView
from portal.nodes.live import DELIVERY, Event
from portal.nodes.sight import Counts
from portal.upkeep import alerts
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/nodes", tags=["nodes"])

Wired = Annotated[Wiring, Depends(wiring)]


class HealthOut(Answer):
    """What a node last said of itself. `per_second`: questions in the last whole minute; None, like every count of
    questions, while fewer than five devices asked it in this hour."""

    version: int | None
    digest: str | None
    workers: int
    workers_ready: int
    engine: str
    listening: list[str]
    last_error: str
    queries: int | None
    blocked: int | None
    cached: int | None
    per_second: float | None


class NodeOut(Answer):
    """`offered` and `acked` are versions. `sites`: empty means every site. `skew_ms`: the node's clock minus ours."""

    id: int
    name: str
    sites: list[str]
    enrolled_at: Moment
    retired_at: Moment | None
    last_seen_at: Moment | None
    skew_ms: int | None
    offered: int | None
    acked: int | None
    behind: bool
    behind_since: Moment | None
    nack_version: int | None
    nack_reason: str
    status: HealthOut | None


class AlertOut(Answer):
    """`subject`: what it is about, like `node:3`."""

    kind: AlertKind
    subject: str
    title: str
    detail: str
    began_at: Moment


class NodeList(Answer):
    """`trouble`: why decisions are not being published, None when they are. `alerts`: those that are not over."""

    nodes: list[NodeOut]
    alerts: list[AlertOut]
    trouble: str | None


class TokenWish(Message):
    """`replaces`: the name of a node that the new one takes the place of."""

    replaces: Text | None = None


class TokenOut(Answer):
    """Shown once; works once, for an hour."""

    token: str


class Retirement(Message):
    reason: Text


def _out(session: Session, actor: Actor, now: float, views: Iterable[NodeView]) -> list[NodeOut]:
    counted = sight.this_hour(session, actor, now)
    return [_node_out(view, counted.get(view.id, Counts()).hidden, now) for view in views]


def _node_out(view: NodeView, hidden: bool, now: float) -> NodeOut:
    plain = {name: getattr(view, name) for name in NodeOut.model_fields if name != "status"}
    return NodeOut(**plain, status=None if view.status is None else _health(view.status, hidden, now))


def _health(status: NodeStatus, hidden: bool, now: float) -> HealthOut:
    counts = {"queries": status.queries, "blocked": status.blocked, "cached": status.cached}
    return HealthOut(
        version=status.version,
        digest=status.digest,
        workers=status.workers,
        workers_ready=status.workers_ready,
        engine=status.engine,
        listening=list(status.listening),
        last_error=status.last_error,
        per_second=None if hidden or status.sight is None else sight.per_second(status.sight.minutes, now),
        **{name: None if hidden else count for name, count in counts.items()},
    )


@router.get("", responses=READS)
def find(call: Caller, wired: Wired, retired: Annotated[bool, Query()] = False) -> NodeList:
    """The resolvers by name."""
    access.require(access.may_see_district(call.actor), "Reviewers, administrators and auditors see resolvers.")
    with call.reading() as session:
        views = delivery.node_views(session, retired)
        told = [AlertOut.model_validate(one) for one in alerts.current(session)]
        nodes = _out(session, call.actor, call.now, views)
    return NodeList(nodes=nodes, alerts=told, trouble=wired.jobs.trouble)


@router.post("/tokens", status_code=201, responses=CHANGES)
def token(call: Caller, wired: Wired, message: TokenWish) -> TokenOut:
    """Make a one-time enrolment token."""
    with call.writing() as session:
        made = enrolment.create_enrolment_token(
            session, call.actor, call.now, wired.keys.current.fingerprint, message.replaces
        )
    return TokenOut(token=made)


@router.post("/{number}/retire", responses=CHANGES)
def retire(call: Caller, wired: Wired, number: Number, message: Retirement) -> NodeOut:
    """Cut a resolver off; no grant waits for it any more."""
    with call.writing() as session:
        enrolment.retire(session, call.actor, call.now, number, message.reason)
        views = [one for one in delivery.node_views(session, retired=True) if one.id == number]
        (out,) = _out(session, call.actor, call.now, views)
    wired.live.disconnect(number)
    wired.live.publish(Event(DELIVERY))
    return out
