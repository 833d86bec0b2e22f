"""Modes: overlays prepared in calm, switched on in two taps. Testing, lock-down, emergency open.

A mode that is on is part of the policy, with its end: resolvers end it by their own clock, portal or no portal. What
it opens by name (a testing vendor's bundle) is an operational exception with the same window, so the query log names
it like every other open door. None opens a locked category. A drill is the real thing for five minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import desc, func, update
from sqlmodel import Session, col, select

from blocklists import names, policy
from blocklists.policy import Audience, AuthorityKind, Match, ModeKind
from portal import access, audit, outbox
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.doors import grants
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.models.delivery import Delivery, Publication
from portal.models.levers import GrantRow, ModeRow, ModeRun
from portal.models.people import User

DRILL_SECONDS = 300
MAX_MINUTES = {ModeKind.TESTING: 30 * 24 * 60, ModeKind.LOCK_DOWN: 7 * 24 * 60, ModeKind.OPEN: 24 * 60}
_MAX_PINS = 200
_ONLY_ADMINISTRATORS = "Only an administrator prepares and switches modes."
# What goes out even while testing holds the rest: it closes something, or is a lever itself.
URGENT = ("lever.brake.", "lever.block.", "lever.mode.", "grant.grant.revoke", "register.grant.end")
# What waits for the end of the test even when something urgent goes out.
BASES = ("lists.base.adopt", "lists.update.adopt")


@dataclass(frozen=True, slots=True)
class ModeDraft:
    """`pins`: names to open while it lasts. `suspended`: grants that do not count meanwhile (testing only)."""

    kind: str
    title: str
    sites: tuple[str, ...]
    audiences: tuple[str, ...]
    minutes: int
    pins: tuple[str, ...] = ()
    suspended: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The version that carries the last change of a run, and how many of the nodes offered it have acknowledged.
    `millis`: from the decision to the last of them; None while one is missing."""

    version: int | None
    acked: int
    offered: int
    millis: int | None


@dataclass(frozen=True, slots=True)
class RunView:
    id: int
    drill: bool
    reason: str
    started_by: str
    starts_at: int
    ends_at: int
    ended_by: str | None
    on: bool
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class ModeView:
    id: int
    kind: ModeKind
    title: str
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    minutes: int
    pins: tuple[str, ...]
    suspended: tuple[int, ...]
    run: RunView | None  # the newest


def prepare(session: Session, actor: Actor, now: float, draft: ModeDraft, catalogue: Catalogue) -> ModeView:
    """Store a mode; nothing changes on the network."""
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    assert actor.user_id is not None
    mistakes = Mistakes()
    kind = mistakes.word("kind", draft.kind, ModeKind, ModeKind.TESTING)
    title = mistakes.text("title", draft.title, "give it the name that people will look for", 80)
    sites = grants.read_sites(session, mistakes, "sites", draft.sites)
    audiences = mistakes.words("audiences", draft.audiences, Audience, "say who: students, staff or guests")
    if not 1 <= draft.minutes <= MAX_MINUTES[kind]:
        mistakes.add("minutes", f"this kind lasts 1 to {MAX_MINUTES[kind]} minutes, and then ends by itself")
    pins = _pins(mistakes, draft.pins, catalogue)
    if kind is ModeKind.LOCK_DOWN and pins:
        mistakes.add("pins", "a lock-down opens nothing")
    known = set(session.exec(select(GrantRow.id).where(col(GrantRow.id).in_(draft.suspended))))
    for number in draft.suspended:
        if number not in known:
            mistakes.add("suspended", f"there is no grant {number}")
    if draft.suspended and kind is not ModeKind.TESTING:
        mistakes.add("suspended", "only testing suspends chosen grants")
    mistakes.stop()
    row = ModeRow(
        kind=kind,
        title=title,
        sites=list(sites),
        audiences=[str(one) for one in audiences],
        pins=list(pins),
        suspended=sorted(set(draft.suspended)),
        minutes=draft.minutes,
        created_by=actor.user_id,
        created_at=int(now),
    )
    session.add(row)
    session.flush()
    audit.record(
        session, actor, int(now * 1000), "mode.mode.prepare", f"mode:{row.id}", {"kind": str(kind), "sites": row.sites}
    )
    return _views(session, now, [row])[0]


