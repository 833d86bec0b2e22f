"""Browsers that somebody signed in from before, so that a lock-out never locks out the others.

A school is one address to the portal. Who guesses passwords from there must be slowed down, and must not thereby shut
out the whole school, nor the teacher whose account is guessed at. So a browser that has signed in holds a sealed mark
of that account, and its failures are counted for the mark alone; everybody else at the address is counted together. A
mark is no credential: it opens nothing, and a stolen one buys a handful of guesses at one account.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from portal.sealing import Sealer

COOKIE = "schoolgate_browser"
SECONDS = 180 * 86_400
_PURPOSE = "browser"


@dataclass(frozen=True, slots=True)
class Known:
    """`place` stands for the browser where others are counted by their address."""

    user_id: int
    place: str


def mark(sealer: Sealer, user_id: int, now: float) -> str:
    """Return the cookie of a browser that has just signed in."""
    plain = {"user": user_id, "id": secrets.token_urlsafe(12), "until": int(now) + SECONDS}
    return sealer.seal(_PURPOSE, json.dumps(plain).encode())


def known(sealer: Sealer, cookie: str, now: float) -> Known | None:
    """Return whose browser it is; None for a cookie that is not ours or too old."""
    plain = sealer.open(_PURPOSE, cookie) if 0 < len(cookie) <= 1_000 else None
    if plain is None:
        return None
    found = json.loads(plain)
    return Known(found["user"], f"browser {found['id']}") if now < found["until"] else None
