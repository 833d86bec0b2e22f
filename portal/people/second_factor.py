"""One-time codes (TOTP, RFC 6238) for reviewers and administrators: enrol, confirm, check, recover, reset.

A code counts once: its time step must be newer than the last one used, in one compare-and-set, so that one seen over a
shoulder is worth nothing. One step of clock drift is allowed either way. Ten recovery codes are shown once and kept as
hashes; each works once. Only somebody else, an administrator or the command line, resets a person's second factor.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import pyotp
import segno
from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from portal import access, audit
from portal.access import Actor
from portal.errors import Conflict, FieldError, Forbidden, Invalid
from portal.models.district import District
from portal.models.people import SecondFactor, User, WebSession
from portal.models.words import Role
from portal.people import accounts, sessions
from portal.sealing import Sealer

STEP = 30  # seconds
DRIFT = 1  # steps, either way
RECOVERY_CODES = 10
_NEEDED_BY = frozenset({Role.REVIEWER, Role.ADMINISTRATOR})
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator needs: the secret in base32, and the same as a QR code (an `<svg>` element)."""

    secret: str
    svg: str


def is_on(session: Session, user_id: int) -> bool:
    row = session.get(SecondFactor, user_id)
    return row is not None and row.confirmed_at is not None


def is_needed(session: Session, user: User) -> bool:
    """The district requires it of this person's roles."""
    return bool(_NEEDED_BY & set(user.roles)) and is_required(session)


def is_required(session: Session) -> bool:
    """The district's setting."""
    district = session.get(District, 1)
    return district is not None and district.second_factor


def begin(session: Session, sealer: Sealer, now: float, user_id: int) -> Enrolment:
    """Return the enrolment under way, or a new one. Raises `Conflict` when codes are in force already."""
    row = session.get(SecondFactor, user_id)
    if row is not None and row.confirmed_at is not None:
        raise Conflict("One-time codes are on for this account. Another administrator can reset them.")
    secret = None if row is None else sealer.open(_purpose(user_id), row.sealed)
    if secret is None:
        secret = pyotp.random_base32().encode()
        if row is None:
            row = SecondFactor(user_id=user_id, sealed="", created_at=int(now))
            session.add(row)
        row.sealed = sealer.seal(_purpose(user_id), secret)
    user, district = accounts.get(session, user_id), session.get(District, 1)
    issuer = "Schoolgate" if district is None else f"Schoolgate {district.name}"
    uri = pyotp.TOTP(secret.decode()).provisioning_uri(name=user.email, issuer_name=issuer)
    return Enrolment(secret.decode(), segno.make(uri, micro=False).svg_inline(scale=4, dark="#000", light="#fff"))


def confirm(session: Session, sealer: Sealer, now: float, user: User, code: str) -> tuple[str, ...]:
    """Put codes in force once the first one is right; return the recovery codes. Raises `Invalid`."""
    assert user.id is not None
    row = session.get(SecondFactor, user.id)
    step = None if row is None or row.confirmed_at is not None else _step(sealer, row, code, now)
    if row is None or step is None:
        raise Invalid("Not confirmed.", (FieldError("code", "this is not the code that your app shows now"),))
    recovery = tuple(_recovery_code() for _ in range(RECOVERY_CODES))
    row.confirmed_at, row.last_step = int(now), step
    row.recovery = [_hash(one) for one in recovery]
    actor = sessions.user_actor(user)
    audit.record(session, actor, int(now * 1000), "people.second-factor.enrol", f"user:{user.id}")
    return recovery


def check(session: Session, sealer: Sealer, now: float, user: User, code: str) -> bool:
    """True when `code` is the person's own, now and for the first time; or an unused recovery code, which is spent."""
    assert user.id is not None
    row = session.get(SecondFactor, user.id)
    if row is None or row.confirmed_at is None:
        return False
    step = _step(sealer, row, code, now)
    if step is not None:
        newer = update(SecondFactor).where(col(SecondFactor.user_id) == user.id, col(SecondFactor.last_step) < step)
        done = session.execute(newer.values(last_step=step).execution_options(synchronize_session=False))
        return getattr(done, "rowcount", 0) == 1
    spent = _hash(code.strip().lower())
    if spent not in row.recovery:
        return False
    row.recovery = [one for one in row.recovery if one != spent]
    detail: audit.Detail = {"left": len(row.recovery)}
    actor = sessions.user_actor(user)
    audit.record(session, actor, int(now * 1000), "people.second-factor.recover", f"user:{user.id}", detail)
    return True


def reset(session: Session, actor: Actor, now: float, user_id: int) -> None:
    """Forget the person's authenticator and end their sessions; they enrol again at the next sign-in if they must."""
    access.require(access.may_administer(actor), "Only an administrator resets one-time codes.")
    if actor.user_id == user_id:
        raise Forbidden("Another administrator resets your one-time codes, or the command line does.")
    accounts.get(session, user_id)
    session.execute(delete(SecondFactor).where(col(SecondFactor.user_id) == user_id))
    sessions.end_sessions(session, user_id)
    audit.record(session, actor, int(now * 1000), "people.second-factor.reset", f"user:{user_id}")


def require(session: Session, actor: Actor, now: float, on: bool) -> None:
    """The district's setting. Turning it on signs out every reviewer and administrator who has not enrolled."""
    access.require(access.may_administer(actor), "Only an administrator changes how people sign in.")
    district = session.get(District, 1)
    if district is None or district.second_factor == on:
        return
    if on and not (actor.user_id and is_on(session, actor.user_id)):
        raise Conflict("Set up one-time codes for your own account first; you would be locked out of your own setting.")
    district.second_factor = on
    if on:
        enrolled = set(session.exec(select(SecondFactor.user_id).where(col(SecondFactor.confirmed_at).is_not(None))))
        without = [user.id for user in session.exec(select(User)) if _NEEDED_BY & set(user.roles)]
        gone = [one for one in without if one not in enrolled]
        session.execute(delete(WebSession).where(col(WebSession.user_id).in_(gone)))
    audit.record(session, actor, int(now * 1000), "district.second-factor.require", "district", {"on": on})


def _step(sealer: Sealer, row: SecondFactor, code: str, now: float) -> int | None:
    """The time step that `code` belongs to, near `now`."""
    digits = code.replace(" ", "")
    secret = sealer.open(_purpose(row.user_id), row.sealed)
    if secret is None or not (digits.isascii() and digits.isdecimal() and len(digits) == 6):
        return None
    totp = pyotp.TOTP(secret.decode(), interval=STEP)
    current = int(now) // STEP
    for step in range(current - DRIFT, current + DRIFT + 1):
        if secrets.compare_digest(totp.at(step * STEP), digits):
            return step
    return None


def _purpose(user_id: int) -> str:
    return f"second-factor:{user_id}"


def _recovery_code() -> str:
    """50 bits in two groups, without letters that look alike."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    return f"{text[:5]}-{text[5:]}"


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
