"""Who did what, when: append-only rows, chained by hash.

Each row's hash covers its own canonical JSON and the hash of the row before it, so an altered, removed or inserted row
breaks the chain at that place. Rows cut from the end leave a chain that is whole: they are found against a *witnessed
head*, the one that published policies carry to every node.

`detail` holds ids and changed values; never a secret, a password, a purpose or what a person wrote. A tag has three
parts, `thing.part.verb` (`request.decision.approve`), and once used never changes its meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import desc, text
from sqlmodel import Session, col, select

from portal import access
from portal.access import Actor
from portal.models.audit import AuditEvent

GENESIS = "0" * 64  # what stands before the first row
_TAG = re.compile(r"[a-z-]+\.[a-z-]+\.[a-z-]+\Z")
_CHAIN_LOCK = 4414  # PostgreSQL advisory lock: rows are appended one at a time; SQLite's write lock does the same
_MAX_PROBLEMS = 100

Plain = str | int | bool | None | Sequence["Plain"] | Mapping[str, "Plain"]  # no floats: they do not come back the same
Detail = Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Problem:
    """One place where the chain does not hold; `id` is the row's, None for what is missing at the end."""

    id: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. `count` rows were read, the last with the hash `head`."""

    count: int
    head: str
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems


def record(session: Session, actor: Actor, now_ms: int, tag: str, subject: str, detail: Detail | None = None) -> str:
    """Append one event to the chain, in the caller's transaction. Returns `TAG SUBJECT`, for the publication's row."""
    if not _TAG.match(tag):
        raise ValueError(f"{tag!r} is not a tag of three parts")
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CHAIN_LOCK})
    session.flush()
    last = _last(session)
    row = AuditEvent(
        id=1 if last is None else (last.id or 0) + 1,
        at_ms=now_ms,
        actor=actor.reference,
        actor_name=actor.name,
        tag=tag,
        subject=subject,
        detail=dict(detail or {}),
        previous=GENESIS if last is None else last.hash,
        hash="",
    )
    row.hash = _hash(row)
    session.add(row)
    session.flush()
    return f"{tag} {subject}"


def head(session: Session) -> str:
    """Return the hash of the newest row: what a policy carries, so that every node witnesses it."""
    last = _last(session)
    return GENESIS if last is None else last.hash


def find(
    session: Session,
    actor: Actor,
    subject: str | None = None,
    tag: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[AuditEvent, ...]:
    """Return events, newest first; `tag` may be the beginning of one; `before` an event's id, to page on."""
    access.require(access.may_audit(actor), "Only an auditor or an administrator reads the audit.")
    query = select(AuditEvent).order_by(desc(col(AuditEvent.id))).limit(limit)
    if subject is not None:
        query = query.where(AuditEvent.subject == subject)
    if tag is not None:
        query = query.where(col(AuditEvent.tag).startswith(tag, autoescape=True))
    if before is not None:
        query = query.where(col(AuditEvent.id) < before)
    return tuple(session.exec(query))


def verify(session: Session, expected_head: str | None = None, expected_count: int | None = None) -> Verification:
    """Read the whole chain and return every place where it does not hold.

    `expected_head` is a head witnessed earlier (the newest policy's `audit_head`): it must still be in the chain.
    `expected_count` is a number of rows known earlier: fewer is a truncation.
    """
    problems: list[Problem] = []
    previous, wanted, count, seen = GENESIS, 1, 0, expected_head in (None, GENESIS)
    for row in session.exec(select(AuditEvent).order_by(col(AuditEvent.id)).execution_options(yield_per=1000)):
        count += 1
        seen = seen or row.hash == expected_head
        if row.id != wanted:
            problems.append(Problem(row.id, f"row {row.id} stands where row {wanted} belongs: rows are missing"))
        if row.previous != previous:
            problems.append(Problem(row.id, "the row before it is not the one that it was written after"))
        if _hash(row) != row.hash:
            problems.append(Problem(row.id, "it was altered after it was written: its hash does not fit"))
        previous, wanted = row.hash, (row.id or 0) + 1
        session.expunge(row)
    if not seen:
        problems.append(Problem(None, f"the head {str(expected_head)[:16]}… that nodes witnessed is not in the chain"))
    if expected_count is not None and count < expected_count:
        problems.append(Problem(None, f"there are {count} rows where there were {expected_count}"))
    return Verification(count, previous, tuple(problems[:_MAX_PROBLEMS]))


def _last(session: Session) -> AuditEvent | None:
    return session.exec(select(AuditEvent).order_by(desc(col(AuditEvent.id))).limit(1)).first()


def _hash(row: AuditEvent) -> str:
    plain: dict[str, Any] = {
        "id": row.id,
        "at_ms": row.at_ms,
        "actor": row.actor,
        "actor_name": row.actor_name,
        "tag": row.tag,
        "subject": row.subject,
        "detail": row.detail,
        "previous": row.previous,
    }
    text_ = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text_.encode()).hexdigest()
