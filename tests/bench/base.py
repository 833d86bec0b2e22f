"""The base: time and memory to compile it, its size, and a look-up, on made-up and on real-shaped names.

Real-shaped: registrable names under a few endings, each with some of the hosts that lists hold again and again (`www`,
`cdn3`, `api.eu`), so that suffixes are shared. Each compilation runs in a process of its own, whose peak is measured.
"""

from __future__ import annotations

import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from blocklists.base import Base, ListKind
from blocklists.compile import Source, compile_base
from tests.bench import corpus

SIZES = (1_000_000, 5_000_000)
BARS = {1_000_000: (6, 500), 5_000_000: (40, 2_000)}  # seconds and MB to compile; 12 MB per million, 1.5 µs a look-up
LOOKUPS = 20_000
_HOSTS = (
    "www",
    "m",
    "api",
    "cdn",
    "static",
    "img",
    "ads",
    "track",
    "login",
    "mail",
    "eu",
    "us",
    "edge",
    "media",
    "app",
)
_ENDINGS = ("com", "net", "org", "co.uk", "info")
_WORDS = (
    "social",
    "photo",
    "video",
    "chat",
    "game",
    "bet",
    "news",
    "shop",
    "free",
    "live",
    "fast",
    "best",
    "my",
    "the",
)


def real_shaped(count: int) -> Iterator[str]:
    """Yield `count` different names in the shape of real lists: about three quarters lie below a shared domain."""
    rng = random.Random(4416)
    made = 0
    while made < count:
        words = f"{rng.choice(_WORDS)}{rng.choice(_WORDS)}"
        domain = f"{words}{rng.randrange(16**5):x}.{rng.choice(_ENDINGS)}"
        hosts = {
            f"{rng.choice(_HOSTS)}{rng.choice(('', '', rng.randrange(40)))}" for _ in range(rng.choice((0, 1, 2, 5, 8)))
        }
        deep = {f"{host}.{rng.choice(_HOSTS)}" for host in sorted(hosts) if rng.random() < 0.3}
        for name in ([domain] if not hosts else [f"{host}.{domain}" for host in sorted(hosts | deep)])[: count - made]:
            made += 1
            yield name


SHAPES = {"made-up": corpus.listed, "real-shaped": real_shaped}


def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Measure and print."""
    print("\nbase: compile (process of its own), size, look-up (median; one look-up of Base.listings)")
    for size, (seconds, peak) in BARS.items():
        print(f"  bars, {size:,} names: {seconds} s, peak {peak} MB, 12 MB per million; µs: mix 1.5")
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        for shape in SHAPES:
            for size in sizes:
                path = Path(text) / "bench.base"
                done = subprocess.run(
                    [sys.executable, "-m", "tests.bench.base", shape, str(size), str(path)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                print(f"  {shape}, {size:,} names: {done.stdout.strip()}", flush=True)


def _one(shape: str, size: int, path: Path) -> None:
    source = path.with_suffix(".txt")
    with source.open("w") as file:
        file.writelines(f"{name}\n" for name in SHAPES[shape](size))
    started = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    begun = time.perf_counter()
    with source.open() as lines:
        names = (line.rstrip("\n") for line in lines)
        data = compile_base([Source("bench", "Bench", "social-media", ListKind.LIST, names)])
    took = time.perf_counter() - begun
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    base = Base(memoryview(data), "0" * 64)
    rng = random.Random(1)
    with source.open() as lines:
        listed = rng.sample([line.rstrip("\n") for line in itertools.islice(lines, 500_000)], LOOKUPS)
    below = [f"www{number}.{name}" for number, name in enumerate(listed)]
    absent = [f"{name.split('.')[0]}q.{name.partition('.')[2]}x" for name in listed]
    mix = [one for three in zip(listed, below, absent, absent, strict=True) for one in three]
    kinds = (
        (f"{what} {_median(base, names):.2f}")
        for what, names in (("listed", listed), ("below one", below), ("absent", absent), ("mix", mix))
    )
    print(
        f"{took:.1f} s ({cpu:.1f} s of processor), peak {peak:.0f} MB, {base.keys:,} keys, "
        f"{len(data) / size:.2f} MB per million; µs: {', '.join(kinds)}"
    )


def _median(base: Base, names: list[str]) -> float:
    """Microseconds: the median of single look-ups, less what reading the clock costs."""
    clock, listings = time.perf_counter_ns, base.listings
    times, empty = [], []
    for name in names:
        before = clock()
        listings(name)
        after = clock()
        times.append(after - before)
        before = clock()
        after = clock()
        empty.append(after - before)
    return (sorted(times)[len(times) // 2] - sorted(empty)[len(empty) // 2]) / 1000


if __name__ == "__main__":
    _one(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
