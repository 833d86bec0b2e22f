"""Signed-in browsers and bearer tokens: from a secret to an `Actor`.

Secrets are 256 random bits; rows hold only their SHA-256. A browser's cookie is worth nothing without the form token
(`csrf`) that its session holds: every state change must carry it. Signing in takes the engine, not a session: the slow
password hash must not run while a transaction holds the write lock.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from sqlalchemy import Engine, Update, delete, desc, update
from sqlmodel import Session, col, select

from portal import access, audit
from portal.access import Actor, ActorKind
from portal.database import after_commit, engine_of, reading, transaction, writes
from portal.errors import Forbidden, NotFound
from portal.models.people import ApiToken, User, WebSession
from portal.models.words import Role, Scope
from portal.people.browsers import Known
from portal.people.passwords import Passwords

COOKIE = "schoolgate_session"
IDLE_SECONDS = 4 * 3600
TOUCH_SECONDS = 300  # `last_seen_at` and `last_used_at` are this coarse, so that reading pages rarely writes
_SESSION_ID = 16  # first characters of the secret's hash
TOKEN_PREFIX = "sgt_"  # noqa: S105
_WRONG = "The e-mail address and the password do not belong together."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser's session: the cookie's secret (known only right after signing in), its form token, who it is."""

    actor: Actor
    csrf: str
    expires_at: int
    secret: str = ""


class Throttle:
    """Failed sign-ins, in memory: waits that double, per (account, place) and per place.

    A place is an address, or a browser that is known (`browsers.py`): nobody can lock somebody else out from elsewhere,
    nor out of a browser that they use. Counts begin anew after `window` seconds. Thread-safe and bounded.
    """

    FREE = 5  # failures without a wait
    MAX_WAIT = 900
    WINDOW = 3_600
    KEPT = 10_000

    def __init__(self, max_wait: int = MAX_WAIT, window: int = WINDOW) -> None:
        self._max_wait = max_wait
        self._window = window
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float, float]] = {}  # key -> failures, not before, first of them

    def wait(self, email: str, place: str, now: float) -> int:
        """Return the seconds until this place may try this account again; 0: now."""
        with self._lock:
            found = [self._failures[key][1] - now for key in self._keys(email, place) if key in self._failures]
        return max(0, *(int(left) + (left > int(left)) for left in found)) if found else 0

    def failed(self, email: str, place: str, now: float) -> None:
        pair, alone = self._keys(email, place)
        with self._lock:
            for key, free in ((pair, self.FREE), (alone, 10 * self.FREE)):
                count, _, first = self._failures.pop(key, (0, 0.0, now))
                if not first <= now < first + self._window:
                    count, first = 0, now
                count += 1
                pause = 0 if count < free else min(self._max_wait, 2 ** min(count - free, 20))
                self._failures[key] = (count, now + pause, first)
            while len(self._failures) > self.KEPT:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, email: str, place: str) -> None:
        with self._lock:
            self._failures.pop(self._keys(email, place)[0], None)

    @staticmethod
    def _keys(email: str, place: str) -> tuple[str, str]:
        return f"{place} {email}", place


def check_password(
    engine: Engine,
    passwords: Passwords,
    throttle: Throttle,
    email: str,
    password: str,
    now: float,
    address: str,
    browser: Known | None = None,
) -> User:
    """Return the account, or raise `Forbidden` with one sentence that fits a wrong password, an unknown address and a
    disabled account alike. `address` is where the browser is; `browser`, whose mark it has."""
    email = email.strip().lower()[:320]
    with reading(engine) as session:
        user = session.exec(select(User).where(User.email == email)).first()
    own = browser is not None and user is not None and browser.user_id == user.id
    place = browser.place if browser is not None and own else address
    if (wait := throttle.wait(email, place, now)) > 0:
        minutes = "less than a minute" if wait < 60 else f"{-(-wait // 60)} minutes"
        raise Forbidden(f"Too many attempts from here. Try again in {minutes}.")
    right = passwords.check(user.password_hash if user and user.disabled_at is None else None, password)
    if not right or user is None or user.id is None:
        throttle.failed(email, place, now)
        raise Forbidden(_WRONG)
    throttle.succeeded(email, place)
    return user


def unchanged(session: Session, user: User) -> User:
    """Return the row of an account that was checked before this transaction began; a password changed or an account
    disabled meanwhile is `Forbidden`."""
    current = session.get(User, user.id)
    if current is None or current.disabled_at is not None or current.password_hash != user.password_hash:
        raise Forbidden(_WRONG)
    return current


def sign_in_demo(session: Session, user_id: int, now: float, hours: int, demo: bool) -> SignedIn:
    """Sign a demo account in with one click; `demo` is the portal's own setting. Raises `Forbidden`."""
    user = session.get(User, user_id)
    if not demo or user is None or not user.demo or user.disabled_at is not None:
        raise Forbidden("Signing in with one click is for the sample accounts of a demo portal.")
    return begin(session, user, now, hours, "session.demo.begin")


def begin(session: Session, user: User, now: float, hours: int, tag: str) -> SignedIn:
    """Begin a session for somebody who has shown who they are; `hours`: the longest it lives."""
    session.execute(delete(WebSession).where(col(WebSession.expires_at) <= int(now)))
    secret = secrets.token_urlsafe(32)
    assert user.id is not None
    row = WebSession(
        secret_hash=hash_secret(secret),
        user_id=user.id,
        csrf=secrets.token_urlsafe(32),
        created_at=int(now),
        last_seen_at=int(now),
        expires_at=int(now) + hours * 3600,
    )
    session.add(row)
    actor = user_actor(user, row.secret_hash)
    audit.record(session, actor, int(now * 1000), tag, f"user:{user.id}")
    return SignedIn(actor, row.csrf, row.expires_at, secret)