def _pins(mistakes: Mistakes, typed: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for at, text in enumerate(typed):
        try:
            name = names.grantable(names.understand(text).name)
        except names.BadName as error:
            mistakes.add(f"pins[{at}]", error.reason)
            continue
        if (category := catalogue.locked(name)) is not None:
            mistakes.add(f"pins[{at}]", f"{name} is in “{category}”, which is locked; no mode opens it")
        found[name] = None
    if len(found) > _MAX_PINS:
        mistakes.add("pins", f"a mode opens at most {_MAX_PINS} names")
    return tuple(found)


def start(session: Session, actor: Actor, now: float, mode_id: int, reason: str, drill: bool = False) -> ModeView:
    """Switch a mode on, until its end. Raises `Conflict` when it is on already."""
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    assert actor.user_id is not None
    row = _mode(session, mode_id)
    mistakes = Mistakes()
    reason = mistakes.text("reason", reason, "say why", 2000)
    mistakes.stop()
    if row.retired_at is not None:
        raise Conflict(f"“{row.title}” was retired.")
    on = select(ModeRun).where(ModeRun.mode_id == mode_id, col(ModeRun.ends_at) > int(now))
    if session.exec(on).first() is not None:
        raise Conflict(f"“{row.title}” is on already; reload to see it.")
    starts, ends = int(now), int(now) + (DRILL_SECONDS if drill else row.minutes * 60)
    run = ModeRun(mode_id=mode_id, drill=drill, reason=reason, started_by=actor.user_id, starts_at=starts, ends_at=ends)
    if row.pins:
        grant = GrantRow(
            authority=AuthorityKind.EXCEPTION,
            entries=[{"name": one, "match": str(Match.SUBTREE)} for one in row.pins],
            sites=row.sites,
            audiences=row.audiences,
            starts_at=starts,
            ends_at=ends,
            reason=f"Mode “{row.title}”: {reason}",
            created_by=actor.user_id,
            created_at=int(now),
        )
        session.add(grant)
        session.flush()
        run.grant_id = grant.id
    session.add(run)
    session.flush()
    detail: audit.Detail = {"mode": mode_id, "kind": str(row.kind), "drill": drill, "ends_at": ends}
    outbox.record_change(session, actor, now, "lever.mode.start", f"mode-run:{run.id}", detail)
    return _views(session, now, [row])[0]


def end(session: Session, actor: Actor, now: float, run_id: int) -> ModeView:
    """Switch it off before its time."""
    access.require(access.may_administer(actor) and actor.is_person, _ONLY_ADMINISTRATORS)
    run = session.get(ModeRun, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id} of a mode.")
    mine = update(ModeRun).where(col(ModeRun.id) == run_id, col(ModeRun.ends_at) > int(now))
    values = {"ends_at": max(int(now), run.starts_at), "ended_by": actor.user_id}
    won = session.execute(mine.values(**values).execution_options(synchronize_session=False))
    if getattr(won, "rowcount", 0) != 1:
        raise Conflict("This mode is off already; reload to see it.")
    session.refresh(run)
    if run.grant_id is not None:
        gone = update(GrantRow).where(col(GrantRow.id) == run.grant_id, col(GrantRow.revoked_at).is_(None))
        ended = {"revoked_at": int(now), "revoked_by": actor.user_id, "revoke_reason": "The mode was switched off."}
        session.execute(gone.values(**ended, in_version=None).execution_options(synchronize_session=False))
    outbox.record_change(session, actor, now, "lever.mode.end", f"mode-run:{run_id}", {"mode": run.mode_id})
    session.expire_all()
    return _views(session, now, [_mode(session, run.mode_id)])[0]


def prepared(session: Session, now: float) -> tuple[ModeView, ...]:
    """Return every mode that can be switched on, by title."""
    rows = session.exec(select(ModeRow).where(col(ModeRow.retired_at).is_(None)).order_by(col(ModeRow.title)))
    return _views(session, now, rows.all())


def live(session: Session, now: float) -> tuple[policy.Mode, ...]:
    """Return what belongs into a policy made now."""
    wanted = select(ModeRun, ModeRow).where(ModeRun.mode_id == ModeRow.id, col(ModeRun.ends_at) > int(now))
    return tuple(
        policy.Mode(
            number=run.id or 0,
            kind=row.kind,
            sites=tuple(row.sites),
            audiences=tuple(Audience(one) for one in row.audiences),
            starts_at=run.starts_at,
            ends_at=run.ends_at,
            suspended=tuple(row.suspended),
        )
        for run, row in session.exec(wanted.order_by(col(ModeRun.id)))
    )


def holding(session: Session, now: float) -> bool:
    """True while a testing mode is on: an update of the lists waits for its end, and every other decision that is not
    urgent too, unless something urgent goes out: one policy holds all that was decided before it."""
    return held_until(session, now) is not None


def held_until(session: Session, now: float) -> int | None:
    """Return when the last testing mode ends that is on; None while none is."""
    return max((mode.ends_at for mode in live(session, now) if mode.kind is ModeKind.TESTING), default=None)


def held_back(session: Session, now: float) -> int:
    """Return how many decisions a testing mode holds back now."""
    if not holding(session, now):
        return 0
    waits = select(func.count()).select_from(Publication).where(col(Publication.version).is_(None))
    return session.exec(waits).one()


def _mode(session: Session, mode_id: int) -> ModeRow:
    row = session.get(ModeRow, mode_id)
    if row is None:
        raise NotFound(f"There is no mode {mode_id}.")
    return row


def _views(session: Session, now: float, rows: Iterable[ModeRow]) -> tuple[ModeView, ...]:
    rows = list(rows)
    newest = select(func.max(ModeRun.id)).group_by(col(ModeRun.mode_id))
    runs = {run.mode_id: run for run in session.exec(select(ModeRun).where(col(ModeRun.id).in_(newest)))}
    wanted = {one for run in runs.values() for one in (run.started_by, run.ended_by) if one is not None}
    people = {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(wanted)))}
    return tuple(
        ModeView(
            id=row.id or 0,
            kind=row.kind,
            title=row.title,
            sites=tuple(row.sites),
            audiences=tuple(Audience(one) for one in row.audiences),
            minutes=row.minutes,
            pins=tuple(row.pins),
            suspended=tuple(row.suspended),
            run=_run(session, runs[row.id], people, now) if row.id in runs else None,
        )
        for row in rows
    )


def _run(session: Session, run: ModeRun, people: dict[int | None, str], now: float) -> RunView:
    return RunView(
        id=run.id or 0,
        drill=run.drill,
        reason=run.reason,
        started_by=people.get(run.started_by, ""),
        starts_at=run.starts_at,
        ends_at=run.ends_at,
        ended_by=None if run.ended_by is None else people.get(run.ended_by, ""),
        on=run.starts_at <= now < run.ends_at,
        receipt=_receipt(session, f"mode-run:{run.id}"),
    )


def _receipt(session: Session, subject: str) -> Receipt:
    asked = select(Publication).where(col(Publication.because).like(f"lever.mode.% {subject}"))
    row = session.exec(asked.order_by(desc(col(Publication.id))).limit(1)).first()
    if row is None or row.version is None:
        return Receipt(None, 0, 0, None)
    sent = session.exec(select(Delivery).where(Delivery.version == row.version)).all()
    times = [one.acked_at_ms for one in sent if one.acked_at_ms is not None]
    whole = len(times) == len(sent) and bool(sent)
    return Receipt(row.version, len(times), len(sent), max(times) - row.asked_at_ms if whole else None)
