"""What a new database holds: an empty real district, or the demo one with sample accounts and loopback networks."""

from __future__ import annotations

from sqlmodel import Session

from portal.models import User


def seed(session: Session, now: float, portal_url: str) -> None:
    """Fill an empty database with "Riverbend Public Schools", its groups on loopback addresses, and three accounts
    that sign in with one click. Does nothing when a district exists."""
    raise NotImplementedError


def first_run(session: Session, now: float, portal_url: str) -> None:
    """Fill an empty database for a real district: its row, the seed's categories, one site; no account. Does nothing
    when a district exists."""
    raise NotImplementedError


def accounts(session: Session) -> tuple[User, ...]:
    """Return the demo accounts, for the sign-in page; empty on a real database."""
    raise NotImplementedError
