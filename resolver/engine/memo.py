"""What one install remembers: verdicts per effective policy, and finished answers by canonical key.

A finished answer is found again in two levels: by the exact bytes of the question after its id (`View.fast`), and by
its canonical key (`Memo`). A key is admitted on its second sighting, and one that was used since the last look stays
when another must go, so random names neither fill the memo nor throw hot names out. Bounded throughout; no clock.
"""

from __future__ import annotations

from collections import deque

from blocklists import names
from blocklists.decide import NO_GRANTS, decide
from blocklists.policy import FOREVER, ModeKind, Verdict
from blocklists.rules import STRICTEST, Rules
from resolver.message import wire
from resolver.message.answers import Answer, assemble
from resolver.message.wire import COOKIE, Query, opt_record, option, patch_ttls, without_cookie

MAX_VARIANTS = 4  # different bytes of one question (0x20 case, EDNS sizes) that the first level knows
MAX_VERDICTS = 16_384  # per view and generation; there are two

NO_CAP = 0x7FFFFFFF

_OPT_LENGTH = 9  # where an OPT record's length stands in it
_ROOM = 512 - 2 - 28  # octets behind the id that leave room for a cookie in what every client can take


class Fast:
    """First level: what follows the id, ready to send until `until` (seconds since 1970). `opt` is where the length of
    the OPT record that ends it stands, so that a cookie can be put behind; 0: there is none, or no room for one."""

    __slots__ = ("_body", "_finished", "blocked", "hits", "opt", "record", "tail", "until")

    def __init__(self, tail: bytes, until: float, finished: Finished, body: int, opt: int) -> None:
        self.hits = 0
        self.put(tail, until, finished, body, opt)

    def put(self, tail: bytes, until: float, finished: Finished, body: int, opt: int) -> None:
        """Hold this from now on. `body`: where in `tail` the body of `finished` begins."""
        self.tail = tail
        self.opt = opt
        self.until = until
        self.record = finished.record
        self.blocked = finished.blocked
        self._body = body
        self._finished = finished

    def renewed(self, now: float) -> bool:
        """Bring the TTLs up to date, once a second and answer; False when it must be looked at as a whole again."""
        finished = self._finished
        if now >= finished.until or finished.ageing(now):
            return False
        body, until = finished.body(now)
        at = self._body
        self.tail = self.tail[:at] + body + self.tail[at + len(body) :]
        self.until = until
        return now < until


class Finished:
    """Second level: an answer that may be given under one effective policy. TTLs are cut to `cap` and to what is left
    until `decided_until`; the whole is good until `until`."""

    __slots__ = ("answer", "blocked", "cap", "decided_until", "hits", "record", "until", "variants")

    def __init__(self, answer: Answer, decided_until: float, cap: int, record: bytes, blocked: int) -> None:
        self.answer = answer
        self.decided_until = decided_until
        self.until = min(decided_until, answer.expires)
        self.cap = cap
        self.record = record
        self.blocked = blocked
        self.hits = 0
        self.variants: list[tuple[dict[bytes, Fast], bytes, Fast]] = []

    def ageing(self, now: float) -> bool:
        """True in the last tenth of an upstream answer's life: time to ask again, while this one is still good."""
        answer = self.answer
        return answer.stored != FOREVER and (answer.expires - now) * 10 < answer.expires - answer.stored

    def body(self, now: float) -> tuple[bytes, float]:
        """Return the answer's body as it is at `now`, and until when exactly these bytes are right."""
        answer = self.answer
        if not answer.ttls:
            return answer.body, self.until
        left = self.decided_until - now
        if answer.stored == FOREVER:
            longest = max(ttl for _, ttl in answer.ttls)
            if left >= longest and self.cap >= longest:
                return answer.body, min(self.until, self.decided_until - longest + 1e-3)
            cap = max(int(min(left, self.cap)), 0)
            return patch_ttls(answer.body, answer.ttls, 0, cap), min(self.until, now + 1)
        age = int(now - answer.stored)
        cap = self.cap if left >= self.cap else max(int(left), 0)
        return patch_ttls(answer.body, answer.ttls, age, cap), min(self.until, answer.stored + age + 1)


