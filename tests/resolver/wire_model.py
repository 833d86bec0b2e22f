"""Random policies and questions: the running engine, in DNS messages, against the naive model of the decision order.

The model (tests/blocklists/test_decide_model.py) is extended by what only an answer shows: aliases that upstream gives,
and rewrites. It shares nothing with the product but the vocabulary. `make model N=1000000` runs many; the suite a few.
"""

from __future__ import annotations

import argparse
import random
import struct
import time
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from blocklists import names
from blocklists.policy import UNASSIGNED, Action, Group, ModeKind, ReasonKind, YouTube
from blocklists.snapshot import Snapshot
from tests import support
from tests.blocklists.test_decide_model import NOON, SPECIAL, STEP, UNIVERSE, World, group_of, model, worlds
from tests.resolver.laboratory import Laboratory

CLIENTS = {"one": "10.1.0.7", "two": "10.2.0.7", UNASSIGNED: "10.9.0.7"}
SAFE = {"www.bing.com": "strict.bing.com", "www.google.co.uk": "forcesafesearch.google.com"}
TUBE = {YouTube.STRICT: "restrict.youtube.com", YouTube.MODERATE: "restrictmoderate.youtube.com"}
REWRITTEN = [*SAFE, "m.youtube.com"]
NAMES = [*UNIVERSE, *SPECIAL, *REWRITTEN]

Seen = tuple[str, str, int | None]  # action, reason, number of the rule


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
        replace(one, networks=(f"10.{n}.0.0/16",), safe_search=dice.random() < 0.5, youtube=dice.choice(modes))
        for n, one in enumerate(world.policy.groups, 1)
    )
    grants = tuple(replace(one, lifts_rewrites=dice.random() < 0.5) for one in world.policy.grants)
    extra = support.grant(9, dice.choice(["www.bing.com", "com", "=m.youtube.com"]))
    grants = (*grants, replace(extra, lifts_rewrites=dice.random() < 0.5))
    policy = replace(world.policy, groups=groups, grants=grants)
    world = replace(world, policy=policy, snapshot=support.make_test_snapshot(policy, world.snapshot.base))
    aliases = {name: dice.choice(NAMES) for name in NAMES if dice.random() < 0.4}
    aliases = {name: target for name, target in aliases.items() if target != name}
    return Case(world, world.snapshot, aliases, {id: group_of(world, id) for id in CLIENTS})


def table_of(case: Case, asker: str, now: float) -> dict[str, str]:
    """Which names are answered as which others for this asker now."""
    group = case.groups[asker]
    moment = max(now, case.world.policy.created_at)
    if group is None or any(
        mode.kind is ModeKind.LOCK_DOWN
        and mode.starts_at <= moment < mode.ends_at
        and group.audience in mode.audiences
        and (group.site in mode.sites or "*" in mode.sites)
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


def expected(case: Case, name: str, asker: str, now: float) -> Seen:
    """What the client must get: the question judged, then what upstream's alias leads to."""
    seen, target = judged(case, name, asker, now)
    if seen[0] != Action.ALLOW or target is not None or name not in case.aliases:
        return seen
    via = frozenset((seen[2],)) if seen[1] == ReasonKind.GRANT and seen[2] is not None else frozenset()
    behind, instead = judged(case, case.aliases[name], asker, now, via)
    if behind[0] in (Action.BLOCK, Action.SYNTHESIZE):
        return behind
    if instead is not None:
        return (Action.REWRITE, ReasonKind.REWRITE if seen[1] == ReasonKind.DEFAULT else seen[1], seen[2])
    return seen


# ---- DNS messages, written and read by hand: shorter than any library's, and not the product's ----


def question(name: str) -> bytes:
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + names.to_wire(name) + b"\0\1\0\1"


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


def shown(reply: bytes) -> str:
    """The action that a reply shows by itself."""
    flags, _, answers, authority, _ = struct.unpack_from("!HHHHH", reply, 2)
    if answers == 0:
        return "block" if authority == 1 or flags & 15 == 5 else "?"
    return "allow" if flags & 15 == 0 else "?"


def ask(lab: Laboratory, case: Case, name: str, asker: str) -> tuple[Seen, bytes]:
    lab.log.clear()
    lab.late.clear()
    replies = lab.feed(question(name), client=CLIENTS[asker])
    while not replies:
        serial, _, message, _ = lab.sent.pop(0)
        lab.raw_upstream(upstream_answer(message, case), serial)
        replies = lab.late
    (record,) = lab.log
    return (record.action, record.reason, record.number), replies[0]


def compare(case: Case, dice: random.Random, questions: int) -> int:
    """Ask `questions` random questions; raise at the first that differs."""
    lab = Laboratory(case.snapshot)
    per_moment = 40
    for done in range(0, questions, per_moment):
        now = float(NOON + dice.randrange(-8, 28) * STEP + dice.choice([0, 0, 1, STEP - 1]))
        # A step back of up to a second is a clock that trembles, not one that is set back: nothing is forgotten.
        lab.now = lab.now if 0 < lab.now - now <= 1 else now
        for _ in range(min(per_moment, questions - done)):
            name, asker = dice.choice(NAMES), dice.choice(list(CLIENTS))
            seen, reply = ask(lab, case, name, asker)
            wanted = expected(case, name, asker, lab.now)
            assert seen == wanted, f"{name} for {asker} at {lab.now}: {seen}, not {wanted}"
            outside = "block" if seen[0] in (Action.BLOCK, Action.SYNTHESIZE) else "allow"
            assert shown(reply) == outside, f"{name} for {asker}: the reply shows something else than {seen}"
    return questions


def run(policies: int, questions: int) -> int:
    """Return how many questions were compared."""
    total = 0

    @settings(
        max_examples=policies,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds(), st.integers(0, 2**32))
    def one(world: World, seed: int) -> None:
        nonlocal total
        dice = random.Random(seed)
        total += compare(case_of(world, dice), dice, questions)

    one()
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the engine against the model")
    parser.add_argument("-n", type=int, default=1_000_000, help="comparisons")
    wanted = parser.parse_args().n
    began = time.monotonic()
    per_policy = 2000
    count = 0
    while count < wanted:
        count += run(min(50, -(-(wanted - count) // per_policy)), per_policy)
        print(f"{count} comparisons, none different, {time.monotonic() - began:.0f} s", flush=True)
