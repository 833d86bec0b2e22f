"""People and tokens: accounts are made, reset and disabled; tokens made and revoked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from portal.access import Actor
from portal.models import ApiToken, User


@dataclass(frozen=True, slots=True)
class UserDraft:
    email: str
    name: str
    roles: tuple[str, ...]
    site: str | None = None


@dataclass(frozen=True, slots=True)
class TokenDraft:
    """`machine`: belongs to no person, and never decides. `days`: until it expires, 1 to 366."""

    name: str
    role: str
    machine: bool = True
    days: int = 365


@dataclass(frozen=True, slots=True)
class NewToken:
    """`secret` is shown once."""

    token: ApiToken
    secret: str


def create_user(session: Session, actor: Actor, now: float, draft: UserDraft, password_hash: str) -> User:
    """`password_hash` is made before the transaction (`Passwords.hash`); empty: no sign-in with a password."""
    raise NotImplementedError


def update_user(session: Session, actor: Actor, now: float, user_id: int, draft: UserDraft) -> User:
    raise NotImplementedError


def reset_password(session: Session, actor: Actor, now: float, user_id: int, password_hash: str) -> User:
    """Also ends every session of that person."""
    raise NotImplementedError


def disable(session: Session, actor: Actor, now: float, user_id: int) -> User:
    """Also ends the person's sessions and revokes their tokens. The last administrator cannot be disabled."""
    raise NotImplementedError


def enable(session: Session, actor: Actor, now: float, user_id: int) -> User:
    raise NotImplementedError


def users(session: Session, actor: Actor) -> tuple[User, ...]:
    raise NotImplementedError


def by_email(session: Session, email: str) -> User:
    """Raises `NotFound`."""
    raise NotImplementedError


def create_token(session: Session, actor: Actor, now: float, draft: TokenDraft) -> NewToken:
    raise NotImplementedError


def tokens(session: Session, actor: Actor) -> tuple[ApiToken, ...]:
    """An administrator sees every token, others their own."""
    raise NotImplementedError


def revoke_token(session: Session, actor: Actor, now: float, token_id: int) -> ApiToken:
    raise NotImplementedError
