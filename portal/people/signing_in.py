"""The second step of signing in: a browser that has shown the password, or was at the identity provider, waits for a
one-time code.

The step is a row of its own with a secret of its own: it is no session and opens no page. Wrong codes are throttled per
account, whatever the address: only who has the first factor gets this far, so nobody else can be locked out by it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Engine, delete
from sqlmodel import Session, col

from portal.database import reading, transaction
from portal.errors import FieldError, Forbidden, Invalid
from portal.models.people import SignInStep, User
from portal.people import second_factor, sessions
from portal.people.browsers import Known
from portal.people.passwords import Passwords
from portal.people.second_factor import Enrolment
from portal.people.sessions import SignedIn, Throttle
from portal.sealing import Sealer

COOKIE = "schoolgate_step"
SECONDS = 600  # from the password to the code


@dataclass(frozen=True, slots=True)
class Step:
    """The password was right; a code is still to come. `secret` is for the browser's cookie."""

    secret: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the page of the second step shows; `enrolment` when this person has no authenticator yet."""

    name: str
    enrolment: Enrolment | None


@dataclass(frozen=True, slots=True)
class Finished:
    """`recovery`: the new recovery codes, after an enrolment."""

    signed_in: SignedIn
    recovery: tuple[str, ...] = ()


def sign_in(
    engine: Engine,
    passwords: Passwords,
    throttle: Throttle,
    email: str,
    password: str,
    now: float,
    address: str,
    hours: int,
    browser: Known | None = None,
) -> SignedIn | Step:
    """Return a session, or the step to go on with when the account has, or needs, a second factor. Raises `Forbidden`
    with the sentence of `sessions.check_password`."""
    user = sessions.check_password(engine, passwords, throttle, email, password, now, address, browser)
    with transaction(engine) as session:
        return enter(session, sessions.unchanged(session, user), now, hours, "session.password.begin")


def enter(session: Session, user: User, now: float, hours: int, tag: str) -> SignedIn | Step:
    """Return a session for somebody who has shown who they are, here or at the identity provider; or the step to go on
    with when the account has, or needs, a second factor: whoever vouches for the first one, the second is ours."""
    assert user.id is not None
    if not (second_factor.is_on(session, user.id) or second_factor.is_needed(session, user)):
        return sessions.begin(session, user, now, hours, tag)
    session.execute(delete(SignInStep).where(col(SignInStep.expires_at) <= int(now)))
    secret = secrets.token_urlsafe(32)
    row = SignInStep(secret_hash=sessions.hash_secret(secret), kind="code", user_id=user.id, expires_at=0)
    row.expires_at = int(now) + SECONDS
    session.add(row)
    return Step(secret)


def waiting(engine: Engine, sealer: Sealer, secret: str, now: float) -> Waiting | None:
    """Return who the step belongs to; None when it has ended. The first look begins an enrolment that is needed."""
    with reading(engine) as session:
        user = _user(session, secret, now)
        if user is None or user.id is None:
            return None
        name, number = user.name, user.id
        if second_factor.is_on(session, number):
            return Waiting(name, None)
    with transaction(engine) as session:
        return Waiting(name, second_factor.begin(session, sealer, now, number))


def finish(
    engine: Engine, sealer: Sealer, throttle: Throttle, secret: str, code: str, now: float, hours: int
) -> Finished:
    """Return the session that the right code opens. Raises `Forbidden` (the step has ended, or too many wrong codes)
    and `Invalid` (a wrong code)."""
    with reading(engine) as session:
        user = _user(session, secret, now)
    if user is None or user.id is None:
        raise Forbidden("This took too long. Sign in again.")
    place = f"code of {user.id}"
    if (left := throttle.wait("", place, now)) > 0:
        raise Forbidden(f"Too many wrong codes for this account. Try again in {left} seconds.")
    with transaction(engine) as session:
        current = sessions.unchanged(session, user)
        recovery: tuple[str, ...] = ()
        right = True
        try:
            if second_factor.is_on(session, user.id):
                right = second_factor.check(session, sealer, now, current, code)
            else:
                recovery = second_factor.confirm(session, sealer, now, current, code)
        except Invalid:
            right = False
        if right:
            gone = delete(SignInStep).where(col(SignInStep.secret_hash) == sessions.hash_secret(secret))
            if getattr(session.execute(gone), "rowcount", 0) == 1:
                throttle.succeeded("", place)
                return Finished(sessions.begin(session, current, now, hours, "session.code.begin"), recovery)
    throttle.failed("", place, now)
    raise Invalid("You are not signed in.", (FieldError("code", "this code is wrong, or was used already"),))


def _user(session: Session, secret: str, now: float) -> User | None:
    row = session.get(SignInStep, sessions.hash_secret(secret)) if secret else None
    if row is None or row.kind != "code" or now >= row.expires_at or row.user_id is None:
        return None
    user = session.get(User, row.user_id)
    return None if user is None or user.disabled_at is not None else user
