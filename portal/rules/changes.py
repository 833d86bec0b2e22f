"""Changes of what is blocked, as dated policy: drafts, publication now or on a date, undo as a new version.

A published change writes its rules, and in the same transaction the groups' blocks that follow from them, so a policy
is one version further or not at all. A scheduled change is a row that the jobs publish when its time has come; a
restart loses nothing. Every change keeps its author, its reason and what stood before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import desc, update
from sqlmodel import Session, col, select

from portal import access, audit, moments
from portal.access import Actor
from portal.errors import Conflict, FieldError, Invalid, NotFound
from portal.fields import Mistakes
from portal.models.rules import ChangeState, PolicyChange
from portal.outbox import record_change
from portal.places import district
from portal.rules import block_rules, rule_book
from portal.rules.block_rules import names_of
from portal.rules.rule_book import Line

_MAX_DAYS_AHEAD = 366
_ONLY_ADMINISTRATORS = "Only an administrator changes what is blocked."
_GONE = "This change is not a draft any more; reload to see it."


@dataclass(frozen=True, slots=True)
class ChangeView:
    id: int
    state: ChangeState
    lines: tuple[Line, ...]
    reason: str
    author: str
    created_at: int
    publish_at: int | None
    published_at: int | None
    published_by: str | None
    undoes: int | None
    undone_by: int | None
    revision: int


def draft(session: Session, actor: Actor, now: float, lines: Sequence[Line], reason: str) -> ChangeView:
    """Keep a draft; nothing is published. Raises `Invalid`."""
    row = _draft(session, actor, now, lines, reason)
    audit.record(session, actor, int(now * 1000), "policy.change.draft", f"change:{row.id}", {"lines": row.lines})
    return _views(session, [row])[0]


def _draft(session: Session, actor: Actor, now: float, lines: Sequence[Line], reason: str) -> PolicyChange:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes = Mistakes()
    found = block_rules.read(session, mistakes, lines)
    reason = mistakes.text("reason", reason, "say why", 2000)
    mistakes.stop()
    row = PolicyChange(
        state=ChangeState.DRAFT,
        lines=rule_book.plain(found),
        reason=reason,
        created_by=actor.user_id,
        created_at=int(now),
    )
    session.add(row)
    session.flush()
    return row


def discard(session: Session, actor: Actor, now: float, change_id: int, revision: int) -> ChangeView:
    """Throw a draft or a scheduled change away; it stays on record."""
    row = _take(session, actor, change_id, revision, {"state": ChangeState.DISCARDED, "publish_at": None})
    audit.record(session, actor, int(now * 1000), "policy.change.discard", f"change:{row.id}", {})
    return _views(session, [row])[0]


def schedule(session: Session, actor: Actor, now: float, change_id: int, revision: int, moment: str) -> ChangeView:
    """Publish later: `moment` is a day (its first moment) or a local time. The jobs keep the date."""
    try:
        at = moments.parse(moment, district.zone(session))
    except moments.BadMoment as error:
        raise Invalid("Please mend the date.", (FieldError("publish_at", str(error)),)) from None
    if not now < at <= now + _MAX_DAYS_AHEAD * 86_400:
        raise Invalid(
            "Please mend the date.", (FieldError("publish_at", "choose a time from now on, at most a year ahead"),)
        )
    row = _take(session, actor, change_id, revision, {"state": ChangeState.SCHEDULED, "publish_at": at})
    audit.record(session, actor, int(now * 1000), "policy.change.schedule", f"change:{row.id}", {"publish_at": at})
    return _views(session, [row])[0]


def publish(session: Session, actor: Actor, now: float, change_id: int, revision: int) -> ChangeView:
    """Publish a draft, or a scheduled change before its time."""
    values = {"state": ChangeState.PUBLISHED, "published_at": int(now), "published_by": actor.user_id}
    row = _take(session, actor, change_id, revision, values)
    return _carry_out(session, actor, now, row)


def undo(session: Session, actor: Actor, now: float, change_id: int, reason: str) -> ChangeView:
    """Publish the opposite, as a new change and a new version. What somebody changed since in the same place is put
    back too, and the preview of the undo says so."""
    row = _row(session, change_id)
    if row.state is not ChangeState.PUBLISHED:
        raise Conflict("Only what was published can be undone.")
    if session.exec(select(PolicyChange).where(PolicyChange.undoes == change_id)).first() is not None:
        raise Conflict("This change was undone already; reload to see it.")
    new = _draft(session, actor, now, [Line(**one) for one in row.before], reason)
    new.undoes, new.state = change_id, ChangeState.PUBLISHED
    new.published_at, new.published_by = int(now), actor.user_id
    session.add(new)
    return _carry_out(session, actor, now, new)


def publish_due(session: Session, now: float) -> int:
    """Publish what is scheduled for now or earlier, oldest first. Return how many; safe in several processes."""
    due = select(PolicyChange).where(PolicyChange.state == ChangeState.SCHEDULED, col(PolicyChange.publish_at) <= now)
    done = 0
    for row in session.exec(due.order_by(col(PolicyChange.publish_at), col(PolicyChange.id))).all():
        mine = update(PolicyChange).where(
            col(PolicyChange.id) == row.id, col(PolicyChange.state) == ChangeState.SCHEDULED
        )
        values = {"state": ChangeState.PUBLISHED, "published_at": int(now), "revision": row.revision + 1}
        won = session.execute(mine.values(**values).execution_options(synchronize_session=False))
        if getattr(won, "rowcount", 0) == 1:
            session.refresh(row)
            _carry_out(session, access.SYSTEM, now, row)
            done += 1
    return done


def is_due(session: Session, now: float) -> bool:
    due = select(PolicyChange.id).where(
        PolicyChange.state == ChangeState.SCHEDULED, col(PolicyChange.publish_at) <= now
    )
    return session.exec(due.limit(1)).first() is not None


def _carry_out(session: Session, actor: Actor, now: float, row: PolicyChange) -> ChangeView:
    lines = [Line(**one) for one in row.lines]
    stood = rule_book.standing(session)
    rule_book.write(session, row, lines)
    changed = block_rules.carry_out(session, stood, lines)
    detail: audit.Detail = {"lines": row.lines, "groups": changed, "undoes": row.undoes}
    record_change(session, actor, now, "policy.change.publish", f"change:{row.id}", detail)
    session.flush()
    return _views(session, [row])[0]


def _take(session: Session, actor: Actor, change_id: int, revision: int, values: Mapping[str, object]) -> PolicyChange:
    """Compare-and-set: one person wins."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = _row(session, change_id)
    mine = update(PolicyChange).where(
        col(PolicyChange.id) == change_id,
        col(PolicyChange.revision) == revision,
        col(PolicyChange.state).in_((ChangeState.DRAFT, ChangeState.SCHEDULED)),
    )
    changed = mine.values(**values, revision=revision + 1).execution_options(synchronize_session=False)
    if getattr(session.execute(changed), "rowcount", 0) != 1:
        raise Conflict(_GONE)
    session.refresh(row)
    return row


