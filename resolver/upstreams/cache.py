"""The bounded cache of upstream answers, shared by all client groups; it survives a policy swap.

Keys are the canonical keys of `wire.Query.key`. Bounded in bytes; when full, entries are thrown out from the oldest
on, but one that was asked for since the last look stays (a second chance), so a flood of random names throws out its
own kind. No clock inside: `now` is in seconds, from the caller.
"""

from __future__ import annotations

from collections import deque

from resolver.message.answers import Answer
from resolver.message.wire import is_at_or_below

OVERHEAD = 550  # octets that an entry costs beside its key and body: objects, the table's slot (measured)
PER_TTL, PER_TARGET = 110, 90
SPARE = 1_000  # keys
KEY_TAIL = 5  # octets of a canonical key behind its name


class _Entry:
    __slots__ = ("answer", "size", "used")

    def __init__(self, answer: Answer, size: int) -> None:
        self.answer = answer
        self.size = size
        self.used = False


class Cache:
    """Answers by canonical key. `bytes` is the estimated memory that is kept at or below `limit`."""

    __slots__ = ("_entries", "_order", "bytes", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._entries: dict[bytes, _Entry] = {}
        # From the oldest on, with keys that are no more: the first of a dict is behind all that were deleted from it.
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Answer | None:
        """Return the answer stored under `key`, or None when there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.answer.expires:
            if now >= entry.answer.usable_until:
                self._remove(key)
            return None
        entry.used = True
        return entry.answer

    def stale(self, key: bytes, now: float) -> Answer | None:
        """Return what is stored under `key` when it is usable where no upstream answers, its time over or not."""
        entry = self._entries.get(key)
        return entry.answer if entry is not None and now < entry.answer.usable_until else None

    def put(self, key: bytes, answer: Answer) -> None:
        """Store `answer`, in place of what is there. One that is larger than a sixteenth of the cache is not kept."""
        known = self._entries.pop(key, None)
        if known is not None:
            self.bytes -= known.size
        size = len(key) + len(answer.body) + OVERHEAD + PER_TTL * len(answer.ttls) + PER_TARGET * len(answer.targets)
        if size > self.limit >> 4:
            return
        entry = self._entries[key] = _Entry(answer, size)
        self.bytes += size
        if known is None:
            self._order.append(key)
            if len(self._order) > 2 * len(self._entries) + SPARE:
                self._order = deque(self._entries)
        else:
            entry.used = True  # it keeps its place
        while self.bytes > self.limit:
            self._evict_one()

    def flush(self, name: bytes, subtree: bool) -> int:
        """Drop every type of the lower-cased wire `name`, or of it and all below it; return how many entries went."""
        doomed = [
            key
            for key in self._entries
            if key[:-KEY_TAIL] == name or (subtree and is_at_or_below(key[:-KEY_TAIL], name))
        ]
        for key in doomed:
            self._remove(key)
        return len(doomed)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._order.clear()
        self.bytes = 0

    def _remove(self, key: bytes) -> None:
        self.bytes -= self._entries.pop(key).size

    def _evict_one(self) -> None:
        order = self._order
        while True:
            key = order.popleft()
            entry = self._entries.get(key)
            if entry is None:
                continue
            if not entry.used:
                self._remove(key)
                return
            entry.used = False
            order.append(key)
