"""Offered versus acknowledged, per node: what makes "in force" more than "approved".

A node's ack counts only for a version that was offered to it, with the digest that was published; it counts once. A
grant (or its revocation) is in force when every node that serves its sites has acknowledged a version that holds (or
no longer holds) it. All times in ms are the portal's clock, from the decision's commit to the last ack that it needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from blocklists.exchange import MAX_MISSING, Ack, Missing, Nack, NodeStatus, Offer, Reach
from blocklists.policy import EVERY_SITE
from portal import asked, audit, sight, succession, use
from portal.access import SYSTEM, Actor, ActorKind
from portal.models.delivery import Delivery, Node, PolicyVersion
from portal.models.district import District
from portal.models.levers import GrantRow
from portal.notices import Notice, tell
from portal.publication import newest_version

SILENT = 20  # seconds without a word from a node: it is said to be silent
SETTLED_MS = 15_000  # an ack is believed over a heartbeat for so long: they may overtake each other on the way


class Standing(StrEnum):
    """Of a grant, from acknowledgements and the portal's clock."""

    WAITING = "waiting"  # no node has it yet
    PARTLY = "partly"
    IN_FORCE = "in-force"
    NO_NODES = "no-nodes"  # nothing enrolled serves these sites
    SCHEDULED = "scheduled"
    ENDED = "ended"
    REVOKED = "revoked"  # see `complete`: whether every node has stopped letting it through


@dataclass(frozen=True, slots=True)
class WaitingFor:
    name: str
    last_seen_at: int | None  # seconds; None: never


@dataclass(frozen=True, slots=True)
class InForce:
    """`acked` of `expected` nodes have the version. `millis`: from the decision's commit to the last ack among the
    nodes that were enrolled then; None while one of them is missing."""

    state: Standing
    acked: int
    expected: int
    waiting_for: tuple[WaitingFor, ...]
    millis: int | None

    @property
    def complete(self) -> bool:
        """True when no node is missing: the grant, or its revocation, has arrived everywhere."""
        return self.expected > 0 and self.acked == self.expected


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node for people: what it was offered, what it acknowledged, what it last said."""

    id: int
    name: str
    sites: tuple[str, ...]  # empty: every site
    enrolled_at: int
    retired_at: int | None
    last_seen_at: int | None
    skew_ms: int | None
    offered: int | None
    acked: int | None
    acked_published_at: int | None  # seconds: how old what it serves is
    behind: bool  # it has not acknowledged the newest version
    behind_since: int | None  # seconds: when the first version that it lacks was published; None: it lacks none
    nack_version: int | None
    nack_reason: str
    status: NodeStatus | None


def _offer_of(session: Session, row: PolicyVersion) -> Offer:
    keys = succession.chain(session)
    return Offer(version=row.version, digest=row.digest, signature=row.signature, base=row.base, keys=keys)


def newest_offer(session: Session) -> Offer | None:
    """Return what every node shall have; None before the first publication, and while a restored portal is held."""
    row = None if _is_held(session) else newest_version(session)
    return None if row is None else _offer_of(session, row)


def _is_held(session: Session) -> bool:
    return session.exec(select(District.held_at)).first() is not None


def policy_body(session: Session, digest: str) -> bytes | None:
    """Return the exact bytes of the published policy of this digest; None when there is none."""
    return session.exec(select(PolicyVersion.body).where(col(PolicyVersion.digest) == digest)).first()


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
        .where(col(Delivery.node_id) == node_id, col(Delivery.version) > above, _counts())
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
    wanted = select(Delivery.id).where(col(Delivery.node_id) == node_id, col(Delivery.version) > above, _counts())
    return session.exec(wanted.limit(1)).first() is not None


def _counts() -> ColumnElement[bool]:
    return and_(col(Delivery.acked_at_ms).is_not(None), col(Delivery.lost_at_ms).is_(None))


def has_answered(session: Session, node_id: int, version: int) -> bool:
    """True when the node needs no second offer of this version: it acknowledged it, or it was cut off since."""
    row, node = _delivery(session, node_id, version), session.get(Node, node_id)
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
    row = _delivery(session, node_id, message.version)
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
    if _delivery(session, node_id, version) is None:
        return f"version {version} was not offered to this node"
    return None


def _delivery(session: Session, node_id: int, version: int) -> Delivery | None:
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


def in_force(session: Session, grant: GrantRow, now: float) -> InForce:
    """Return how far a grant, or its revocation, has come."""
    return in_force_of(session, [grant], now)[grant.id or 0]


def in_force_of(session: Session, grants: Sequence[GrantRow], now: float) -> dict[int, InForce]:
    """Return the same for many grants, by number; one query for each policy version that they first came with."""
    receipts = _Receipts(session)
    return {grant.id or 0: _standing(grant, receipts, now) for grant in grants}


@dataclass(frozen=True, slots=True)
class _Receipt:
    """A node that is not retired, and when it first acknowledged the version in question or a later one."""

    name: str
    sites: frozenset[str]
    enrolled_at: int
    last_seen_at: int | None
    acked_at_ms: int | None

    def serves(self, sites: Sequence[str]) -> bool:
        return not self.sites or EVERY_SITE in sites or not self.sites.isdisjoint(sites)


class _Receipts:
    """Receipts and decision times by version, each asked for once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._receipts: dict[int | None, tuple[_Receipt, ...]] = {}
        self._decided: dict[int, int | None] = {}

    def of(self, version: int | None) -> tuple[_Receipt, ...]:
        if version not in self._receipts:
            first = (
                select(Delivery.acked_at_ms)
                .where(col(Delivery.node_id) == col(Node.id))
                .where(col(Delivery.version) >= (version or 0), _counts())
                .order_by(col(Delivery.version))
                .limit(1)
                .scalar_subquery()
            )
            rows = self._session.exec(
                select(Node, first).where(col(Node.retired_at).is_(None)).order_by(col(Node.name))
            ).all()
            self._receipts[version] = tuple(
                _Receipt(
                    node.name,
                    frozenset(node.sites),
                    node.enrolled_at,
                    node.last_seen_at,
                    None if version is None else acked,
                )
                for node, acked in rows
            )
        return self._receipts[version]

    def decided_at_ms(self, version: int) -> int | None:
        if version not in self._decided:
            wanted = select(PolicyVersion.decided_at_ms).where(col(PolicyVersion.version) == version)
            self._decided[version] = self._session.exec(wanted).first()
        return self._decided[version]