# ---- looking ----


def _row(session: Session, change_id: int) -> PolicyChange:
    row = session.get(PolicyChange, change_id)
    if row is None:
        raise NotFound(f"There is no change {change_id}.")
    return row


def get(session: Session, change_id: int) -> ChangeView:
    return _views(session, [_row(session, change_id)])[0]


def find(session: Session, before: int | None = None, limit: int = 50) -> tuple[ChangeView, ...]:
    """Return changes, newest first."""
    query = select(PolicyChange).order_by(desc(col(PolicyChange.id))).limit(limit)
    if before is not None:
        query = query.where(col(PolicyChange.id) < before)
    return _views(session, session.exec(query).all())


def _views(session: Session, rows: Sequence[PolicyChange]) -> tuple[ChangeView, ...]:
    people = names_of(session, [one for row in rows for one in (row.created_by, row.published_by)])
    ids = [row.id for row in rows]
    undone = {row.undoes: row.id for row in session.exec(select(PolicyChange).where(col(PolicyChange.undoes).in_(ids)))}
    return tuple(
        ChangeView(
            id=row.id or 0,
            state=row.state,
            lines=tuple(Line(**one) for one in row.lines),
            reason=row.reason,
            author=people.get(row.created_by, "Schoolgate"),
            created_at=row.created_at,
            publish_at=row.publish_at,
            published_at=row.published_at,
            published_by=None if row.published_at is None else people.get(row.published_by, "Schoolgate, on its date"),
            undoes=row.undoes,
            undone_by=undone.get(row.id),
            revision=row.revision,
        )
        for row in rows
    )
