"""Signed-in browsers and bearer tokens: from a secret to an `Actor`.

Secrets are 256 random bits; rows hold only their SHA-256. A browser's cookie is worth nothing without the form token
(`csrf`) that its session holds: every state change must carry it. Signing in takes the engine, not a session: the slow
password hash must not run while a transaction holds the write lock.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session

from portal.access import Actor
from portal.errors import Forbidden
from portal.passwords import Passwords

COOKIE = "schoolgate_session"
IDLE_SECONDS = 4 * 3600
TOUCH_SECONDS = 300  # `last_seen_at` and `last_used_at` are this coarse, so that reading pages rarely writes
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
    """Failed sign-ins, in memory: waits that double, per (account, address) and per address.

    Keyed with the address, so that nobody can lock somebody else out from elsewhere. Thread-safe and bounded.
    """

    FREE = 5  # failures without a wait
    MAX_WAIT = 900
    KEPT = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}  # key -> failures, not before

    def wait(self, email: str, address: str, now: float) -> int:
        """Return the seconds until this address may try this account again; 0: now."""
        with self._lock:
            found = [self._failures[key][1] - now for key in self._keys(email, address) if key in self._failures]
        return max(0, *(int(left) + (left > int(left)) for left in found)) if found else 0

    def failed(self, email: str, address: str, now: float) -> None:
        pair, alone = self._keys(email, address)
        with self._lock:
            for key, free in ((pair, self.FREE), (alone, 10 * self.FREE)):
                count = self._failures.pop(key, (0, 0.0))[0] + 1
                pause = 0 if count < free else min(self.MAX_WAIT, 2 ** min(count - free, 10))
                self._failures[key] = (count, now + pause)
            while len(self._failures) > self.KEPT:
                del self._failures[next(iter(self._failures))]

    def succeeded(self, email: str, address: str) -> None:
        with self._lock:
            self._failures.pop(self._keys(email, address)[0], None)

    @staticmethod
    def _keys(email: str, address: str) -> tuple[str, str]:
        return f"{address} {email}", address


def sign_in(
    engine: Engine,
    passwords: Passwords,
    throttle: Throttle,
    email: str,
    password: str,
    now: float,
    address: str,
    hours: int,
) -> SignedIn:
    """Return a new browser session, or raise `Forbidden` with one sentence that fits a wrong password, an unknown
    address and a disabled account alike."""
    raise NotImplementedError


def sign_in_demo(session: Session, user_id: int, now: float, hours: int, demo: bool) -> SignedIn:
    """Sign a demo account in with one click; `demo` is the portal's own setting. Raises `Forbidden`."""
    raise NotImplementedError


def resolve(session: Session, secret: str, now: float) -> SignedIn | None:
    """Return who the cookie's `secret` belongs to; None when unknown, ended, idle for too long or disabled."""
    raise NotImplementedError


def sign_out(session: Session, actor: Actor, now: float) -> None:
    """End the actor's browser session."""
    raise NotImplementedError


def check_csrf(signed_in: SignedIn, sent: str | None) -> None:
    """Raise `Forbidden` unless `sent` (form field `csrf` or header `X-CSRF-Token`) is the session's own."""
    if not sent or not hmac.compare_digest(sent.encode(), signed_in.csrf.encode()):
        raise Forbidden("This page is too old to be sent. Reload it and try again.")


def resolve_token(session: Session, secret: str, now: float) -> Actor | None:
    """Return who a bearer token speaks for; None when unknown, expired, revoked or its owner is disabled."""
    raise NotImplementedError


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
