"""Bases that were built: asked for, building, held by a guard, approved or refused, current; and roll back.

A build is a row with one state; each change of state is compare-and-set. What becomes current asks for a publication;
a roll back is a new policy version on an earlier base, and the update after it waits for an administrator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from portal import access, audit
from portal.access import SYSTEM, Actor
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.lists import bases
from portal.lists.bases import Bases
from portal.models.delivery import BaseFile
from portal.models.lists import BaseBuild, BuildState
from portal.outbox import record_change

KEPT = 10  # base files that a roll back may choose from
SHOWN = 20  # builds of the history
_ONLY_ADMINISTRATORS = "Only an administrator decides about updates of the lists."
_ROLLED_BACK = "rolled back"
_MAX_BECAUSE = 50


def ask(session: Session, now: float, because: str) -> BaseBuild:
    """Ask for a base of what is on now; requests that wait together share one build."""
    row = _in_state(session, BuildState.WAITING)
    if row is None:
        row = BaseBuild(state=BuildState.WAITING, started_at=int(now))
    row.because = [*row.because, because][-_MAX_BECAUSE:]
    session.add(row)
    session.flush()
    return row


def recent(session: Session) -> tuple[BaseBuild, ...]:
    """Return the newest builds, newest first."""
    return tuple(session.exec(select(BaseBuild).order_by(col(BaseBuild.id).desc()).limit(SHOWN)))


def under_way(session: Session) -> BaseBuild | None:
    return _in_state(session, BuildState.BUILDING) or _in_state(session, BuildState.WAITING)


def held(session: Session) -> BaseBuild | None:
    return _in_state(session, BuildState.HELD)


def _in_state(session: Session, state: BuildState) -> BaseBuild | None:
    query = select(BaseBuild).where(BaseBuild.state == state).order_by(col(BaseBuild.id).desc())
    return session.exec(query.limit(1)).first()


def earlier(session: Session, files: Bases) -> tuple[BaseFile, ...]:
    """Return the bases that can be rolled back to, newest first."""
    rows = session.exec(select(BaseFile).order_by(col(BaseFile.created_at).desc()).limit(KEPT + 1))
    return tuple(row for row in rows if not row.current and files.has(row.digest))


# ---- the job's side ----


def start(session: Session, now: float, because: str) -> BaseBuild:
    """Return the row of the build that starts now: the one that waits, or a new one."""
    row = _in_state(session, BuildState.WAITING) or BaseBuild(
        state=BuildState.WAITING, started_at=int(now), because=[because]
    )
    row.state, row.started_at, row.step = BuildState.BUILDING, int(now), "starting"
    session.add(row)
    session.flush()
    return row


def resume(session: Session) -> None:
    """What a former process left building is asked for again."""
    session.execute(
        update(BaseBuild).where(col(BaseBuild.state) == BuildState.BUILDING).values(state=BuildState.WAITING)
    )


def progress(session: Session, number: int, step: str, done: int, total: int) -> None:
    session.execute(
        update(BaseBuild)
        .where(col(BaseBuild.id) == number, col(BaseBuild.state) == BuildState.BUILDING)
        .values(step=step[:200], done=done, total=total)
    )


def fail(session: Session, number: int, why: str) -> None:
    row = _build(session, number)
    row.state, row.error, row.step = BuildState.FAILED, why[:500], ""
    session.add(row)


def unchanged(session: Session, number: int) -> None:
    """No list was new: there was nothing to build, and nothing to remember."""
    session.delete(_build(session, number))


def finish(session: Session, now: float, files: Bases, number: int, result: Mapping[str, Any]) -> BaseBuild:
    """Take what was built: held when a guard says so, current otherwise. A newer update replaces one that is held."""
    row = _build(session, number)
    present = bases.current_base(session)
    previous = "" if present is None else present.digest
    if present is not None and present.digest == result["digest"]:
        row.state, row.step, row.digest = BuildState.REPLACED, "the same as the present base", previous
        session.add(row)
        return row
    row.digest, row.size, row.names = result["digest"], result["size"], result["names"]
    row.made_at, row.previous, row.step = int(now), previous, ""
    row.changes, row.reasons = result.get("changes", []), list(result.get("reasons", []))
    if _was_rolled_back(session):
        sentence = "the base was rolled back by a person: the update after it waits for one, too"
        row.reasons = [*row.reasons, {"guard": "rollback", "subject": "", "sentence": sentence}]
    before = held(session)
    if before is not None:
        before.state = BuildState.REPLACED
        session.add(before)
    if row.reasons:
        row.state = BuildState.HELD
        session.add(row)
        detail: audit.Detail = {
            "digest": row.digest,
            "guards": sorted({one["guard"] for one in row.reasons}),
            "reasons": len(row.reasons),
        }
        audit.record(session, SYSTEM, int(now * 1000), "lists.update.hold", f"build:{row.id}", detail)
    else:
        _adopt(session, SYSTEM, now, files, row)
    return row


def _was_rolled_back(session: Session) -> bool:
    row = _in_state(session, BuildState.CURRENT)
    return row is not None and _ROLLED_BACK in row.because


def _adopt(session: Session, actor: Actor, now: float, files: Bases, row: BaseBuild) -> None:
    row.state = BuildState.CURRENT
    session.add(row)
    session.flush()
    others = col(BaseBuild.state) == BuildState.CURRENT, col(BaseBuild.id) != row.id
    session.execute(update(BaseBuild).where(*others).values(state=BuildState.REPLACED))
    bases.make_current(session, files, row.digest, row.size, row.names, int(now))
    detail: audit.Detail = {"digest": row.digest, "names": row.names, "because": list(row.because)}
    record_change(session, actor, now, "lists.update.adopt", f"build:{row.id}", detail)


def _build(session: Session, number: int) -> BaseBuild:
    row = session.get(BaseBuild, number)
    if row is None:
        raise NotFound(f"There is no update {number}.")
    return row


# ---- an administrator's side ----


def approve(session: Session, actor: Actor, now: float, files: Bases, number: int, reason: str) -> BaseBuild:
    """Let a held update out. Raises `Conflict` when it is decided already, or the present base is another one now."""
    row = _decide(session, actor, now, number, reason, BuildState.CURRENT)
    present = bases.current_base(session)
    if present is not None and present.digest != row.previous:
        raise Conflict("The base has changed since this update was compared with it. Build it again.")
    _adopt(session, actor, now, files, row)
    return row


def refuse(session: Session, actor: Actor, now: float, number: int, reason: str) -> BaseBuild:
    """Keep the present base; the lists' next change makes another update."""
    row = _decide(session, actor, now, number, reason, BuildState.REFUSED)
    audit.record(session, actor, int(now * 1000), "lists.update.refuse", f"build:{number}", {"digest": row.digest})
    return row


