"""The questions that wait for upstream: one outstanding per key, its tries, and which upstream to ask. Pure.

    new -> asked (UDP) -> answered | asked again (next upstream, or TCP after TC or a wrong case) -> answered | failed

The upstream with the shortest smoothed round trip is asked first (RFC 6298's estimator). With others at hand a try gets
a few hundred milliseconds before the next one is asked too; only the last has the whole time-out. The others, and those
that rested, are measured with copies of questions, so that no client waits for a probe. A try has a serial; late
answers to an earlier try of a question that still waits are as good as any. The table is bounded by the number of
waiting askers.
"""

from __future__ import annotations

import heapq
import secrets

from resolver.engine.seam import Peer, Send, Source
from resolver.message.wire import Query, without_edns

MAX_WAITERS = 500  # askers of one question
DOWN_AFTER = 3  # failures in a row
LONGEST_DOWN = 30.0  # seconds
FIRST_PATIENCE = 0.3  # seconds until another upstream is asked too, before there is a measurement
LEAST_PATIENCE, MOST_PATIENCE = 0.1, 0.4  # and afterwards
PROBE_EVERY = 10.0  # seconds between two measurements of an upstream that is not the fastest
MAX_LATE = 1_000  # tries of finished questions that are remembered, to measure their answers
LOOKS_AGAIN = 30.0  # seconds until an upstream that does not answer, or led back to us, is asked whether it does
PLAIN_FOR = 900.0  # seconds that an upstream which does not know EDNS is asked without it

Waiter = tuple[Query, bytes, Source, Peer, float]  # query, its id, where from, whom from, when it asked

# RFC 5452 §9.2 and draft-vixie-dnsext-dns0x20: random case, by letter and by half of the name. Length octets are below
# the letters, so a whole wire name can be translated.
_LETTERS = bytes(range(97, 123))


def _table() -> bytes:
    bits = secrets.randbits(26)
    return bytes.maketrans(_LETTERS, bytes(c - 32 if bits >> (c - 97) & 1 else c for c in _LETTERS))


_CASES = tuple(_table() for _ in range(1024))


def random_case(name: bytes, bits: int) -> bytes:
    """Return the lower-cased wire `name` with its letters in random case. `bits`: a random number of 20 bits."""
    half = len(name) >> 1
    return name[:half].translate(_CASES[bits & 1023]) + name[half:].translate(_CASES[bits >> 10 & 1023])


class Question:
    """One outstanding question."""

    __slots__ = (
        "do",
        "error",
        "key",
        "message",
        "name",
        "plain",
        "probe",
        "qtype",
        "serial",
        "serials",
        "servers",
        "tries",
        "waiters",
    )

    def __init__(self, key: bytes, name: bytes, qtype: int, do: bool, message: bytes, servers: tuple[int, ...]) -> None:
        self.key = key
        self.name = name
        self.qtype = qtype
        self.do = do
        self.message = message  # with EDNS
        self.servers = servers  # whom it may be asked of
        self.waiters: list[Waiter] = []
        self.serials: list[int] = []  # every try
        self.serial = -1  # the try that runs
        self.tries = 0
        self.plain = -1  # the upstream that was asked once more without EDNS
        self.error = False  # somebody answered, but not usefully
        self.probe = False  # does it come back to us? Nobody waits for it


class _Server:
    __slots__ = ("down_until", "failures", "heard", "loops", "measured", "plain_until", "probed", "spread", "srtt")

    def __init__(self) -> None:
        self.failures = 0
        self.down_until = 0.0
        self.heard = 0.0  # when it answered last
        self.measured = 0.0  # when it was asked last
        self.srtt = 0.0  # seconds; 0: not known
        self.spread = 0.0
        self.plain_until = 0.0
        self.loops = False  # what it is asked comes back to us
        self.probed = 0.0  # when that was asked last


