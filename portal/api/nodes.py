"""`/nodes`: the resolvers, what each was offered and has acknowledged; tokens for new ones; cutting one off."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from blocklists.exchange import NodeStatus
from portal import access, delivery, enrolment
from portal.api.dependencies import CHANGES, READS, Answer, Caller, Message, Moment, Number, Text
from portal.delivery import NodeView
from portal.live import DELIVERY, Event
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/nodes", tags=["nodes"])

Wired = Annotated[Wiring, Depends(wiring)]


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
    status: NodeStatus | None


class NodeList(Answer):
    """`trouble`: why decisions are not being published, None when they are."""

    nodes: list[NodeOut]
    trouble: str | None


class TokenWish(Message):
    """`replaces`: the name of a node that the new one takes the place of."""

    replaces: Text | None = None


class TokenOut(Answer):
    """Shown once; works once, for an hour."""

    token: str


class Retirement(Message):
    reason: Text


def _out(view: NodeView) -> NodeOut:
    return NodeOut.model_validate(view)


@router.get("", responses=READS)
def find(call: Caller, wired: Wired, retired: Annotated[bool, Query()] = False) -> NodeList:
    """The resolvers by name."""
    access.require(access.may_see_district(call.actor), "Reviewers, administrators and auditors see resolvers.")
    with call.reading() as session:
        views = delivery.node_views(session, retired)
    return NodeList(nodes=[_out(view) for view in views], trouble=wired.jobs.trouble)


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
        (view,) = [one for one in delivery.node_views(session, retired=True) if one.id == number]
    wired.live.disconnect(number)
    wired.live.publish(Event(DELIVERY))
    return _out(view)
