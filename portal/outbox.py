"""Rows that ask for a new policy version, written in the transaction of the decision that needs it."""

from __future__ import annotations

from sqlmodel import Session

from portal import audit
from portal.access import Actor
from portal.models.delivery import Publication
from portal.notices import Notice, tell


def ask_publication(session: Session, now_ms: int, because: str) -> None:
    """Ask for a version that holds this transaction's changes; `because` is what `audit.record` returned."""
    session.add(Publication(because=because, asked_at_ms=now_ms))
    tell(session, Notice.PENDING)


def record_change(
    session: Session, actor: Actor, now: float, tag: str, subject: str, detail: audit.Detail | None = None
) -> None:
    """Audit a change that the policy must hold, and ask for its publication."""
    now_ms = int(now * 1000)
    ask_publication(session, now_ms, audit.record(session, actor, now_ms, tag, subject, detail))