class View:
    """One effective policy: its rules, its verdicts, and its first level."""

    __slots__ = ("_old", "_targets", "_young", "fast", "route", "rules")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.route = rules.number.to_bytes(2, "big")
        self.fast: dict[bytes, Fast] = {}
        self._young: dict[tuple[bytes, frozenset[int]], Verdict] = {}
        self._old: dict[tuple[bytes, frozenset[int]], Verdict] = {}
        closed = any(mode.kind is ModeKind.LOCK_DOWN for mode in rules.modes)
        targets = {*rules.rewrites.values(), *(STRICTEST.values() if closed else ())}
        self._targets = frozenset(map(names.to_wire, targets))

    def rewrites_to(self, target: bytes) -> bool:
        """True when a name may be answered as the lower-cased wire name `target`."""
        return target in self._targets

    def verdict(self, name: bytes, now: float, via: frozenset[int] = NO_GRANTS) -> Verdict:
        """Return the verdict on the lower-cased wire `name`, remembered for as long as it holds.

        Two generations: what was used since the last turn moves on to the next, the rest is forgotten.
        """
        key = (name, via)
        found = self._young.get(key)
        if found is not None and now < found.valid_until:
            return found
        found = self._old.get(key)
        if found is None or now >= found.valid_until:
            found = decide(names.from_wire(name), self.rules, now, via)
        if len(self._young) >= MAX_VERDICTS:
            self._old = self._young
            self._young = {}
        self._young[key] = found
        return found


class Memo:
    """Finished answers by canonical key and route, at most `limit` of them, over all views."""

    __slots__ = ("_entries", "_order", "_seen", "_seen_before", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = max(limit, 16)
        self._entries: dict[bytes, Finished] = {}
        self._order: deque[bytes] = deque()  # its keys, from the oldest on
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Finished | None:
        """Return what may be given for `key` at `now`, or None."""
        found = self._entries.get(key)
        if found is None or now >= found.until:
            return None
        found.hits += 1
        return found

    def offer(self, key: bytes, finished: Finished) -> bool:
        """Remember `finished` when `key` was seen before; True when it was. The first sighting is only noted."""
        old = self._entries.get(key)
        if old is not None:
            _forget_variants(old)
            self._entries[key] = finished
            return True
        mark = hash(key)
        if mark not in self._seen and mark not in self._seen_before:
            if len(self._seen) >= self.limit:
                self._seen_before = self._seen
                self._seen = set()
            self._seen.add(mark)
            return False
        if len(self._entries) >= self.limit:
            self._evict_one()
        self._entries[key] = finished
        self._order.append(key)
        return True

    def _evict_one(self) -> None:
        entries, order = self._entries, self._order
        while True:
            key = order.popleft()
            finished = entries[key]
            used = finished.hits
            for _, _, fast in finished.variants:
                used += fast.hits
                fast.hits = 0
            finished.hits = 0
            if not used:
                del entries[key]
                _forget_variants(finished)
                return
            order.append(key)


def remember_variant(
    finished: Finished, view: View, rest: bytes, tail: bytes, until: float, body: int, opt: int
) -> None:
    """Put the bytes of an assembled answer into the first level of `view`, under the question's bytes after its id;
    both without a cookie. `body`: where in `tail` the answer's body begins."""
    fast = view.fast.get(rest)
    if fast is not None:
        fast.put(tail, until, finished, body, opt)
    elif len(finished.variants) < MAX_VARIANTS:
        fast = Fast(tail, until, finished, body, opt)
        view.fast[rest] = fast
        finished.variants.append((view.fast, rest, fast))


def remember(query: Query, finished: Finished, view: View, rest: bytes, body: bytes, until: float, size: int) -> None:
    """Put the answer to a plain UDP `query` into the first level, without a cookie, so that it serves everybody. `rest`
    is the query without its id, `body` the answer's as it is until `until`, `size` our own EDNS size."""
    answer = finished.answer
    tail = assemble(query, answer, body, min(query.size, size), size)
    if tail[0] & wire.TC >> 8:  # not for everybody: a client comes back over TCP with the same bytes
        return
    opt = 0
    if query.edns and not query.extra:
        opt = room_for_cookie(tail, opt_record(size, query.do, answer.ede, answer.rcode))
    bare = without_cookie(rest) if query.cookie else rest
    if bare is not None:
        remember_variant(finished, view, bare, tail, until, wire.HEAD - 2 + len(query.question), opt)


def room_for_cookie(tail: bytes, opt: bytes) -> int:
    """Return `Fast.opt` for an assembled answer that should end with the OPT record `opt`."""
    if len(tail) > _ROOM or not tail.endswith(opt):
        return 0
    return len(tail) - len(opt) + _OPT_LENGTH


def put_cookie(fast: Fast, cookie: bytes) -> bytes:
    """Return the bytes of `fast` with a COOKIE option of `cookie` at the end of its OPT record."""
    tail, at = fast.tail, fast.opt
    length = len(tail) - at - 2 + 4 + len(cookie)
    return tail[:at] + length.to_bytes(2, "big") + tail[at + 2 :] + option(COOKIE, cookie)


def _forget_variants(finished: Finished) -> None:
    for table, rest, _ in finished.variants:
        table.pop(rest, None)
    finished.variants.clear()
