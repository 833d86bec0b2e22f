"""People and tokens: accounts are made, reset and disabled; tokens made and revoked.

The last administrator who can sign in is never lost. What a disabled person granted or requested stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import Session, col, select

from portal import access, audit
from portal.access import Actor
from portal.errors import Conflict, FieldError, Invalid, NotFound
from portal.fields import Mistakes
from portal.models.district import Site
from portal.models.people import ApiToken, User
from portal.models.words import Role, Scope
from portal.people import sessions

MAX_TOKEN_DAYS = 366
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+\Z")
_ONLY_ADMINISTRATORS = "Only an administrator manages accounts."


@dataclass(frozen=True, slots=True)
class UserDraft:
    email: str
    name: str
    roles: tuple[str, ...]
    site: str | None = None


@dataclass(frozen=True, slots=True)
class TokenDraft:
    """`machine`: belongs to no person, and never decides. `days`: until it expires, 1 to 366. `scope`: `read` or
    `change`."""

    name: str
    role: str
    machine: bool = True
    days: int = 365
    scope: str = Scope.CHANGE


@dataclass(frozen=True, slots=True)
class NewToken:
    """`secret` is shown once."""

    token: ApiToken
    secret: str


def create_user(session: Session, actor: Actor, now: float, draft: UserDraft, password_hash: str) -> User:
    """`password_hash` is made before the transaction (`Passwords.hash`); empty: no sign-in with a password."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = User(email="", name="", password_hash=password_hash, created_at=int(now))
    _read(session, row, draft)
    session.add(row)
    session.flush()
    detail: audit.Detail = {"roles": row.roles, "site": row.site_id}
    audit.record(session, actor, int(now * 1000), "people.user.create", f"user:{row.id}", detail)
    return row


def update_user(session: Session, actor: Actor, now: float, user_id: int, draft: UserDraft) -> User:
    """Set name, address, roles and site of an account."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = get(session, user_id)
    before: audit.Detail = {"roles": list(row.roles), "site": row.site_id}
    address = row.email
    was_administrator = Role.ADMINISTRATOR in row.roles
    with session.no_autoflush:
        _read(session, row, draft)
    if was_administrator and Role.ADMINISTRATOR not in row.roles:
        _keep_an_administrator(session, user_id)
    detail: audit.Detail = {"before": before, "after": {"roles": list(row.roles), "site": row.site_id}}
    if address != row.email:  # the provider's first sign-in goes by it: whose account it is may change
        detail = {**detail, "address": {"before": address, "after": row.email}}
    audit.record(session, actor, int(now * 1000), "people.user.update", f"user:{row.id}", detail)
    return row


def _read(session: Session, row: User, draft: UserDraft) -> None:
    mistakes = Mistakes()
    email = draft.email.strip().lower()
    if not _EMAIL.match(email) or len(email) > 254:
        mistakes.add("email", "write an e-mail address, like tess.okafor@district.example")
    elif session.exec(select(User.id).where(User.email == email, User.id != row.id)).first() is not None:
        mistakes.add("email", f"there is an account for {email} already")
    name = mistakes.text("name", draft.name, "write the person's name", 100)
    roles = mistakes.words("roles", draft.roles, Role, "give at least one role")
    if draft.site and session.get(Site, draft.site) is None:
        mistakes.add("site", f"there is no site {draft.site[:40]!r}")
    mistakes.stop()
    row.email, row.name, row.roles, row.site_id = email, name, [str(role) for role in roles], draft.site or None


def reset_password(session: Session, actor: Actor, now: float, user_id: int, password_hash: str) -> User:
    """Also ends every session of that person."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = get(session, user_id)
    if row.demo:
        raise Conflict("A demo account has no password; it signs in with one click.")
    row.password_hash = password_hash
    sessions.end_sessions(session, user_id)
    audit.record(session, actor, int(now * 1000), "people.password.reset", f"user:{user_id}")
    return row


