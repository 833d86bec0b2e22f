"""Memory under a steady load for a long time: the slope of the proportional set size, all processes of the node.

Two thirds of the questions are cached, one in six is blocked, one in ten is a name that was never asked before, so
that the cache fills and turns over. The slope is a least-squares line through what was read after the warm-up.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench import corpus, load, peers
from tests.bench.ours import make_base, schoolgate

NAMES = 100_000
OPEN = 2_000
EVERY = 10.0  # seconds between two readings
WARM_UP = 1 / 3  # of the whole time
LINES = 2_000_000


def write_mix(path: Path, lines: int) -> None:
    """Write a dnsperf file of cached, blocked and never-seen names (three quarters, 15 % and 10 %)."""
    rng = random.Random(5)
    known, listed = corpus.open_names(OPEN), list(corpus.listed(5_000))
    with path.open("w") as file:
        for number in range(lines):
            share = rng.random()
            if share < 0.10:
                file.write(f"r{number}.random.example A\n")
            else:
                file.write(f"{rng.choice(listed if share < 0.25 else known)} A\n")


def slope(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of (seconds, MB) points, MB an hour."""
    count = len(points)
    middle = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    over = sum((at - middle) * (value - mean) for at, value in points)
    return over / sum((at - middle) ** 2 for at, _ in points) * 3600


def main(minutes: float = 30.0, rate: int = 0, lines: int = LINES) -> None:
    """Measure and print. `rate`: queries a second; 0: half of what a short run at full speed reaches."""
    with tempfile.TemporaryDirectory(prefix="schoolgate-soak-") as text:
        folder = Path(text)
        queries, base = folder / "queries.txt", folder / "soak.base"
        write_mix(queries, lines)
        make_base(base, corpus.listed(NAMES))
        with (
            peers.authority(folder, 5891, corpus.open_names(OPEN)),
            schoolgate(folder / "data", 5893, 8893, 5891, 1, base, load.SERVER_CPU) as ours,
        ):
            if not rate:
                rate = int(load.dnsperf(ours.resolver, 5893, queries, 5).answered / 5 / 2)
            points = _watch(ours.resolver, queries, minutes * 60, rate)
    warm = [one for one in points if one[0] >= minutes * 60 * WARM_UP]
    print(
        f"\nsoak: {minutes:g} min at {rate:,} queries/s: PSS {points[0][1]:.1f} MB at first, {warm[0][1]:.1f} MB warm,"
    )
    after = f"slope after {minutes * WARM_UP:.0f} min: {slope(warm):+.2f} MB/h (bar: at most +2)"
    print(f"  {points[-1][1]:.1f} MB at the end; {after}")


def _watch(server: int, queries: Path, seconds: float, rate: int) -> list[tuple[float, float]]:
    command = f"-s 127.0.0.1 -p 5893 -d {queries} -l {seconds:.0f} -Q {rate} -q 100 -c 8 -T 1 -t 3"
    client = subprocess.Popen(["taskset", "-c", load.CLIENT_CPU, "dnsperf", *command.split()], stdout=subprocess.PIPE)
    started = time.monotonic()
    points = []
    try:
        while client.poll() is None:
            at = time.monotonic() - started
            points.append((at, load.memory_mb(server)))
            if len(points) % 12 == 1:
                print(f"  {at / 60:5.1f} min  {points[-1][1]:7.1f} MB", flush=True)
            time.sleep(EVERY)
    finally:
        client.kill()
        client.wait()
    return points
