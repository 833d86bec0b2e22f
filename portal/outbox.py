"""Rows that ask for a new policy version, written in the transaction of the decision that needs it."""

from __future__ import annotations

from sqlmodel import Session

from portal.models import Publication


def ask_publication(session: Session, now_ms: int, because: str) -> None:
    """Ask for a version that holds this transaction's changes; `because` is what `audit.record` returned."""
    session.add(Publication(because=because, asked_at_ms=now_ms))
