"""Random policies and questions: a running worker, asked over UDP, against the naive model of the decision order.

The model (tests/blocklists/test_decide_model.py) is extended by what only an answer shows: aliases that upstream gives,
and rewrites. It shares nothing with the product but the vocabulary. Every question is compared twice: the reply on the
wire (records, extended error, its words; and no NXDOMAIN above a name that is open), and the query log's record.

`make model N=1000000` runs many; the suite a few. One worker for each policy; its wall clock is the driver's, and the
questions of one moment are under way together, from several sockets of each client.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import select
import socket
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from blocklists import names
from blocklists.policy import UNASSIGNED, Action, Group, ModeKind, ReasonKind, YouTube
from blocklists.snapshot import Snapshot
from resolver.config import Endpoint
from resolver.log.querylog import Record, Ring, decode, ring_path
from tests import support
from tests.blocklists.test_decide_model import (
    NOON,
    SPECIAL,
    STEP,
    UNIVERSE,
    World,
    at_or_below,
    group_of,
    lists_that_hold,
    meant,
    model,
    worlds,
)
from tests.resolver.messages import codes, texts
from tests.resolver.sockets import Clock, udp_socket, worker

CLIENTS = {"one": "127.1.0.7", "two": "127.2.0.7", UNASSIGNED: "127.9.0.7"}
SAFE = {"www.bing.com": "strict.bing.com", "www.google.co.uk": "forcesafesearch.google.com"}
TUBE = {YouTube.STRICT: "restrict.youtube.com", YouTube.MODERATE: "restrictmoderate.youtube.com"}
REWRITTEN = [*SAFE, "m.youtube.com"]
NAMES = [*UNIVERSE, *SPECIAL, *REWRITTEN]

Seen = tuple[str, str, int | None]  # action, reason, number of the rule


@dataclass(frozen=True)
class Expected:
    seen: Seen
    judged: str  # the name that was: the question's, or the one that its alias leads to
    target: str | None  # the alias that the answer holds


@dataclass(frozen=True)
class Case:
    world: World
    snapshot: Snapshot
    aliases: dict[str, str]  # what upstream says: an alias, or else an address
    groups: dict[str, Group | None]


def case_of(world: World, dice: random.Random) -> Case:
    """The world with networks, rewrites and an upstream."""
    modes = [YouTube.OFF, YouTube.MODERATE, YouTube.STRICT]
    groups = tuple(
        replace(one, networks=(f"127.{n}.0.0/16",), safe_search=dice.random() < 0.5, youtube=dice.choice(modes))
        for n, one in enumerate(world.policy.groups, 1)
    )
    grants = tuple(replace(one, lifts_rewrites=dice.random() < 0.5) for one in world.policy.grants)
    extra = support.grant(9, dice.choice(["www.bing.com", "com", "=m.youtube.com"]))
    grants = (*grants, replace(extra, lifts_rewrites=dice.random() < 0.5))
    policy = replace(world.policy, groups=groups, grants=grants)
    base = world.snapshot.base
    snapshots = support.make_test_snapshot(policy, base), support.make_mapped_snapshot(policy, base)
    world = replace(world, policy=policy, snapshot=snapshots[0], mapped=snapshots[1])
    aliases = {name: dice.choice(NAMES) for name in NAMES if dice.random() < 0.4}
    aliases = {name: target for name, target in aliases.items() if target != name}
    return Case(world, dice.choice(snapshots), aliases, {id: group_of(world, id) for id in CLIENTS})


def table_of(case: Case, asker: str, now: float) -> dict[str, str]:
    """Which names are answered as which others for this asker now."""
    group = case.groups[asker]
    moment = max(now, case.world.policy.created_at)
    if group is None or any(
        mode.kind is ModeKind.LOCK_DOWN and mode.starts_at <= moment < mode.ends_at and meant(mode, group)
        for mode in case.world.policy.modes
    ):
        return SAFE | {"m.youtube.com": TUBE[YouTube.STRICT]}
    tube = {} if group.youtube is YouTube.OFF else {"m.youtube.com": TUBE[group.youtube]}
    return (SAFE if group.safe_search else {}) | tube


def judged(case: Case, name: str, asker: str, now: float, via: frozenset[int] = frozenset()) -> tuple[Seen, str | None]:
    """What the model says of a name, and the name that answers in its place."""
    action, reason, number = model(case.world, name, case.groups[asker], now, via)
    if action is not Action.ALLOW or reason is ReasonKind.OWN:
        return (action, reason, number), None
    target = table_of(case, asker, now).get(name)
    if reason is ReasonKind.GRANT and any(
        one.number == number and one.lifts_rewrites for one in case.world.policy.grants
    ):
        target = None
    if target is None:
        return (action, reason, number), None
    return (Action.REWRITE, ReasonKind.REWRITE if reason is ReasonKind.DEFAULT else reason, number), target


def expected(case: Case, name: str, asker: str, now: float) -> Expected:
    """What the client must get: the question judged, then what upstream's alias leads to."""
    seen, target = judged(case, name, asker, now)
    if seen[0] != Action.ALLOW or target is not None or name not in case.aliases:
        return Expected(seen, name, target)
    alias = case.aliases[name]
    via = frozenset((seen[2],)) if seen[1] == ReasonKind.GRANT and seen[2] is not None else frozenset()
    behind, instead = judged(case, alias, asker, now, via)
    if behind[0] in (Action.BLOCK, Action.SYNTHESIZE):
        return Expected(behind, alias, None)
    if instead is not None:
        reason = ReasonKind.REWRITE if seen[1] == ReasonKind.DEFAULT else seen[1]
        return Expected((Action.REWRITE, reason, seen[2]), alias, instead)
    return Expected(seen, name, alias)


