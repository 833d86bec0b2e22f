"""Which names many devices ask for: counted over a day (UTC), so that no list blocks one of them unseen.

The log writer counts each answer that was not blocked; when a day is over, the names remain that at least `SHARE` of
its devices and at least `ENOUGH` of them asked for. The portal is told of these names, and of no device.

Bounded: of many devices a sample is watched, every second, fourth … by a hash of their pseudonym, at most `SAMPLE` of
them; a name is a set of those, as bits of a number. When there are too many names, those that one device asked for go.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocklists import names
from blocklists.exchange import ENOUGH, MAX_ASKED
from resolver import durable

FILE = "popular.json"  # the present day's counts, so that a restart does not forget them
SHARE = 0.01  # of the day's devices
SAMPLE = 1_000  # devices
MAX_NAMES = 50_000
WRITE_EVERY = 600.0  # seconds
DAY = 86_400


class Popular:
    """`take` for every question, `finished` for the day that ended last."""

    def __init__(self, state: Path) -> None:
        """Go on from what a former process wrote; begin anew when that cannot be read."""
        self._path = state / FILE
        self._written = time.monotonic()
        self.finished: Mapping[str, Any] | None = None  # {"day": its start, "names": [[name, permille], …]}
        self._day = 0  # days since 1970
        self._rarity = 0  # of 2 ** rarity devices one is watched
        self._bits: dict[bytes, int] = {}
        self._free = list(range(SAMPLE))
        self._names: dict[bytes, int] = {}
        self._full = False
        try:
            self._go_on(json.loads(self._path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self._begin(0)

    def _go_on(self, plain: Mapping[str, Any]) -> None:
        self._day = int(plain["day"])
        self._rarity = int(plain["rarity"])
        self._bits = {bytes.fromhex(client): 1 << int(at) for client, at in plain["devices"].items()}
        self._free = sorted(set(range(SAMPLE)).difference(plain["devices"].values()))
        self._names = {names.to_wire(name): int(mask, 16) for name, mask in plain["names"].items()}
        self.finished = plain["finished"]

    def _begin(self, day: int) -> None:
        self._day, self._rarity, self._full = day, 0, False
        self._bits, self._names = {}, {}
        self._free = list(range(SAMPLE))

    def turn(self, now: float) -> None:
        """End the day when `now`, seconds since 1970, is in a later one. A clock set back changes nothing."""
        day = int(now) // DAY
        if day > self._day:
            if self._bits:
                self.finished = {"day": self._day * DAY, "names": self._most()}
            self._begin(day)

    def take(self, client: bytes, name: bytes) -> None:
        """Count a question for this wire name by this device."""
        bit = self._bits.get(client)
        if bit is None:
            while not self._free and self._is_watched(client):
                self._watch_fewer()
            if not self._is_watched(client):
                return
            bit = self._bits[client] = 1 << self._free.pop()
        mask = self._names.get(name)
        if mask is None:
            if len(self._names) >= MAX_NAMES and not self._room():
                return
            mask = 0
        if not mask & bit:
            self._names[name] = mask | bit

    def _is_watched(self, client: bytes) -> bool:
        return not zlib.crc32(client) & ((1 << self._rarity) - 1)

    def _watch_fewer(self) -> None:
        self._rarity += 1
        dropped = 0
        for client in [one for one in self._bits if not self._is_watched(one)]:
            bit = self._bits.pop(client)
            self._free.append(bit.bit_length() - 1)
            dropped |= bit
        self._names = {name: left for name, mask in self._names.items() if (left := mask & ~dropped)}

    def _room(self) -> bool:
        if not self._full:
            self._names = {name: mask for name, mask in self._names.items() if mask & (mask - 1)}
            self._full = len(self._names) > 0.9 * MAX_NAMES  # no more names today: looking again would cost too much
        return not self._full

    def _most(self) -> list[tuple[str, int]]:
        least = max(SHARE * len(self._bits), ENOUGH / (1 << self._rarity))
        found: list[tuple[str, int]] = []
        for wire, mask in self._names.items():
            count = mask.bit_count()
            if count >= least and names.is_canonical(name := names.from_wire(wire)):
                found.append((name, round(1000 * count / len(self._bits))))
        found.sort(key=lambda one: (-one[1], one[0]))
        return found[:MAX_ASKED]

    def write(self, *, at_once: bool = False) -> None:
        """Keep the day's counts, every ten minutes or `at_once`. Raises `OSError`."""
        if not at_once and time.monotonic() - self._written < WRITE_EVERY:
            return
        self._written = time.monotonic()
        plain = {
            "day": self._day,
            "rarity": self._rarity,
            "devices": {client.hex(): bit.bit_length() - 1 for client, bit in self._bits.items()},
            "names": {
                name: f"{mask:x}"
                for wire, mask in self._names.items()
                if mask & (mask - 1) and names.is_canonical(name := names.from_wire(wire))
            },
            "finished": self.finished,
        }
        durable.replace(self._path, json.dumps(plain, separators=(",", ":")))