def user_actor(user: User, session_hash: str | None = None) -> Actor:
    assert user.id is not None
    roles = frozenset(Role(role) for role in user.roles)
    return Actor(ActorKind.USER, user.id, user.name, roles, user.id, user.site_id, session=session_hash)


def resolve(session: Session, secret: str, now: float) -> SignedIn | None:
    """Return who the cookie's `secret` belongs to; None when unknown, ended, idle for too long or disabled."""
    row = session.get(WebSession, hash_secret(secret))
    if row is None or now >= row.expires_at or now >= row.last_seen_at + IDLE_SECONDS:
        return None
    user = session.get(User, row.user_id)
    if user is None or user.disabled_at is not None:
        return None
    if now >= row.last_seen_at + TOUCH_SECONDS:
        _touch(session, update(WebSession).where(col(WebSession.secret_hash) == row.secret_hash), "last_seen_at", now)
    return SignedIn(user_actor(user, row.secret_hash), row.csrf, row.expires_at)


def sign_out(session: Session, actor: Actor, now: float) -> None:
    """End the actor's browser session."""
    if actor.session is not None:
        session.execute(delete(WebSession).where(col(WebSession.secret_hash) == actor.session))
        audit.record(session, actor, int(now * 1000), "session.browser.end", actor.reference)


def end_sessions(session: Session, user_id: int) -> None:
    """End every browser session of a person."""
    session.execute(delete(WebSession).where(col(WebSession.user_id) == user_id))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A signed-in browser of a person. `id` names it without being worth anything."""

    id: str
    created_at: int
    last_seen_at: int
    expires_at: int
    mine: bool  # the one that asks


def open_sessions(session: Session, actor: Actor, now: float, user_id: int) -> tuple[OpenSession, ...]:
    """Return a person's signed-in browsers, newest first: one's own, or anybody's for an administrator."""
    _require_own(actor, user_id)
    rows = select(WebSession).where(WebSession.user_id == user_id, col(WebSession.expires_at) > int(now))
    return tuple(
        OpenSession(
            row.secret_hash[:_SESSION_ID],
            row.created_at,
            row.last_seen_at,
            row.expires_at,
            row.secret_hash == actor.session,
        )
        for row in session.exec(rows.order_by(desc(col(WebSession.created_at))))
    )


def end_session(session: Session, actor: Actor, now: float, user_id: int, session_id: str) -> None:
    """End one of them. Raises `NotFound` when there is none of this id."""
    _require_own(actor, user_id)
    whole = len(session_id) == _SESSION_ID and session_id.isalnum()
    wanted = col(WebSession.user_id) == user_id, col(WebSession.secret_hash).startswith(session_id, autoescape=True)
    gone = session.execute(delete(WebSession).where(*wanted)) if whole else None
    if getattr(gone, "rowcount", 0) != 1:
        raise NotFound("There is no such session; it may have ended already.")
    audit.record(session, actor, int(now * 1000), "session.browser.revoke", f"user:{user_id}", {"session": session_id})


def _require_own(actor: Actor, user_id: int) -> None:
    own = actor.is_person and actor.user_id == user_id
    access.require(own or access.may_administer(actor), "Only an administrator sees other people's sessions.")


def check_csrf(signed_in: SignedIn, sent: str | None) -> None:
    """Raise `Forbidden` unless `sent` (form field `csrf` or header `X-CSRF-Token`) is the session's own."""
    if not sent or not hmac.compare_digest(sent.encode(), signed_in.csrf.encode()):
        raise Forbidden("This page is too old to be sent. Reload it and try again.")


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def resolve_token(session: Session, secret: str, now: float) -> Actor | None:
    """Return who a bearer token speaks for; None when unknown, expired, revoked or its owner is disabled.

    A person's token has the token's role, and that only while the person still has it.
    """
    row = session.exec(select(ApiToken).where(ApiToken.secret_hash == hash_secret(secret))).first()
    if row is None or row.id is None or row.revoked_at is not None:
        return None
    if row.expires_at is not None and now >= row.expires_at:
        return None
    owner = None if row.owner_id is None else session.get(User, row.owner_id)
    if row.owner_id is not None and (owner is None or owner.disabled_at is not None or row.role not in owner.roles):
        return None
    if row.last_used_at is None or now >= row.last_used_at + TOUCH_SECONDS:
        _touch(session, update(ApiToken).where(col(ApiToken.id) == row.id), "last_used_at", now)
    name = row.name if owner is None else f"{owner.name} ({row.name})"
    site = None if owner is None else owner.site_id
    return Actor(
        ActorKind.TOKEN,
        row.id,
        name,
        frozenset({row.role}),
        row.owner_id,
        site,
        machine=owner is None,
        reads_only=row.scope is Scope.READ,
    )


def _touch(session: Session, statement: Update, column: str, now: float) -> None:
    """Note the use: in this transaction when it writes, else in one of its own once this one is over."""
    statement = statement.values({column: int(now)}).execution_options(synchronize_session=False)
    if writes(session):
        session.execute(statement)
        return
    engine = engine_of(session)

    def later() -> None:
        with transaction(engine) as own:
            own.execute(statement)

    after_commit(session, later)


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
