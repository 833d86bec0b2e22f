"""Live rows become the next policy version: built, signed, checked as a node would check it, stored, announced.

A decision writes a `Publication` row in its own transaction; one pass here answers every row that waits with one
version. The version is compare-and-set on its predecessor, so any number of publishers make one gapless sequence.
A policy that no node could load is never stored: `BadPublication` says why, and the rows go on waiting.

Rows in, exact bytes out. Reads in one short transaction, works without one, writes in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine, func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from blocklists import policy_codec
from blocklists.base import BadBase, Base
from blocklists.exchange import Offer, Succession
from blocklists.policy import Brake, Category, Correction, Entry, Match, Policy
from blocklists.seed import Seed
from blocklists.snapshot import BadSnapshot, Snapshot, open_snapshot
from portal import audit
from portal.access import SYSTEM
from portal.database import reading, sole_pass, transaction
from portal.doors import custom_blocks, grants, modes
from portal.errors import NotFound
from portal.lists.bases import Bases, require_base
from portal.models.delivery import Delivery, PolicyVersion, Publication
from portal.models.levers import BrakeRow, CorrectionRow, GrantRow
from portal.nodes import succession
from portal.nodes.keys import BadKey, Keyring
from portal.notices import Notice, tell
from portal.places import district
from portal.rules import answering, blocking

LOCK = 4416  # PostgreSQL advisory lock: of several portals, one builds; versions are compare-and-set all the same
ATTEMPTS = 5  # of one pass, when other publishers are faster


class BadPublication(Exception):
    """What the rows say makes a policy that no node would load, or its base cannot be read. Nothing was published."""


class Overtaken(Exception):
    """Another publisher took the version or the rows. Nothing was written here; look again."""


@dataclass(frozen=True, slots=True)
class Published:
    """A stored version, ready to be offered. `recorded`: the nodes that the offer is already recorded for."""

    offer: Offer
    snapshot: Snapshot
    recorded: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the first transaction read: the policy, the rows that it answers, and the grants it is first for."""

    policy: Policy
    pending: tuple[int, ...]
    because: tuple[str, ...]
    decided_at_ms: int
    opened: tuple[int, ...]
    closed: tuple[int, ...]
    keys: tuple[Succession, ...]


