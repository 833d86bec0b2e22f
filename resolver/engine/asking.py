"""The questions that wait for upstream: one outstanding per key, its tries, and which upstream to ask. Pure.

    new -> asked (UDP) -> answered | asked again (next upstream, or TCP after TC or a wrong case) -> answered | failed

A try has a serial; late answers to an earlier try of a question that still waits are as good as any. The table is
bounded by the number of waiting askers.
"""

from __future__ import annotations

import secrets
from collections import deque

from resolver.engine.seam import Peer, Send, Source
from resolver.wire import Query

MAX_WAITERS = 500  # askers of one question
DOWN_AFTER = 3  # failures in a row
LONGEST_DOWN = 30.0  # seconds

Waiter = tuple[Query, bytes, Source, Peer, float]  # query, its id, where from, whom from, when it asked

# RFC 5452 §9.2 and draft-vixie-dnsext-dns0x20: random case, by letter and by half of the name. Length octets are below
# the letters, so a whole wire name can be translated.
_LETTERS = bytes(range(97, 123))


def _table() -> bytes:
    bits = secrets.randbits(26)
    return bytes.maketrans(_LETTERS, bytes(c - 32 if bits >> (c - 97) & 1 else c for c in _LETTERS))


_CASES = tuple(_table() for _ in range(1024))


def random_case(name: bytes) -> bytes:
    """Return the lower-cased wire `name` with its letters in random case."""
    bits = secrets.randbits(20)
    half = len(name) >> 1
    return name[:half].translate(_CASES[bits & 1023]) + name[half:].translate(_CASES[bits >> 10])


class Question:
    """One outstanding question."""

    __slots__ = ("do", "error", "key", "message", "name", "qtype", "serial", "serials", "server", "tries", "waiters")

    def __init__(self, key: bytes, name: bytes, qtype: int, do: bool, message: bytes) -> None:
        self.key = key
        self.name = name
        self.qtype = qtype
        self.do = do
        self.message = message
        self.waiters: list[Waiter] = []
        self.serials: list[int] = []  # every try
        self.serial = -1  # the try that runs
        self.server = -1
        self.tries = 0
        self.error = False  # somebody answered, but not usefully


class _Server:
    __slots__ = ("down_until", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self.down_until = 0.0


class Asking:
    """The table of outstanding questions over `servers` upstreams, in order of preference."""

    __slots__ = (
        "_deadlines",
        "_next",
        "_questions",
        "_servers",
        "_tries",
        "limit",
        "sent",
        "timeout",
        "tries",
        "waiting",
    )

    def __init__(self, servers: int, timeout: float, tries: int, limit: int) -> None:
        self._servers = [_Server() for _ in range(servers)]
        self._questions: dict[bytes, Question] = {}
        self._tries: dict[int, Question] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._next = 0
        self.timeout = timeout
        self.tries = tries
        self.limit = limit
        self.waiting = 0
        self.sent = 0

    def join(self, key: bytes, waiter: Waiter) -> bool | None:
        """Let `waiter` wait for the question of `key`: True; None when nobody asks that yet; False when it is full."""
        question = self._questions.get(key)
        if self.waiting >= self.limit:
            return False
        if question is None:
            return None
        if len(question.waiters) >= MAX_WAITERS:
            return False
        question.waiters.append(waiter)
        self.waiting += 1
        return True

    def start(self, question: Question, waiter: Waiter, now: float) -> Send | None:
        """Ask a new question; None when there is no upstream at all."""
        if not self._servers:
            return None
        question.waiters.append(waiter)
        self.waiting += 1
        self._questions[question.key] = question
        return self._send(question, now, stream=False)

    def again(self, question: Question, now: float, *, stream: bool = False) -> Send | None:
        """Ask once more, over TCP at the same upstream or at the next one; None when every try is used up."""
        if question.tries >= self.tries + stream:  # a last try that came back truncated is still worth a connection
            return None
        if not stream and question.tries >= len(self._servers) and all(one.down_until > now for one in self._servers):
            return None
        return self._send(question, now, stream=stream)

    def of(self, serial: int) -> Question | None:
        """Return the question that the try `serial` belongs to, when it still waits."""
        return self._tries.get(serial)

    def finish(self, question: Question) -> list[Waiter]:
        """Take the question out of the table and return who waits for it."""
        for serial in question.serials:
            self._tries.pop(serial, None)
        self._questions.pop(question.key, None)
        self.waiting -= len(question.waiters)
        return question.waiters

    def expired(self, now: float) -> list[Question]:
        """Return the questions whose running try has had its time."""
        found: list[Question] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, serial = deadlines.popleft()
            question = self._tries.get(serial)
            if question is not None and question.serial == serial:
                found.append(question)
        return found

    def next_deadline(self) -> float | None:
        """When `expired` may have something next."""
        return self._deadlines[0][0] if self._deadlines else None

    def clock_set_back(self, now: float) -> None:
        """Give every running try its whole time again, from `now`."""
        self._deadlines = deque((now + self.timeout, serial) for _, serial in self._deadlines)
        for server in self._servers:
            server.down_until = 0.0

    def failed(self, server: int, now: float) -> None:
        """Note that `server` did not answer usefully; after some in a row it rests for a while, longer each time."""
        one = self._servers[server]
        one.failures += 1
        if one.failures >= DOWN_AFTER and one.down_until <= now:
            one.down_until = now + min(2.0 ** min(one.failures - DOWN_AFTER, 10), LONGEST_DOWN)

    def worked(self, server: int) -> None:
        """Note that `server` answered."""
        one = self._servers[server]
        one.failures = 0
        one.down_until = 0.0

    def others(self) -> bool:
        """True when there is more than one upstream."""
        return len(self._servers) > 1

    def _send(self, question: Question, now: float, *, stream: bool) -> Send:
        serial = self._next
        self._next += 1
        question.tries += 1
        if not stream:
            question.server = self._choose(question.server, now)
        question.serial = serial
        question.serials.append(serial)
        self._tries[serial] = question
        self._deadlines.append((now + self.timeout, serial))
        self.sent += 1
        return (serial, question.server, question.message, stream)

    def _choose(self, last: int, now: float) -> int:
        """The first upstream in order that does not rest; after a failed try, the next one round. One that has rested
        is tried with a single question before the rest of them come back to it."""
        servers = self._servers
        count = len(servers)
        for step in range(count):
            at = (last + 1 + step) % count if last >= 0 else step
            one = servers[at]
            if one.down_until <= now:
                if one.failures >= DOWN_AFTER:
                    one.down_until = now + self.timeout
                return at
        return (last + 1) % count