class Asking:
    """The table of outstanding questions over `servers` upstreams. Each question names those that it may be asked of,
    in order of preference while none is measured."""

    __slots__ = (
        "_deadlines",
        "_late",
        "_next",
        "_questions",
        "_servers",
        "_tries",
        "limit",
        "looping",
        "sent",
        "timeout",
        "tries",
        "waiting",
    )

    def __init__(self, servers: int, timeout: float, tries: int, limit: int) -> None:
        """`timeout`: seconds for the last try of a question, and for every try when it has one upstream only."""
        self._servers = [_Server() for _ in range(servers)]
        self._questions: dict[bytes, Question] = {}
        self._tries: dict[int, tuple[Question, int, float]] = {}  # serial -> question, upstream, when it was sent
        self._late: dict[int, tuple[int, float]] = {}  # of finished questions, what may still be measured
        self._deadlines: list[tuple[float, int]] = []  # a heap
        self._next = 0
        self.timeout = timeout
        self.tries = tries
        self.limit = limit
        self.waiting = 0
        self.sent = 0
        self.looping: frozenset[int] = frozenset()  # upstreams that lead back to us

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

    def start(self, question: Question, waiter: Waiter, now: float) -> list[Send]:
        """Ask a new question, with a copy to an upstream that is due for a measurement; empty: there is no upstream."""
        if not question.servers:
            return []
        question.waiters.append(waiter)
        self.waiting += 1
        self._questions[question.key] = question
        sends = [self._send(question, self._fastest(question.servers, now), now, stream=False)]
        if len(question.servers) > 1:
            due = self._due(question.servers, sends[0][1], now)
            if due >= 0:
                sends.append(self._try(question, due, now, stream=False))
        return sends

    def refresh(self, question: Question, now: float) -> Send | None:
        """Ask a new question for which nobody waits yet; None when it is asked already, or there is enough to do."""
        if question.key in self._questions or not question.servers or len(self._questions) * 2 >= self.limit:
            return None
        self._questions[question.key] = question
        return self._send(question, self._fastest(question.servers, now), now, stream=False)

    def due_for_probe(self, every: float, now: float) -> list[int]:
        """Return the upstreams to ask whether they lead back to us: each `every` so many seconds, one that is silent or
        did so sooner."""
        found: list[int] = []
        for at, one in enumerate(self._servers):
            wait = min(every, LOOKS_AGAIN) if one.loops or one.failures >= DOWN_AFTER else every
            if not 0 <= now - one.probed < wait:
                one.probed = now
                found.append(at)
        return found

    def probe(self, question: Question, now: float) -> Send:
        """Ask a question for which nobody waits and whose answer is not kept."""
        question.probe = True
        self._questions[question.key] = question
        return self._send(question, question.servers[0], now, stream=False)

    def loops(self, server: int, yes: bool) -> None:
        """Note whether `server` leads back to us: then it is not asked."""
        self._servers[server].loops = yes
        self.looping = frozenset(at for at, one in enumerate(self._servers) if one.loops)

    def state(self, server: int, now: float) -> tuple[str, float]:
        """Return how an upstream is, in a word, and its round trip in seconds, 0 when it is not known."""
        one = self._servers[server]
        if one.loops:
            return "loops", one.srtt
        if one.down_until > now or one.failures >= DOWN_AFTER:
            return "silent", one.srtt
        return ("answers" if one.heard else "not asked yet"), one.srtt

    def again(self, question: Question, last: int, now: float, *, stream: bool = False) -> Send | None:
        """Ask once more, over TCP at the upstream `last` or at the one after it; None when every try is used up."""
        if question.tries >= self.tries + stream:  # a last try that came back truncated is still worth a connection
            return None
        if stream:
            return self._send(question, last, now, stream=True)
        servers = question.servers
        if question.tries >= len(servers) and all(self._servers[at].down_until > now for at in servers):
            return None
        return self._send(question, self._following(servers, last, now), now, stream=False)

    def without_edns(self, question: Question, server: int, now: float) -> Send | None:
        """Ask the same upstream without EDNS (RFC 6891 §6.2.2), once for a question; None when that was done."""
        if question.plain >= 0 or self._servers[server].plain_until > now:
            return None
        question.plain = server
        return self._send(question, server, now, stream=False)

    def of(self, serial: int) -> tuple[Question, int, float] | None:
        """Return the question that the try `serial` belongs to, when it still waits; whom it asked, and when."""
        return self._tries.get(serial)

    def finish(self, question: Question) -> list[Waiter]:
        """Take the question out of the table and return who waits for it."""
        serials = question.serials
        for serial in serials:
            _, server, sent = self._tries.pop(serial)
            if len(serials) > 1:
                self._late[serial] = (server, sent)
        while len(self._late) > MAX_LATE:
            del self._late[next(iter(self._late))]
        self._questions.pop(question.key, None)
        self.waiting -= len(question.waiters)
        return question.waiters

    def expired(self, now: float) -> list[tuple[Question, int, float]]:
        """Return the questions whose running try has had its time, whom it asked, and when."""
        found: list[tuple[Question, int, float]] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, serial = heapq.heappop(deadlines)
            one = self._tries.get(serial)
            if one is not None and one[0].serial == serial:
                found.append(one)
        return found

    def next_deadline(self) -> float | None:
        """When `expired` may have something next. Those of finished tries are passed over."""
        deadlines = self._deadlines
        while deadlines:
            at, serial = deadlines[0]
            if serial in self._tries:
                return at
            heapq.heappop(deadlines)
        return None

    def clock_set_back(self, now: float) -> None:
        """Give every running try its whole time again, from `now`."""
        self._deadlines = [(now + self.timeout, serial) for _, serial in self._deadlines]
        self._tries = {serial: (question, server, now) for serial, (question, server, _) in self._tries.items()}
        self._late.clear()
        for server in self._servers:
            server.down_until = server.heard = server.measured = server.plain_until = 0.0

    def failed(self, server: int, now: float) -> None:
        """Note that `server` did not answer usefully; after some in a row it rests for a while, longer each time."""
        one = self._servers[server]
        one.failures += 1
        if one.failures >= DOWN_AFTER and one.down_until <= now:
            one.down_until = now + min(2.0 ** min(one.failures - DOWN_AFTER, 10), LONGEST_DOWN)

    def silent(self, server: int, sent: float, now: float) -> None:
        """Note that a try of `sent` got no answer. A server that answered others since is well; the name is slow."""
        one = self._servers[server]
        if one.heard < sent:
            one.srtt = min(max(2 * one.srtt, now - sent), self.timeout)
            self.failed(server, now)

    def answered(self, server: int, sent: float, now: float) -> None:
        """Measure the round trip of an answer that came, whatever it says."""
        one = self._servers[server]
        took = max(now - sent, 0.000_001)
        if one.heard == 0.0 or one.failures:
            one.srtt, one.spread = took, took / 2
        else:
            one.spread += (abs(took - one.srtt) - one.spread) / 4
            one.srtt += (took - one.srtt) / 8
        one.heard = now

    def answered_late(self, serial: int, useful: bool, now: float) -> bool:
        """Measure an upstream whose answer came after another's, a probe's mostly; False when it was never asked."""
        found = self._late.pop(serial, None)
        if found is None:
            return False
        self.answered(*found, now)
        if useful:
            one = self._servers[found[0]]
            one.failures = 0
            one.down_until = 0.0
        return True

    def worked(self, question: Question, server: int, now: float) -> None:
        """Note that `server` answered usefully, perhaps only without EDNS."""
        one = self._servers[server]
        one.failures = 0
        one.down_until = 0.0
        if question.plain == server:
            one.plain_until = now + PLAIN_FOR

    def _send(self, question: Question, server: int, now: float, *, stream: bool) -> Send:
        """The try that runs from now on."""
        question.tries += 1
        send = self._try(question, server, now, stream=stream)
        question.serial = send[0]
        heapq.heappush(self._deadlines, (now + self._patience(question, server), send[0]))
        return send

    def _try(self, question: Question, server: int, now: float, *, stream: bool) -> Send:
        serial = self._next
        self._next += 1
        question.serials.append(serial)
        self._tries[serial] = (question, server, now)
        one = self._servers[server]
        one.measured = now
        self.sent += 1
        message = question.message
        if question.plain == server or one.plain_until > now:
            message = without_edns(message)
        return (serial, server, message, stream)

    def _patience(self, question: Question, server: int) -> float:
        if len(question.servers) == 1 or question.tries >= self.tries:
            return self.timeout
        one = self._servers[server]
        usual = one.srtt + 4 * one.spread if one.srtt else FIRST_PATIENCE
        return min(max(LEAST_PATIENCE, min(usual, MOST_PATIENCE)) * question.tries, self.timeout)

    def _fastest(self, servers: tuple[int, ...], now: float) -> int:
        """The upstream with the shortest round trip that does not rest; those never measured only when all are."""
        best = -1
        shortest = 0.0
        for at in servers:
            one = self._servers[at]
            if one.down_until > now or one.failures >= DOWN_AFTER:
                continue
            took = one.srtt or MOST_PATIENCE
            if best < 0 or took < shortest:
                best, shortest = at, took
        return best if best >= 0 else self._following(servers, servers[-1], now)

    def _due(self, servers: tuple[int, ...], asked: int, now: float) -> int:
        """An upstream other than `asked` that does not rest and was not asked for a while, else -1."""
        for at in servers:
            one = self._servers[at]
            if one.measured == 0.0:
                one.measured = now
            elif at != asked and one.down_until <= now and now - one.measured >= PROBE_EVERY:
                return at
        return -1

    def _following(self, servers: tuple[int, ...], last: int, now: float) -> int:
        """The upstream after `last`, in order, that does not rest; when all do, simply the next one."""
        count = len(servers)
        begin = servers.index(last) + 1
        for step in range(count):
            at = servers[(begin + step) % count]
            one = self._servers[at]
            if one.down_until <= now:
                if one.failures >= DOWN_AFTER:  # has rested: one question at a time, until it answers
                    one.down_until = now + self.timeout
                return at
        return servers[begin % count]