def reach(session: Session, now: float) -> Reach:
    """Return how far the newest version has come, for nodes: as request pages say it of a grant for every site."""
    newest = newest_version(session)
    if newest is None:
        return Reach(version=None, acked=0, expected=0)
    expected = _Receipts(session).of(newest.version)
    missing = sorted((one for one in expected if one.acked_at_ms is None), key=lambda one: one.last_seen_at or 0)
    named = tuple(
        Missing(name=one.name, silent=None if one.last_seen_at is None else max(0, int(now) - one.last_seen_at))
        for one in missing[:MAX_MISSING]
    )
    return Reach(version=newest.version, acked=len(expected) - len(missing), expected=len(expected), missing=named)


def _standing(grant: GrantRow, receipts: _Receipts, now: float) -> InForce:
    expected = [one for one in receipts.of(grant.in_version) if one.serves(grant.sites)]
    missing = tuple(WaitingFor(one.name, one.last_seen_at) for one in expected if one.acked_at_ms is None)
    acked = len(expected) - len(missing)
    if grant.revoked_at is not None:
        state = Standing.REVOKED
    elif grant.ends_at is not None and grant.ends_at <= now:
        state = Standing.ENDED
    elif not expected:
        state = Standing.NO_NODES
    elif grant.starts_at > now and not missing:
        state = Standing.SCHEDULED
    elif missing:
        state = Standing.PARTLY if acked else Standing.WAITING
    else:
        state = Standing.IN_FORCE
    return InForce(state, acked, len(expected), missing, _millis(grant, expected, receipts))


def _millis(grant: GrantRow, expected: Sequence[_Receipt], receipts: _Receipts) -> int | None:
    """Nodes that were enrolled after the decision got it late by no fault of delivery: they do not count here."""
    decided = None if grant.in_version is None else receipts.decided_at_ms(grant.in_version)
    if decided is None:
        return None
    then = [one.acked_at_ms for one in expected if one.enrolled_at * 1000 <= decided]
    acks = [at for at in then if at is not None]
    return max(0, max(acks) - decided) if acks and len(acks) == len(then) else None


def node_views(session: Session, retired: bool = False) -> tuple[NodeView, ...]:
    """Return the nodes by name; retired ones too when asked for."""
    newest = session.exec(select(func.max(PolicyVersion.version))).one()
    acked = select(func.max(Delivery.version)).where(col(Delivery.node_id) == col(Node.id), _counts()).scalar_subquery()
    offered = select(func.max(Delivery.version)).where(col(Delivery.node_id) == col(Node.id)).scalar_subquery()
    refused = (
        select(func.max(Delivery.version))
        .where(col(Delivery.node_id) == col(Node.id), col(Delivery.nacked_at_ms).is_not(None))
        .scalar_subquery()
    )
    query = select(Node, offered, acked, refused).order_by(col(Node.name))
    if not retired:
        query = query.where(col(Node.retired_at).is_(None))
    found = []
    for node, offered_version, acked_version, refused_version in session.exec(query).all():
        refusal = None if refused_version is None else _delivery(session, node.id or 0, refused_version)
        found.append(
            NodeView(
                id=node.id or 0,
                name=node.name,
                sites=tuple(node.sites),
                enrolled_at=node.enrolled_at,
                retired_at=node.retired_at,
                last_seen_at=node.last_seen_at,
                skew_ms=node.skew_ms,
                offered=offered_version,
                acked=acked_version,
                acked_published_at=_published_at(session, acked_version),
                behind=newest is not None and (acked_version or 0) < newest,
                behind_since=_published_after(session, acked_version or 0, newest),
                nack_version=refused_version,
                nack_reason="" if refusal is None else refusal.nack_reason,
                status=NodeStatus.model_validate(node.status) if node.status else None,
            )
        )
    return tuple(found)


def _published_at(session: Session, version: int | None) -> int | None:
    wanted = select(PolicyVersion.published_at_ms).where(col(PolicyVersion.version) == version)
    at_ms = None if version is None else session.exec(wanted).first()
    return None if at_ms is None else at_ms // 1000


def _published_after(session: Session, version: int, newest: int | None) -> int | None:
    if newest is None or version >= newest:
        return None
    wanted = select(func.min(PolicyVersion.published_at_ms)).where(col(PolicyVersion.version) > version)
    at_ms = session.exec(wanted).one()
    return None if at_ms is None else at_ms // 1000
