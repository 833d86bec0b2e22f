"""The portal's keys that this node accepts: the one pinned at enrolment, and those that an accepted one named.

`keys.json` in the state folder holds the statements that were followed; it is read anew for each offer and replaced
whole. A key that was followed up to its end signs nothing new, but what it signed and this node keeps stays valid.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocklists.exchange import Succession
from resolver import durable
from resolver.delivery.enrolment import Identity
from resolver.delivery.policy_store import Pin

KEYS = "keys.json"


@dataclass(frozen=True, slots=True)
class Key:
    """32 bytes, and until when they sign (seconds since 1970; None: no successor is known)."""

    public: bytes
    until: int | None = None


class Keyring:
    """The keys of one node, oldest first. Its methods read and write the state folder; `BadKeys` never leaves it: a
    damaged file counts as empty, and the chain is followed again from the pinned key with the next offer."""

    def __init__(self, state: Path, identity: Identity) -> None:
        self._path = state / KEYS
        self._identity = identity

    def accepted(self, now: float) -> Pin:
        """What may sign an offer now. The newest key has no end."""
        return self._pin([key for key in self._keys(self._read()) if key.until is None or now < key.until])

    def kept(self) -> Pin:
        """What may have signed what is kept: every key that was ever followed."""
        return self._pin(self._keys(self._read()))

    def learn(self, statements: Sequence[Succession], now: float) -> int:
        """Follow what an accepted key signed; return how many keys are new. Raises `OSError`."""
        known = self._read()
        added = 0
        for one in statements:
            keys = self._keys(known)
            if any(key.public.hex() == one.public_key for key in keys):
                continue
            last = keys[-1]
            if (last.until is None or now < last.until) and _signed(self._identity.district, one, last.public):
                known.append(one)
                added += 1
        if added:
            plain = [one.model_dump(mode="json") for one in known]
            durable.write(self._path, json.dumps(plain, indent=1).encode() + b"\n", 0o600)
        return added

    def _keys(self, statements: Sequence[Succession]) -> list[Key]:
        keys = [Key(bytes.fromhex(self._identity.public_key))]
        for one in statements:
            keys[-1] = Key(keys[-1].public, one.old_until)
            keys.append(Key(bytes.fromhex(one.public_key)))
        return keys

    def _pin(self, keys: Sequence[Key]) -> Pin:
        *older, newest = keys
        return Pin(self._identity.district, newest.public, tuple(key.public for key in older))

    def _read(self) -> list[Succession]:
        """What is kept, as far as each statement is signed by the key before it."""
        try:
            plain: Any = json.loads(self._path.read_bytes())
            statements = [Succession.model_validate(one) for one in plain]
        except (OSError, ValueError, TypeError, RecursionError):
            return []
        followed: list[Succession] = []
        for one in statements:
            if not _signed(self._identity.district, one, self._keys(followed)[-1].public):
                break
            followed.append(one)
        return followed


def _signed(district: str, one: Succession, by: bytes) -> bool:
    from blocklists.signature import BadSignature, verify_succession

    try:
        verify_succession(district, bytes.fromhex(one.public_key), one.at, one.old_until, one.signature, by)
    except BadSignature:
        return False
    return True
