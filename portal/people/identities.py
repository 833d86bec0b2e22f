"""Whose account an identity at the provider belongs to: found, linked, unlinked.

An account has one identity of an issuer. The first sign-in finds its account by the verified e-mail address, where the
district allows that; afterwards the address plays no part. An address that was given to somebody else therefore opens
nothing: the account is another identity's already, until an administrator unlinks it.
"""

from __future__ import annotations

from sqlalchemy import delete
from sqlmodel import Session, col, select

from portal import access, audit
from portal.access import Actor
from portal.config import OidcConfig
from portal.errors import Conflict, Forbidden
from portal.models.people import ExternalIdentity, User
from portal.oidc.staff import Claimed
from portal.people import accounts, sessions

_NAMES = {"google": "Google", "entra": "Microsoft"}


class NoAccount(Forbidden):
    """Somebody of the district without an account here: most likely a student."""


def name_of(config: OidcConfig) -> str:
    """As people know the provider."""
    return _NAMES[config.kind]


def account(session: Session, config: OidcConfig, now: float, who: Claimed) -> User:
    """Return the account of an identity, linked now if this is its first sign-in. Raises `NoAccount` and `Forbidden`
    (disabled, or linked to another identity)."""
    row = session.get(ExternalIdentity, (who.issuer, who.subject))
    if row is not None:
        user = session.get(User, row.user_id)
        assert user is not None  # a foreign key
    else:
        user = _by_email(session, config, who)
    if user.disabled_at is not None:
        raise Forbidden("This account is disabled. If you still work for the district, ask an administrator.")
    if row is None:
        _add(session, sessions.user_actor(user), now, who, user, "email")
    return user


def _by_email(session: Session, config: OidcConfig, who: Claimed) -> User:
    found = None
    if config.link_by_email and who.email:
        found = session.exec(select(User).where(User.email == who.email)).first()
    if found is None or found.demo:
        raise NoAccount("There is no account for you here.")
    return found


def link(session: Session, actor: Actor, now: float, who: Claimed) -> None:
    """Link a signed-in person's own account to the identity that they showed. Raises `Conflict`."""
    access.require(actor.is_person, "A person links their own account.")
    user = accounts.get(session, actor.user_id or 0)
    row = session.get(ExternalIdentity, (who.issuer, who.subject))
    if row is not None and row.user_id != user.id:
        raise Conflict("That identity belongs to another account. An administrator can unlink it there.")
    if row is None:
        _add(session, actor, now, who, user, "own")


def _add(session: Session, actor: Actor, now: float, who: Claimed, user: User, how: str) -> None:
    assert user.id is not None
    if of(session, user.id, who.issuer) is not None:
        raise Forbidden(
            "This account is linked to another identity of the same address. An administrator can unlink it, when the "
            "address was given to you."
        )
    session.add(ExternalIdentity(issuer=who.issuer, subject=who.subject, user_id=user.id, linked_at=int(now)))
    detail: audit.Detail = {"issuer": who.issuer, "how": how}
    audit.record(session, actor, int(now * 1000), "people.identity.link", f"user:{user.id}", detail)


def of(session: Session, user_id: int, issuer: str) -> ExternalIdentity | None:
    """Return the person's identity of this issuer."""
    mine = select(ExternalIdentity).where(ExternalIdentity.user_id == user_id, ExternalIdentity.issuer == issuer)
    return session.exec(mine).first()


def all_of(session: Session, user_id: int) -> tuple[ExternalIdentity, ...]:
    """Return every identity of the person."""
    return tuple(session.exec(select(ExternalIdentity).where(ExternalIdentity.user_id == user_id)))


def unlink(session: Session, actor: Actor, now: float, user_id: int) -> None:
    """Forget a person's identities and end their sessions; the next sign-in links anew. Raises `Conflict`."""
    access.require(access.may_administer(actor), "Only an administrator unlinks an identity.")
    accounts.get(session, user_id)
    gone = session.execute(delete(ExternalIdentity).where(col(ExternalIdentity.user_id) == user_id))
    if not getattr(gone, "rowcount", 0):
        raise Conflict("This account is linked to no identity.")
    sessions.end_sessions(session, user_id)
    audit.record(session, actor, int(now * 1000), "people.identity.unlink", f"user:{user_id}")
