"""Offered versus acknowledged, per node: what makes "in force" more than "approved".

A grant (or its revocation) is in force when every node that serves its sites has acknowledged a version that holds (or
no longer holds) it; which acknowledgements count is in `reports`. All times in ms are the portal's clock, from the
decision's commit to the last ack that it needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func
from sqlmodel import Session, col, select

from blocklists.exchange import MAX_MISSING, Missing, NodeStatus, Offer, Reach
from blocklists.policy import EVERY_SITE
from portal import natural
from portal.models.delivery import Delivery, Node, PolicyVersion
from portal.models.district import District
from portal.models.levers import GrantRow
from portal.nodes import reports, succession
from portal.nodes.publication import newest_version

SILENT = 20  # seconds without a word from a node: it is said to be silent


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
                .where(col(Delivery.version) >= (version or 0), reports.counts())
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
    of_node = select(func.max(Delivery.version)).where(col(Delivery.node_id) == col(Node.id))
    offered, acked = of_node.scalar_subquery(), of_node.where(reports.counts()).scalar_subquery()
    refused = of_node.where(col(Delivery.nacked_at_ms).is_not(None)).scalar_subquery()
    query = select(Node, offered, acked, refused)
    if not retired:
        query = query.where(col(Node.retired_at).is_(None))
    rows = sorted(session.exec(query), key=lambda row: natural.order(row[0].name))
    published = _published(session, {acked_version for _, _, acked_version, _ in rows})
    found = []
    for node, offered_version, acked_version, refused_version in rows:
        refusal = None if refused_version is None else reports.find(session, node.id or 0, refused_version)
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
                acked_published_at=published.get(acked_version),
                behind=newest is not None and (acked_version or 0) < newest,
                behind_since=_published_after(session, acked_version or 0, newest),
                nack_version=refused_version,
                nack_reason="" if refusal is None else refusal.nack_reason,
                status=NodeStatus.model_validate(node.status) if node.status else None,
            )
        )
    return tuple(found)


def _published(session: Session, versions: Collection[int | None]) -> dict[int | None, int]:
    """When each of these was published, in seconds."""
    wanted = select(PolicyVersion.version, PolicyVersion.published_at_ms).where(
        col(PolicyVersion.version).in_(versions)
    )
    return {version: at_ms // 1000 for version, at_ms in session.exec(wanted)}


def _published_after(session: Session, version: int, newest: int | None) -> int | None:
    if newest is None or version >= newest:
        return None
    wanted = select(func.min(PolicyVersion.published_at_ms)).where(col(PolicyVersion.version) > version)
    at_ms = session.exec(wanted).one()
    return None if at_ms is None else at_ms // 1000