class Publisher:
    """Publishes what waits. Between passes it keeps the last snapshot, which the next resembles, and nothing else; safe
    to run in several processes at once."""

    def __init__(
        self,
        engine: Engine,
        keys: Keyring,
        bases: Bases,
        seed: Seed,
        connected: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        """`connected` names the nodes whose stream is open here: their offers are recorded with the version."""
        self._engine = engine
        self._keys = keys
        self._bases = bases
        self._seed = seed
        self._connected = connected
        self._before: Snapshot | None = None

    def publish_pending(self, clock: Callable[[], float]) -> Published | None:
        """One pass. Return what was published; None when no row waited, or other publishers were faster each time.

        Raises `BadPublication`.
        """
        with sole_pass(self._engine, LOCK) as mine:
            for _ in range(ATTEMPTS if mine else 0):  # another portal is at it: it tells us when it is done
                try:
                    return self._publish(clock)
                except Overtaken:
                    continue
        return None

    def _publish(self, clock: Callable[[], float]) -> Published | None:
        try:
            with reading(self._engine) as session:
                draft = self._draft(session, int(clock()))
            if draft is None:
                return None
            base = self._bases.open(draft.policy.base)
            body = policy_codec.dump(draft.policy)
            snapshot = self._before = open_snapshot(body, base, self._before)
        except (BadSnapshot, BadBase, BadKey, NotFound, OSError) as error:
            raise BadPublication(str(error)) from error
        offer = Offer(
            version=draft.policy.version,
            digest=snapshot.digest,
            signature=self._keys.current.sign(body),
            base=draft.policy.base,
            keys=draft.keys,
        )
        with transaction(self._engine) as session:
            recorded = _store(session, draft, offer, body, frozenset(self._connected()), int(clock() * 1000))
        return Published(offer, snapshot, recorded)

    def _draft(self, session: Session, now: int) -> _Draft | None:
        pending = session.exec(
            select(Publication).where(col(Publication.version).is_(None)).order_by(col(Publication.id))
        ).all()
        if not pending:
            return None
        testing = modes.holding(session, now)
        if testing and not any(one.because.startswith(modes.URGENT) for one in pending):
            return None
        if testing:
            pending = [one for one in pending if not one.because.startswith(modes.BASES)]
        if district.get(session).held_at is not None:
            return None  # restored from a backup: an administrator says when
        self._keys.follow(succession.newest_key(session))
        newest = newest_version(session)
        version = _next_version(session, newest)
        moment = now if newest is None else max(now, newest.published_at_ms // 1000)
        held = newest.base if testing and newest is not None else ""  # a test goes on with the lists it began with
        base = self._bases.open(held or require_base(session).digest)
        # What lives is asked of the clock as it is: one that was wrong for a minute must not close grants for a year.
        policy = replace(build_policy(session, version, now, base, self._seed), created_at=moment)
        unmarked = session.exec(select(GrantRow).where(col(GrantRow.in_version).is_(None))).all()
        open_now = {grant.number for grant in policy.grants}
        return _Draft(
            policy=policy,
            pending=tuple(one.id for one in pending if one.id is not None),
            because=tuple(dict.fromkeys(one.because for one in pending))[:20],
            decided_at_ms=min(one.asked_at_ms for one in pending),
            opened=tuple(row.id for row in unmarked if row.id in open_now),
            keys=succession.chain(session),
            closed=tuple(row.id for row in unmarked if row.id is not None and row.revoked_at is not None),
        )


def _store(
    session: Session, draft: _Draft, offer: Offer, body: bytes, connected: frozenset[int], now_ms: int
) -> frozenset[int]:
    newest = newest_version(session)
    if _next_version(session, newest) != offer.version:
        raise Overtaken
    session.add(
        PolicyVersion(
            version=offer.version,
            digest=offer.digest,
            base=offer.base,
            signature=offer.signature,
            body=body,
            decided_at_ms=draft.decided_at_ms,
            published_at_ms=now_ms,
        )
    )
    try:
        session.flush()
    except IntegrityError:  # PostgreSQL: another publisher inserted this version since we looked
        raise Overtaken from None
    taken = session.execute(
        update(Publication)
        .where(col(Publication.id).in_(draft.pending), col(Publication.version).is_(None))
        .values(version=offer.version)
    )
    if taken.rowcount != len(draft.pending):  # type: ignore[attr-defined]
        raise Overtaken
    # A grant that was revoked since the draft was read stays unmarked: the version that drops it is the next one.
    mark = update(GrantRow).where(col(GrantRow.in_version).is_(None)).values(in_version=offer.version)
    session.execute(mark.where(col(GrantRow.id).in_(draft.opened), col(GrantRow.revoked_at).is_(None)))
    session.execute(mark.where(col(GrantRow.id).in_(draft.closed), col(GrantRow.revoked_at).is_not(None)))
    for node in connected:
        session.add(Delivery(node_id=node, version=offer.version, offered_at_ms=now_ms))
    audit.record(
        session,
        SYSTEM,
        now_ms,
        "policy.version.publish",
        f"policy:{offer.version}",
        {
            "digest": offer.digest,
            "base": offer.base,
            "because": list(draft.because),
            "grants": len(draft.policy.grants),
        },
    )
    tell(session, Notice.VERSION)
    return connected


def _next_version(session: Session, newest: PolicyVersion | None) -> int:
    """One more than the newest; above what nodes had shown when this portal was restored from an older backup."""
    return max(0 if newest is None else newest.version, district.get(session).version_floor) + 1


def newest_version(session: Session) -> PolicyVersion | None:
    """Return the newest published version; None before the first."""
    newest = select(func.max(PolicyVersion.version)).scalar_subquery()
    return session.exec(select(PolicyVersion).where(col(PolicyVersion.version) == newest)).first()


def build_policy(session: Session, version: int, now: int, base: Base, seed: Seed) -> Policy:
    """Return what the live rows say, as the policy of this version. Ended and revoked grants stay out.

    Also what a preview asks, with a version that is never stored. Raises `NotFound` before the first start.
    """
    row = district.get(session)
    categories = _categories(session, seed)
    return Policy(
        format=policy_codec.FORMAT,
        version=version,
        district=row.slug,
        base=base.digest,
        created_at=now,
        zone=row.zone,
        portal=row.portal_url,
        audit_head=audit.head(session),
        categories=categories,
        groups=tuple(view.group for view in district.groups(session)),
        grants=grants.live(session, now),
        corrections=_corrections(session, base, categories),
        protected=tuple(Entry(one.name, Match(one.match)) for one in seed.protected),
        brakes=_brakes(session),
        blocks=custom_blocks.live(session),
        own=tuple(sorted(set(row.own_names))),
        modes=modes.live(session, now),
        answering=answering.of(row),
    )


def _categories(session: Session, seed: Seed) -> tuple[Category, ...]:
    """The district's categories; one that a newer release's seed brings, and no row describes yet, as the seed says."""
    found = {category.id: category for category in blocking.policy_categories(session)}
    for one in seed.categories:
        found.setdefault(one.id, Category(one.id, one.title, one.locked))
    return tuple(found.values())


def _corrections(session: Session, base: Base, categories: Sequence[Category]) -> tuple[Correction, ...]:
    rows = session.exec(
        select(CorrectionRow).where(col(CorrectionRow.ended_at).is_(None)).order_by(col(CorrectionRow.id))
    )
    return tuple(
        Correction(row.id or 0, row.name, row.match, tuple(row.lists))
        for row in rows
        if row.confirmed_by is not None or not needs_second_person(row.lists, base, categories)
    )


def needs_second_person(lists: Sequence[str], base: Base, categories: Sequence[Category]) -> bool:
    """True when a correction of these lists touches a locked category; `*` (every list) always does."""
    locked = {category.id for category in categories if category.locked}
    return "*" in lists or any(one.id in lists and one.category in locked for one in base.lists)


def _brakes(session: Session) -> tuple[Brake, ...]:
    rows = session.exec(select(BrakeRow).where(col(BrakeRow.released_at).is_(None)).order_by(col(BrakeRow.id)))
    return tuple(Brake(row.id or 0, row.name) for row in rows)
