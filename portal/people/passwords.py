"""Passwords: argon2id, a few at a time."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from portal.errors import FieldError, Invalid

MIN_LENGTH = 12
MAX_LENGTH = 200


class Passwords:
    """Hashing costs 19 MiB and some tens of milliseconds each (OWASP's argon2id minimum); `at_once` of them run
    together, so that a flood of sign-ins cannot take the machine's memory. Thread-safe."""

    def __init__(self, at_once: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._gate = threading.BoundedSemaphore(at_once)
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    def hash(self, password: str) -> str:
        """Return the hash of a new password, or raise `Invalid` when it is too short or too long."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            what = f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters; four or five random words are good"
            raise Invalid("The password cannot be used.", (FieldError("password", what),))
        with self._gate:
            return self._hasher.hash(password)

    def check(self, password_hash: str | None, password: str) -> bool:
        """True when `password` is the one of `password_hash`. None or an empty hash (nobody, or an account without a
        password) costs the same time and is never right."""
        with self._gate:
            try:
                self._hasher.verify(password_hash or self._nobody, password[:MAX_LENGTH])
            except (Argon2Error, InvalidHashError):
                return False
        return bool(password_hash) and len(password) <= MAX_LENGTH