def disable(session: Session, actor: Actor, now: float, user_id: int) -> User:
    """Also ends the person's sessions and revokes their tokens. The last administrator cannot be disabled."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = get(session, user_id)
    if row.disabled_at is not None:
        return row
    if Role.ADMINISTRATOR in row.roles:
        _keep_an_administrator(session, user_id)
    row.disabled_at = int(now)
    sessions.end_sessions(session, user_id)
    theirs = update(ApiToken).where(col(ApiToken.owner_id) == user_id, col(ApiToken.revoked_at).is_(None))
    session.execute(theirs.values(revoked_at=int(now)).execution_options(synchronize_session=False))
    audit.record(session, actor, int(now * 1000), "people.user.disable", f"user:{user_id}")
    return row


def enable(session: Session, actor: Actor, now: float, user_id: int) -> User:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = get(session, user_id)
    if row.disabled_at is not None:
        row.disabled_at = None
        audit.record(session, actor, int(now * 1000), "people.user.enable", f"user:{user_id}")
    return row


def _keep_an_administrator(session: Session, without: int) -> None:
    others = session.exec(select(User).where(col(User.disabled_at).is_(None), User.id != without))
    if not any(Role.ADMINISTRATOR in other.roles for other in others):
        raise Conflict("This is the last administrator. Make another one first.")


def users(session: Session, actor: Actor) -> tuple[User, ...]:
    """Return every account, by name."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    return tuple(session.exec(select(User).order_by(col(User.name), col(User.id))))


def by_email(session: Session, email: str) -> User:
    """Raises `NotFound`."""
    row = session.exec(select(User).where(User.email == email.strip().lower())).first()
    if row is None:
        raise NotFound(f"There is no account for {email[:100]}.")
    return row


def get(session: Session, user_id: int) -> User:
    """Raises `NotFound`."""
    row = session.get(User, user_id)
    if row is None:
        raise NotFound(f"There is no account {user_id}.")
    return row


def create_token(session: Session, actor: Actor, now: float, draft: TokenDraft) -> NewToken:
    """A person makes tokens for themselves, with a role that they have; an administrator also makes machines'."""
    mistakes = Mistakes()
    name = mistakes.text("name", draft.name, "say what it is for", 100)
    role = mistakes.word("role", draft.role, Role, Role.REQUESTER)
    scope = mistakes.word("scope", draft.scope, Scope, Scope.READ)
    if not 1 <= draft.days <= MAX_TOKEN_DAYS:
        mistakes.add("days", f"a token lives 1 to {MAX_TOKEN_DAYS} days")
    mistakes.stop()
    if draft.machine:
        access.require(access.may_administer(actor), "Only an administrator makes a token for a machine.")
    else:
        access.require(actor.is_person, "A person's token is made by that person.")
        if role not in actor.roles:
            raise Invalid("The token cannot be made.", (FieldError("role", "choose a role that you have"),))
    secret = sessions.new_token()
    row = ApiToken(
        name=name,
        secret_hash=sessions.hash_secret(secret),
        role=role,
        scope=scope,
        owner_id=None if draft.machine else actor.user_id,
        created_by=actor.reference,
        created_at=int(now),
        expires_at=int(now) + draft.days * 86400,
    )
    session.add(row)
    session.flush()
    detail: audit.Detail = {"role": str(role), "scope": str(scope), "owner": row.owner_id, "expires_at": row.expires_at}
    audit.record(session, actor, int(now * 1000), "people.token.create", f"token:{row.id}", detail)
    return NewToken(row, secret)


def tokens(session: Session, actor: Actor) -> tuple[ApiToken, ...]:
    """An administrator sees every token, others their own."""
    query = select(ApiToken).order_by(col(ApiToken.id))
    if not access.may_administer(actor):
        query = query.where(ApiToken.owner_id == (actor.user_id or 0))
    return tuple(session.exec(query))


def revoke_token(session: Session, actor: Actor, now: float, token_id: int) -> ApiToken:
    row = session.get(ApiToken, token_id)
    own = row is not None and actor.is_person and row.owner_id == actor.user_id
    if row is None or not (own or access.may_administer(actor)):
        raise NotFound(f"There is no token {token_id}.")
    if row.revoked_at is None:
        row.revoked_at = int(now)
        audit.record(session, actor, int(now * 1000), "people.token.revoke", f"token:{token_id}")
    return row
