"""How much one client may ask over UDP: a bucket per address (IPv4) or /64 (IPv6), filled at a rate, with a burst.

Counted by the batch, and only while all clients together ask more than one may: in quiet times it costs an addition
per batch. Bounded, in two generations: who asks often stays. No clock: `now` is in seconds.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from blocklists.clients import parse_address
from resolver.engine.seam import Datagram

MAX_KNOWN = 32_768  # askers of one generation
FIRST = 100  # questions beyond the limit, in a row, that are told to come over TCP
THEN_EVERY = 10  # and of those after them, one in so many

_peer, _who = itemgetter(1), itemgetter(0)


def _counted(datagrams: list[Datagram]) -> Iterable[tuple[Any, int]]:
    """How many questions of a batch each asker asks. Most batches are small, or one asker's."""
    first = datagrams[0][1][0]
    if len(datagrams) == 1:
        return ((first, 1),)
    askers = set(map(_who, map(_peer, datagrams)))
    if len(askers) == 1:
        return ((first, len(datagrams)),)
    return Counter(map(_who, map(_peer, datagrams))).items()


class _Bucket:
    __slots__ = ("beyond", "level", "since")

    def __init__(self, level: float, since: float) -> None:
        self.level = level  # questions that may still be asked
        self.since = since
        self.beyond = 0  # questions since it was last half full that were too many


class Limiter:
    """`rate` questions a second and client, `burst` of them at once; a rate of 0 limits nobody. `exempt` networks are
    never limited: NAT gateways, forwarders."""

    __slots__ = ("_before", "_burst", "_exempt", "_known", "_known_before", "_networks", "_rate", "_seen", "_since")

    def __init__(self, rate: int, burst: int, exempt: tuple[str, ...]) -> None:
        self._rate = rate
        self._burst = max(burst, rate)
        self._exempt = [ipaddress.ip_network(text) for text in exempt]
        self._since = 0.0  # the second that is counted now
        self._seen = self._before = 0  # questions of all clients in it, and in the one before
        self._known: dict[Any, _Bucket | None] = {}  # by who asks; None: exempt
        self._known_before: dict[Any, _Bucket | None] = {}
        self._networks: dict[bytes, _Bucket] = {}  # IPv6 by /64

    def beyond(self, datagrams: list[Datagram], now: float) -> dict[Any, int] | None:
        """Return how many questions of this batch are too many, by who asked; None when none is."""
        if not 0 <= now - self._since < 1.0:
            self._before = self._seen if 0 <= now - self._since < 2.0 else 0
            self._since, self._seen = now, 0
        self._seen += len(datagrams)
        if not datagrams or not self._rate or (self._seen <= self._rate and self._before <= self._rate):
            return None
        found: dict[Any, int] = {}
        for who, count in _counted(datagrams):
            known = self._known
            bucket = known[who] if who in known else self._bucket(who, now)
            if bucket is None:
                continue
            level = bucket.level + max(now - bucket.since, 0.0) * self._rate
            bucket.since = now
            if level >= self._burst / 2:
                bucket.beyond = 0
            level = min(level, self._burst) - count
            if level < 0:
                found[who] = min(count, math.ceil(-level))
                level += found[who]
            bucket.level = level
        return found or None

    def tells(self, who: Any) -> bool:
        """True when this question beyond the limit is answered, with no more than that it should come another way."""
        bucket = self._known.get(who)
        if bucket is None:
            return False
        bucket.beyond += 1
        return bucket.beyond <= FIRST or bucket.beyond % THEN_EVERY == 0

    def _bucket(self, who: Any, now: float) -> _Bucket | None:
        known = self._known
        if who in known:
            return known[who]
        if len(known) >= MAX_KNOWN:
            self._known_before = known
            self._known = known = {}
            self._networks = {}
        if who in self._known_before:
            bucket = known[who] = self._known_before[who]
            return bucket
        address = parse_address(who[0] if isinstance(who, tuple) else who)
        if any(address in network for network in self._exempt):
            known[who] = None
            return None
        packed = address.packed
        network = packed if len(packed) == 4 else packed[:8]
        bucket = self._networks.get(network)
        if bucket is None:
            bucket = self._networks[network] = _Bucket(self._burst, now)
        known[who] = bucket
        return bucket