def titles(case: Case, wanted: Expected) -> set[str]:
    """How the extended error may begin: what blocks, in words."""
    if wanted.seen[0] == Action.REWRITE:
        return {"Safe search"}
    known = {"brake": "Emergency block", "bypass": "Filter bypass", "custom": "District block"}
    if wanted.seen[1] in known:
        return {known[wanted.seen[1]]}
    held_by = {one.category for one in lists_that_hold(case.world, wanted.judged)}
    return {one.title for one in case.world.policy.categories if one.id in held_by}


# ---- On the wire: questions and upstream's answers written by hand, replies read by dnspython ----


def question(number: int, name: str) -> bytes:
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1) + names.to_wire(name) + b"\0\1\0\1" + opt


def upstream_answer(message: bytes, case: Case) -> bytes:
    end = message.index(b"\0", 12) + 5
    asked = message[12 : end - 4]
    text = names.from_wire(asked.lower())
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\xc0\0\2\1"
    count = 1
    if text in case.aliases:
        target = names.to_wire(case.aliases[text])
        alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(target)) + target
        record = alias + target + struct.pack("!HHIH", 1, 1, 60, 4) + b"\xc0\0\2\1"
        count = 2
    return message[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0) + message[12:end] + record


@dataclass(frozen=True)
class Shown:
    """What a reply shows by itself: its answers as `TYPE data`."""

    rcode: str
    question: str
    answers: tuple[str, ...]
    errors: tuple[int, ...]
    words: tuple[str, ...]


@lru_cache(20_000)
def shown(reply: bytes) -> Shown:
    """Read what follows the id of a reply."""
    message = dns.message.from_wire(b"\0\0" + reply)
    lines = [f"{dns.rdatatype.to_text(rrset.rdtype)} {one}" for rrset in message.answer for one in rrset]
    return Shown(
        dns.rcode.to_text(message.rcode()),
        str(message.question[0].name)[:-1],
        tuple(lines),
        tuple(codes(message)),
        tuple(texts(message)),
    )


def check(case: Case, wanted: Expected, reply: Shown) -> str:
    """What is wrong with a reply; empty: nothing."""
    action, reason, _ = wanted.seen
    error = (15, 16)[reason == ReasonKind.LOCKED]
    answers: tuple[str, ...] = ()
    if action in (Action.ALLOW, Action.REWRITE):
        error = 4 if action == Action.REWRITE else 0
        answers = (*((f"CNAME {wanted.target}.",) if wanted.target else ()), "A 192.0.2.1")
    if reply.answers != answers:
        return f"answers {reply.answers}, not {answers}"
    if reply.errors != ((error,) if error else ()):
        return f"extended errors {reply.errors}, not {error}"
    how = "" if error in (4, 16) else "how to ask: "
    if error and reply.words[0] not in {f"{one}: {how}{case.world.policy.portal}/why" for one in titles(case, wanted)}:
        return f"the words {reply.words}"
    if reply.rcode != "NOERROR" and (answers or reply.rcode != "NXDOMAIN"):
        return f"the code {reply.rcode}"
    return ""


