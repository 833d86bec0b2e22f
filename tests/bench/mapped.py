"""`python -m tests.bench mapped` (half a minute): what a policy costs a worker that maps its flat file, and one that
reads it.

Each form in a process of its own: CPU time and private memory of a worker's birth, CPU time of the next version (one
grant more), and of a decision without memo: on names that nothing speaks of, below granted names met for the first
time, and below granted names. What the subscription process pays for the flat file, anew and of the next version, is
told beside it.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from blocklists import flat, policy_codec
from blocklists.decide import decide
from blocklists.policy import Audience, Grant, Group
from blocklists.rules import Rules
from resolver.delivery import flat_file
from resolver.delivery.policy_store import OBJECTS, PolicyStore
from tests import support
from tests.resolver.fake_portal import District

COUNTS = (1_000, 10_000)
SCHOOLS = 30  # with three groups each
ASKED = 10_000


def grants(count: int) -> tuple[Grant, ...]:
    """Two names a grant; half of them for one school, the others for all."""
    return tuple(
        support.grant(
            number,
            f"tool{number}.example.com",
            f"cdn{number}.content.example.net",
            sites=(f"s{number % SCHOOLS}",) if number % 2 else ("*",),
            audiences=(Audience.STUDENTS, Audience.STAFF),
        )
        for number in range(1, count + 1)
    )


def groups() -> tuple[Group, ...]:
    return tuple(
        Group(f"s{school}/{audience}", f"s{school}", audience, (f"10.{school}.{at}.0/24",), (), ("social-media",), ())
        for school in range(SCHOOLS)
        for at, audience in enumerate(Audience)
    )


def main(counts: Iterable[int] = COUNTS) -> None:
    """Print the figures of every count."""
    print(f"a policy in a worker, {3 * SCHOOLS} groups (CPU time)")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            read, mapped = Path(folder, "read"), Path(folder, "mapped")
            for state in (read, mapped):
                data = [_keep(state, number, count + number - 1) for number in (1, 2)]
            for state in (read / "1", read / "2"):
                for path in (state / OBJECTS).glob("*.flat"):
                    path.unlink()
            _making(data)
            for state in (mapped, read):
                subprocess.run([sys.executable, "-m", "tests.bench.mapped", str(state)], check=True)


def _keep(folder: Path, version: int, count: int) -> bytes:
    """Keep a policy of so many grants in a state folder of its own; return its bytes."""
    district = District()
    offer, data = district.publish(version, grants=grants(count), groups=groups())
    store = PolicyStore(folder / str(version))
    store.create()
    store.accept(offer, data, district.source, district.pin)
    return data


def _making(data: list[bytes]) -> None:
    first, second = map(policy_codec.load, data)
    flat._made = flat._Made()
    anew = _cpu(lambda: flat.flatten(first, "0" * 64))
    following = _cpu(lambda: flat.flatten(replace(second, grants=(*first.grants, second.grants[-1])), "0" * 64))
    size, flat_size = (len(one) / 1e6 for one in (data[0], flat.flatten(first, "0" * 64)))
    print(f"{len(first.grants):,} grants: {size:.1f} MB of policy, {flat_size:.1f} MB flat")
    print(f"  subscription: the flat file {anew:.0f} ms, of the next version {following:.0f} ms")


def _worker(folder: Path) -> None:
    """In a process of its own."""
    stores = [PolicyStore(folder / number) for number in "12"]
    gc.collect()
    gc.disable()
    memory = _private()
    held = []
    birth = _cpu(lambda: held.append(stores[0].load(None)))
    gc.collect()
    memory = _private() - memory
    following = _cpu(lambda: held.append(stores[1].load(held[0])))
    assert held[1] is not None
    rules, most = held[1].rules("s1/students"), len(held[1].policy.grants)
    unknown = _decisions(rules, [f"w{at}.host{at}.unknown.example" for at in range(ASKED)])
    granted = [f"www.tool{number}.example.com" for number in range(2, most, 2)]
    first, then = _decisions(rules, granted), _decisions(rules, granted)
    form = "read" if flat_file.opened(stores[1].state / OBJECTS, held[1].digest) is None else "mapped"
    print(
        f"  {form}: birth {birth:.1f} ms, the next version {following:.1f} ms, {memory / 1e6:.1f} MB of its own;"
        f" a decision on an unknown name {unknown:.1f} µs, on a granted one {first:.1f} µs at first, then {then:.1f} µs"
    )


def _decisions(rules: Rules, asked: list[str]) -> float:
    """CPU microseconds of one decision."""
    return _cpu(lambda: [decide(name, rules, 2e9) for name in asked]) * 1e3 / len(asked)


def _cpu(work: Callable[[], object]) -> float:
    """CPU milliseconds of `work`."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e3


def _private() -> int:
    """Bytes that this process shares with no other and has written."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}["Private_Dirty"] * 1024


if __name__ == "__main__":
    _worker(Path(sys.argv[1]))
