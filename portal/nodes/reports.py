"""What nodes say: that they serve a version, refuse it, or lost it; and how they are.

A node's ack counts only for a version that was offered to it, with the digest that was published; it counts once. What
it means for grants is in `delivery`. All times in ms are the portal's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from blocklists.exchange import Ack, Nack, NodeStatus
from portal import audit
from portal.access import SYSTEM, Actor, ActorKind
from portal.doors import use
from portal.lists import asked
from portal.models.delivery import Delivery, Node, PolicyVersion
from portal.nodes import sight
from portal.notices import Notice, tell

SETTLED_MS = 15_000  # an ack is believed over a heartbeat for so long: they may overtake each other on the way


def record_offer(session: Session, node_id: int, version: int, now_ms: int) -> None:
    """Note that this node is offered this version, before it is sent; the first time counts."""
    known = select(Delivery.id).where(col(Delivery.node_id) == node_id, col(Delivery.version) == version)
    if session.exec(known).first() is None:
        try:
            with session.begin_nested():
                session.add(Delivery(node_id=node_id, version=version, offered_at_ms=now_ms))
        except IntegrityError:  # a second stream of the same node, at the same moment
            return


def take_back(session: Session, node_id: int, above: int, now_ms: int, settled_ms: int | None = None) -> bool:
    """The node serves nothing newer than version `above`: its later acknowledgements count no more, until it sends them
    again. `settled_ms`: only those that came before this moment. True when there were any."""
    fell = (
        update(Delivery)
        .where(col(Delivery.node_id) == node_id, col(Delivery.version) > above, counts())
        .values(lost_at_ms=now_ms)
        .execution_options(synchronize_session=False)
    )
    if settled_ms is not None:
        fell = fell.where(col(Delivery.acked_at_ms) < settled_ms)
    if not session.connection().execute(fell).rowcount:
        return False
    detail: dict[str, audit.Plain] = {"serves": above}
    audit.record(session, _node(node_id, session), now_ms, "node.policy.lose", f"node:{node_id}", detail)
    tell(session, Notice.DELIVERY)
    return True


def fell_back(session: Session, node_id: int, above: int) -> bool:
    """True when `take_back` would find something."""
    wanted = select(Delivery.id).where(col(Delivery.node_id) == node_id, col(Delivery.version) > above, counts())
    return session.exec(wanted.limit(1)).first() is not None


def counts() -> ColumnElement[bool]:
    """True of a `Delivery` that was acknowledged and not lost since."""
    return and_(col(Delivery.acked_at_ms).is_not(None), col(Delivery.lost_at_ms).is_(None))


def has_answered(session: Session, node_id: int, version: int) -> bool:
    """True when the node needs no second offer of this version: it acknowledged it, or it was cut off since."""
    row, node = find(session, node_id, version), session.get(Node, node_id)
    acked = row is not None and row.acked_at_ms is not None and row.lost_at_ms is None
    return acked or node is None or node.retired_at is not None


def ack(session: Session, node_id: int, message: Ack, now_ms: int) -> str | None:
    """Count an acknowledgement; return None, or a sentence that says why it does not count (for a 409).

    The sentence is returned, not raised: the alarm about a wrong digest must outlive the refusal.
    """
    if (refusal := _mismatch(session, node_id, message.version, message.digest, now_ms)) is not None:
        return refusal
    session.execute(
        update(Delivery)
        .where(col(Delivery.node_id) == node_id, col(Delivery.version) == message.version)
        .values(acked_at_ms=func.coalesce(Delivery.acked_at_ms, now_ms), lost_at_ms=None)
    )
    tell(session, Notice.DELIVERY)
    return None


def nack(session: Session, node_id: int, message: Nack, now_ms: int) -> str | None:
    """Keep a refusal and its reason, shown to administrators; the newest reason counts. Returns as `ack` does."""
    if (refusal := _mismatch(session, node_id, message.version, message.digest, now_ms)) is not None:
        return refusal
    row = find(session, node_id, message.version)
    assert row is not None  # `_mismatch` found it
    if row.nack_reason != message.reason:
        audit.record(
            session,
            _node(node_id, session),
            now_ms,
            "node.policy.refuse",
            f"policy:{message.version}",
            {"reason": message.reason},
        )
    take_back(session, node_id, message.version - 1, now_ms)
    row.nacked_at_ms = now_ms
    row.nack_reason = message.reason
    session.add(row)
    tell(session, Notice.DELIVERY)
    return None


def _mismatch(session: Session, node_id: int, version: int, digest: str, now_ms: int) -> str | None:
    published = session.exec(select(PolicyVersion.digest).where(PolicyVersion.version == version)).first()
    if published is None:
        return f"version {version} was never published here"
    if published != digest:
        subject = f"node:{node_id}"
        detail: dict[str, audit.Plain] = {"version": version, "published": published, "said": digest}
        audit.record(session, _node(node_id, session), now_ms, "node.digest.alarm", subject, detail)
        return f"version {version} has another digest here: the node holds something that this portal never published"
    if find(session, node_id, version) is None:
        return f"version {version} was not offered to this node"
    return None


def find(session: Session, node_id: int, version: int) -> Delivery | None:
    """Return what is known of this version on this node; None: it was never offered."""
    wanted = select(Delivery).where(col(Delivery.node_id) == node_id, col(Delivery.version) == version)
    return session.exec(wanted).first()


def _node(node_id: int, session: Session) -> Actor:
    row = session.get(Node, node_id)
    return SYSTEM if row is None else Actor(ActorKind.NODE, node_id, row.name, frozenset())


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A node's status, and when it came in, in ms on the portal's clock."""

    status: NodeStatus
    at_ms: int


def write_heartbeats(session: Session, heartbeats: Iterable[tuple[int, Heartbeat]]) -> None:
    """Keep what nodes last said of themselves; the skew is their clock minus ours at arrival."""
    for node_id, heartbeat in heartbeats:
        session.execute(
            update(Node)
            .where(col(Node.id) == node_id)
            .values(
                last_seen_at=heartbeat.at_ms // 1000,
                skew_ms=round(heartbeat.status.clock * 1000) - heartbeat.at_ms,
                status=_without_groups(heartbeat.status).model_dump(mode="json"),
            )
        )
        version, settled = heartbeat.status.version, heartbeat.at_ms - SETTLED_MS
        if version is not None:
            take_back(session, node_id, version, heartbeat.at_ms, settled)
        if heartbeat.status.sight is not None:
            sight.keep(session, node_id, heartbeat.status.sight)
            if (day := heartbeat.status.sight.asked) is not None:
                asked.keep(session, node_id, day)
            if heartbeat.status.sight.used is not None:
                use.keep(session, node_id, heartbeat.status.sight.used, heartbeat.at_ms // 1000)


def _without_groups(status: NodeStatus) -> NodeStatus:
    """What groups asked is kept by the hour, and what is in use by the grant, not with the node."""
    if status.sight is None:
        return status
    kept = status.sight.model_copy(update={"groups": [], "asked": None, "used": None})
    return status.model_copy(update={"sight": kept})
