"""Server cookies: a client that returns one has shown that it receives what is sent to its address.

SipHash-2-4 over client cookie, version, time and address, as every implementation of RFC 9018 makes them, so that
several nodes behind one address (of any make) accept each other's when they are given the same secrets. Bytes in,
bytes out; `now` is in seconds since 1970.
"""

from __future__ import annotations

import hashlib
import struct

from siphash24 import siphash24

CLIENT, SERVER = 8, 16  # octets
WHOLE = CLIENT + SERVER
PERIOD = 86_400  # seconds that a derived key is used; it is accepted as long again
OLDEST = 3_600  # RFC 9018 §4.3, like the next two
RENEW = 1_800
AHEAD = 300

_HEAD = struct.Struct("!BxxxI")  # version, reserved, time


def _hash(data: bytes, key: bytes) -> bytes:
    return bytes(siphash24(data, key=key).digest())


class Cookies:
    """Makes and checks. With `secrets` (16 octets each) the first makes and each is accepted; without, keys are derived
    from `seed`, a new one each day, so that processes with the same seed need not talk."""

    __slots__ = ("_keys", "_period", "_secrets", "_seed")

    def __init__(self, secrets: tuple[bytes, ...], seed: bytes) -> None:
        self._secrets = secrets
        self._seed = seed
        self._keys = secrets
        self._period = -1

    def make(self, client: bytes, address: bytes, now: float) -> bytes:
        """Return the whole cookie for the 8 octets of `client` at the packed `address`."""
        head = _HEAD.pack(1, int(now) & 0xFFFFFFFF)
        return client + head + _hash(client + head + address, self._current(now)[0])

    def good_until(self, cookie: bytes, address: bytes, now: float) -> float:
        """Return until when the whole `cookie` is accepted from `address`; 0 when it is not ours, too old or of a time
        to come. In the last half hour a client should get a new one."""
        if len(cookie) != WHOLE or cookie[8] != 1:
            return 0.0
        age = (int(now) - int.from_bytes(cookie[12:16], "big") + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000  # RFC 1982
        if age > OLDEST or age < -AHEAD:
            return 0.0
        signed, mac = cookie[:16] + address, cookie[16:]
        if any(_hash(signed, key) == mac for key in self._current(now)):
            return now + OLDEST - age
        return 0.0

    def _current(self, now: float) -> tuple[bytes, ...]:
        if not self._secrets:
            period = int(now) // PERIOD
            if period != self._period:
                self._period = period
                self._keys = (self._derived(period), self._derived(period - 1))
        return self._keys

    def _derived(self, period: int) -> bytes:
        return hashlib.blake2b(period.to_bytes(8, "big", signed=True), key=self._seed, digest_size=16).digest()