class Wire:
    """One worker under one case, its upstream, and two sockets of each client."""

    def __init__(self, case: Case, clock: Clock, port: int, ring: Ring, upstream: socket.socket) -> None:
        self._case = case
        self.clock = clock
        self._ring = ring
        self._upstream = upstream
        self._poll = select.epoll()
        self._poll.register(upstream, select.EPOLLIN)
        self._sockets: dict[str, list[socket.socket]] = {}
        self._by_number: dict[int, socket.socket] = {}
        for asker, address in CLIENTS.items():
            for _ in range(2):
                made = udp_socket(address)
                made.connect(("127.0.0.1", port))
                made.setblocking(False)
                self._sockets.setdefault(asker, []).append(made)
                self._by_number[made.fileno()] = made
                self._poll.register(made, select.EPOLLIN)

    def close(self) -> None:
        for made in self._by_number.values():
            made.close()
        self._poll.close()

    def ask(self, questions: list[tuple[str, str]]) -> tuple[list[Shown], list[Record]]:
        """Ask all of them (name, asker) at once; return their replies in order, and the log's records."""
        for number, (name, asker) in enumerate(questions):
            self._sockets[asker][number % 2].send(question(number, name))
        replies: dict[int, Shown] = {}
        patience = time.monotonic() + 60
        while len(replies) < len(questions):
            if time.monotonic() > patience:
                raise TimeoutError(f"{len(questions) - len(replies)} questions without an answer")
            for descriptor, _ in self._poll.poll(1):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        if descriptor == self._upstream.fileno():
                            message, peer = self._upstream.recvfrom(512)
                            self._upstream.sendto(upstream_answer(message, self._case), peer)
                        else:
                            data = self._by_number[descriptor].recv(2048)
                            replies[int.from_bytes(data[:2], "big")] = shown(data[2:])
        records: list[Record] = []
        while len(records) < len(questions):
            if time.monotonic() > patience:
                raise TimeoutError(f"{len(records)} records of {len(questions)} questions")
            records += decode(self._ring.drain())
            time.sleep(0)
        return [replies[number] for number in range(len(questions))], records


@contextlib.contextmanager
def running(case: Case, state: Path, upstream: socket.socket) -> Iterator[Wire]:
    clock = Clock(float(NOON))
    endpoint = Endpoint("127.0.0.1", upstream.getsockname()[1])
    with worker(state, lambda _: case.snapshot, clock=clock, upstreams=(endpoint,)) as one:
        one.hear("status")  # its ring is there
        ring = Ring.open(ring_path(state, 0))
        wire = Wire(case, clock, one.port, ring, upstream)
        try:
            yield wire
        finally:
            wire.close()
            ring.drain()
            ring.close()


def compare(case: Case, dice: random.Random, questions: int, state: Path, upstream: socket.socket) -> int:
    """Ask `questions` random questions; raise at the first that differs."""
    per_moment = 100
    with running(case, state, upstream) as wire:
        now = float(NOON)
        for done in range(0, questions, per_moment):
            moment = float(NOON + dice.randrange(-8, 28) * STEP + dice.choice([0, 0, 1, STEP - 1]))
            # A step back of up to a second is a clock that trembles, not one that is set back: nothing is forgotten.
            now = now if 0 < now - moment <= 1 else moment
            wire.clock.set(now)
            asked = [(dice.choice(NAMES), dice.choice(list(CLIENTS))) for _ in range(min(per_moment, questions - done))]
            model = {one: expected(case, *one, now) for one in set(asked)}
            replies, records = wire.ask(asked)
            for (name, asker), reply in zip(asked, replies, strict=True):
                assert reply.question == name
                wrong = check(case, model[name, asker], reply)
                assert not wrong, f"{name} for {asker} at {now}: {wrong}; the model: {model[name, asker]}"
                if reply.rcode == "NXDOMAIN":
                    hidden = [one for one in NAMES if one != name and at_or_below(one, name)]
                    open_below = [one for one in hidden if judged(case, one, asker, now)[0][0] == Action.ALLOW]
                    assert not open_below, f"{name} for {asker} at {now}: NXDOMAIN denies {open_below}"
            logged = Counter((names.from_wire(one.name), one.group) for one in records)
            assert logged == Counter(asked)
            for one in records:
                seen = (one.action, one.reason, one.number)
                wanted = model[names.from_wire(one.name), one.group].seen
                assert seen == wanted, f"{one} in the log, not {wanted}"
    return questions


def run(policies: int, questions: int, number: int = 0) -> int:
    """Return how many questions were compared. `number` is the seed."""
    total = 0
    with tempfile.TemporaryDirectory() as state, udp_socket() as upstream:
        upstream.setblocking(False)

        @seed(number)
        @settings(
            max_examples=policies,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(worlds(), st.integers(0, 2**32))
        def one(world: World, dice_seed: int) -> None:
            nonlocal total
            dice = random.Random(dice_seed)
            total += compare(case_of(world, dice), dice, questions, Path(state), upstream)

        one()
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a running worker against the model")
    parser.add_argument("-n", type=int, default=1_000_000, help="comparisons")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    per_policy = 1000
    count = turn = 0
    while count < options.n:
        count += run(min(50, -(-(options.n - count) // per_policy)), per_policy, options.seed + turn)
        turn += 1
        print(f"{count} comparisons, none different, {time.monotonic() - began:.0f} s", flush=True)
