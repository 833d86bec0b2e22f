"""What is asked: 1,000,000 listed names and a few thousand others that a local authority answers. Seeded, so that
every run asks the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

_TLDS = ("com", "net", "org", "io", "co", "info", "app", "tv", "me", "xyz")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def listed(count: int) -> Iterator[str]:
    """Yield `count` different made-up names to block."""
    rng = random.Random(4414)
    seen: set[str] = set()
    while len(seen) < count:
        label = "".join(rng.choices(_LETTERS, k=rng.randint(6, 16)))
        name = f"b{label}.{rng.choice(_TLDS)}"
        if name not in seen:
            seen.add(name)
            yield name


def open_names(count: int) -> list[str]:
    """Return names that no list holds, all below one zone of the local authority."""
    return [f"host{number}.bench.example" for number in range(count)]


def write_queries(path: Path, names: list[str], count: int, blocked: float) -> None:
    """Write a dnsperf file: `count` questions, a share of them `blocked` (listed names), the rest open names."""
    rng = random.Random(1)
    listed_sample = list(listed(20_000))[: max(1, min(5_000, count))]
    with path.open("w") as file:
        for _ in range(count):
            pool = listed_sample if rng.random() < blocked else names
            file.write(f"{rng.choice(pool)} A\n")


def write_misses(path: Path, turn: int, count: int) -> None:
    """Write a dnsperf file of `count` names that no other turn has; the local authority answers each."""
    with path.open("w") as file:
        file.writelines(f"m{turn}x{number}.random.example A\n" for number in range(count))
