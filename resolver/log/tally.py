"""What the log writer counts while records pass: for the metrics, and for the portal's page Sight.

Records in (pseudonyms, never addresses), one small file out, `sight.json`, replaced as a whole once a second. The
metrics process and the subscription read that file; nobody asks the log writer, and no worker counts anything more.

    totals    queries by group, action, reason, category and type, since the file was first made
    waited    how long askers waited for upstream: a histogram over the same time
    minutes   queries and blocked of the last half hour
    hours     per group of this clock hour and the one before: queries, blocked, bypass signals, blocked by category,
              each with the number of devices up to `ENOUGH` (who looks at counts must not see fewer than that), and
              whether one address asks like a forwarder
    asked     names that many devices asked for in the last whole day (`popular.py`)

A device is an address. Every table is bounded.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blocklists.bypass import BOOTSTRAP
from blocklists.exchange import ENOUGH
from blocklists.policy import Action, ReasonKind
from resolver import durable
from resolver.log.popular import Popular
from resolver.log.querylog import ACTIONS, REASONS
from resolver.log.use import Use

FILE = "sight.json"
MINUTES = 30
MAX_TOTALS = 20_000  # keys; what comes later counts under the category and type `other`
MAX_KEYS = 4_096  # kinds of records whose words are remembered
MAX_GROUPS = 2_000
MAX_ASKERS = 50_000  # addresses that are watched for asking like a forwarder, per hour
# One person's device asks a few thousand questions in a busy hour, for a few hundred names. A server that forwards for
# a building asks for many more of both.
FORWARDER_QUERIES = 5_000
FORWARDER_NAMES = 600
_NAME_BITS = 1024  # an asker's names are counted by the bits that their hashes set, within a few in a hundred
_ENOUGH_BITS = round(_NAME_BITS * (1 - math.exp(-FORWARDER_NAMES / _NAME_BITS)))  # of so many names (linear counting)
BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds
HOUR, MINUTE = 3600, 60
_TAIL = struct.Struct("<HBBBIQ")
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR"}
_TYPES |= {43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 255: "ANY", 257: "CAA"}
_ADDRESSES = frozenset((1, 28, 65))
_BLOCK, _BYPASS = ACTIONS.index(Action.BLOCK), REASONS.index(ReasonKind.BYPASS)
_GRANT = REASONS.index(ReasonKind.GRANT)

Key = tuple[str, str, str, str, str]  # group, action, reason, category, type
_Kind = tuple[bytes, int, int, int, bytes]  # group, type, action, reason and category as they stand in a record
Seen = Counter[bytes]  # record, its client a pseudonym -> how often


@dataclass(slots=True)
class Part:
    """A count, and the devices it is over: at most `ENOUGH` of them are kept apart."""

    count: int = 0
    devices: set[bytes] = field(default_factory=set)
    before: int = 0  # devices that a former process had seen in this hour

    def add(self, client: bytes, count: int) -> None:
        self.count += count
        if len(self.devices) < ENOUGH:
            self.devices.add(client)

    @property
    def enough(self) -> int:
        return max(self.before, min(len(self.devices), ENOUGH))


@dataclass(slots=True)
class GroupHour:
    """One group in one clock hour."""

    queries: Part = field(default_factory=Part)
    blocked: Part = field(default_factory=Part)
    bypass: Part = field(default_factory=Part)
    categories: dict[str, Part] = field(default_factory=dict)
    forwarder: bool = False


@dataclass(slots=True)
class _Asker:
    queries: int = 0
    names: int = 0  # a bit for each name's hash


class Tally:
    """The counts of one node. `take` for every drained batch, `write` once a second."""

    def __init__(self, state: Path) -> None:
        """Go on from what a former process wrote; begin anew when that cannot be read."""
        self._path = state / FILE
        self._use = Use(state)
        self._totals: Counter[Key] = Counter()
        self._keys: dict[_Kind, Key] = {}
        self._waited = [0] * (len(BUCKETS) + 1)
        self._waited_sum = 0.0
        self._minutes: dict[int, list[int]] = {}
        self._hours: dict[int, dict[str, GroupHour]] = {}
        self._askers: dict[bytes, _Asker] = {}
        self._askers_hour = 0
        self._dirty = False
        self._popular = Popular(state)
        try:
            self._go_on(json.loads(self._path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError):
            self._totals.clear()
            self._hours.clear()
            self._minutes.clear()

    def _go_on(self, plain: Mapping[str, Any]) -> None:
        self._totals.update({_key(row): int(row[5]) for row in plain["totals"]})
        waited = [int(number) for number in plain["waited"]]
        if len(waited) == len(self._waited):
            self._waited, self._waited_sum = waited, float(plain["waited_sum"])
        self._minutes = {int(at): [int(queries), int(blocked)] for at, queries, blocked in plain["minutes"]}
        for row in plain["hours"]:
            hour = self._hours.setdefault(int(row["hour"]), {})
            hour[str(row["group"])] = GroupHour(
                Part(int(row["queries"]), before=int(row["devices"])),
                Part(int(row["blocked"])),
                Part(int(row["bypass"]), before=int(row["bypass_devices"])),
                {str(name): Part(int(count), before=int(devices)) for name, count, devices in row["categories"]},
                bool(row["forwarder"]),
            )

    def take(self, seen: Seen, now: float) -> None:
        """Count records that passed at `now`, seconds since 1970."""
        if not seen:
            return
        self._dirty = True
        hour, minute = int(now) // HOUR * HOUR, int(now) // MINUTE * MINUTE
        groups = self._hours.setdefault(hour, {})
        if hour != self._askers_hour:
            self._askers, self._askers_hour = {}, hour
        for old in [one for one in self._hours if one < hour - HOUR]:
            del self._hours[old]
        in_minute = self._minutes.setdefault(minute, [0, 0])
        for old in [one for one in self._minutes if one <= minute - MINUTES * MINUTE]:
            del self._minutes[old]
        self._popular.turn(now)
        totals = self._totals
        for record, count in seen.items():
            at = 1 + record[0]
            client = record[1:at]
            end = at + 1 + record[at]
            group_octets = record[at + 1 : end]
            at = end + 1 + record[end]
            name = record[end + 1 : at]
            qtype, _, action, reason, latency, number = _TAIL.unpack_from(record, at)
            at += _TAIL.size
            if reason == _GRANT and number:
                self._use.note(number - 1, record[at + 1 : at + 1 + record[at]], now)
            at += 1 + record[at]  # entry
            category_octets = record[at + 1 : at + 1 + record[at]]
            kind = (group_octets, qtype, action, reason, category_octets)
            key = self._keys.get(kind) or self._key_of(kind)
            group, category = key[0], key[3]
            blocked = action == _BLOCK
            if not blocked and qtype in _ADDRESSES:
                self._popular.take(client, name)
            in_minute[0] += count
            if blocked:
                in_minute[1] += count
            if latency:
                self._wait(latency / 1e6, count)
            if key in totals or len(totals) < MAX_TOTALS:
                totals[key] += count
            else:
                totals[group, key[1], key[2], "other", "other"] += count
            one = groups.get(group)
            if one is None:
                if len(groups) >= MAX_GROUPS:
                    continue
                one = groups[group] = GroupHour()
            one.queries.add(client, count)
            if blocked:
                one.blocked.add(client, count)
                one.categories.setdefault(category or str(REASONS[reason]), Part()).add(client, count)
            if reason == _BYPASS or (blocked and category == BOOTSTRAP):
                one.bypass.add(client, count)
            if self._forwards(client, name, count):
                one.forwarder = True

    def _key_of(self, kind: _Kind) -> Key:
        """The words for one kind of record, remembered: there are few."""
        if len(self._keys) >= MAX_KEYS:
            self._keys.clear()
        group, qtype, action, reason, category = kind
        words = (group.decode(errors="replace"), category.decode(errors="replace"))
        made = (words[0], str(ACTIONS[action]), str(REASONS[reason]), words[1], _TYPES.get(qtype, "other"))
        self._keys[kind] = made
        return made

    def _wait(self, seconds: float, count: int) -> None:
        at = next((number for number, limit in enumerate(BUCKETS) if seconds <= limit), len(BUCKETS))
        self._waited[at] += count
        self._waited_sum += seconds * count

    def _forwards(self, client: bytes, name: bytes, count: int) -> bool:
        asker = self._askers.get(client)
        if asker is None:
            if len(self._askers) >= MAX_ASKERS:
                return False
            asker = self._askers[client] = _Asker()
        asker.queries += count
        asker.names |= 1 << hash(name) % _NAME_BITS
        return asker.queries >= FORWARDER_QUERIES and asker.names.bit_count() >= _ENOUGH_BITS

    def close(self, now: float) -> None:
        """Keep everything for the next process. Raises `OSError`."""
        self.write(now)
        self._popular.write(at_once=True)

    def write(self, now: float) -> None:
        """Replace the files in which something is new since the last time. Raises `OSError`."""
        self._use.write(now)
        if not self._dirty:
            return
        self._popular.write()
        durable.replace(self._path, json.dumps(self.plain(), separators=(",", ":")))
        self._dirty = False

    def plain(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "totals": [[*key, count] for key, count in self._totals.items()],
            "waited": self._waited,
            "waited_sum": self._waited_sum,
            "asked": self._popular.finished,
            "minutes": [[at, *counts] for at, counts in sorted(self._minutes.items())],
            "hours": [
                {
                    "hour": hour,
                    "group": group,
                    "queries": one.queries.count,
                    "devices": one.queries.enough,
                    "blocked": one.blocked.count,
                    "bypass": one.bypass.count,
                    "bypass_devices": one.bypass.enough,
                    "categories": [[name, part.count, part.enough] for name, part in one.categories.items()],
                    "forwarder": one.forwarder,
                }
                for hour, groups in sorted(self._hours.items())
                for group, one in groups.items()
            ],
        }


def read(state: Path) -> dict[str, Any] | None:
    """Return what the log writer of this node last wrote; None when there is nothing, or nothing that can be read."""
    try:
        plain = json.loads((state / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None


def _key(row: list[Any]) -> Key:
    group, action, reason, category, kind = (str(part) for part in row[:5])
    return group, action, reason, category, kind