def _decide(session: Session, actor: Actor, now: float, number: int, reason: str, state: BuildState) -> BaseBuild:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    text = _reason(reason)
    _build(session, number)
    won = session.execute(
        update(BaseBuild)
        .where(col(BaseBuild.id) == number, col(BaseBuild.state) == BuildState.HELD)
        .values(state=state, decided_by=actor.name, decided_at=int(now), reason=text)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()
    row = _build(session, number)
    if getattr(won, "rowcount", 0) != 1:
        by = f" by {row.decided_by}" if row.decided_by else ""
        raise Conflict(f"This update is {row.state}{by}; there is nothing to decide.")
    return row


def roll_back(session: Session, actor: Actor, now: float, files: Bases, digest: str, reason: str) -> BaseBuild:
    """Publish on an earlier base again, as a new version. The update after it is held."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    text = _reason(reason)
    target = session.get(BaseFile, digest)
    if target is None or not files.has(digest):
        raise NotFound("This base is not kept any more.")
    present = bases.require_base(session)
    if target.digest == present.digest:
        raise Conflict("This is the present base.")
    row = BaseBuild(
        state=BuildState.WAITING,
        because=[_ROLLED_BACK],
        started_at=int(now),
        made_at=int(now),
        digest=target.digest,
        size=target.size,
        names=target.names,
        previous=present.digest,
        decided_by=actor.name,
        decided_at=int(now),
        reason=text,
    )
    _adopt(session, actor, now, files, row)
    return row


def rebuild(session: Session, actor: Actor, now: float, reason: str) -> BaseBuild:
    """Ask for a base of the lists as they are on the shelf."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    because = audit.record(session, actor, int(now * 1000), "lists.update.ask", "base", {"reason": reason[:200]})
    return ask(session, now, because)


def _reason(reason: str) -> str:
    mistakes = Mistakes()
    text = mistakes.text("reason", reason, "say why: it stays with the update", 500)
    mistakes.stop()
    return text


def kept(session: Session) -> frozenset[str]:
    """Return the digests of the bases whose files stay: the present one, a held one's, and the newest."""
    rows = session.exec(select(BaseFile).order_by(col(BaseFile.created_at).desc()).limit(KEPT))
    waiting = held(session)
    present = bases.current_base(session)
    extra = [row.digest for row in (waiting, present) if row is not None]
    return frozenset((*(row.digest for row in rows), *extra))
