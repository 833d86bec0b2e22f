"""Memory under a steady load for a long time: the slope of the proportional set size, all processes of the node.

First every bounded table is filled, by real questions at full speed: the workers say when cache and memo are at their
bounds. Then other names turn the cache over, since finished answers keep upstream's alive that the cache has thrown
out, and the mix of the soak goes on until the memory has been flat for a while. Then the same mix for `minutes` at half
load. Three quarters of it is cached, 15 % blocked, one in ten is a name that was never asked before.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from resolver.config import ResolverConfig
from resolver.processes.control import ask
from tests.bench import corpus, load, peers
from tests.bench.ours import Schoolgate, make_base, schoolgate

NAMES = 100_000
OPEN = 2_000
EVERY = 10.0  # seconds between two readings
LINES = 2_000_000
BAR = 2.0  # MB an hour
FILLING = 260_000  # names: more than cache, memo, and both generations of sightings and verdicts hold
TIMES = 4  # that each of them is asked: a miss, a first sighting, a finished answer, its bytes
WINDOW = 500  # names that are asked in turn
FULL = 0.98  # of the cache's bytes; it throws out whole entries
FLAT, READINGS = 1.0, 4  # MB by which so many readings in a row may differ
BURST = 10  # seconds between two of them
LONGEST_FILL = 900  # seconds, for the filling, for turning the cache over, and until the memory is flat

Memory = dict[str, float]  # MB by process


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


def write_filling(path: Path, turn: int, times: int) -> None:
    """Write a dnsperf file of `FILLING` names that no other turn has, each so many `times` within a while."""
    with path.open("w") as file:
        for start in range(0, FILLING, WINDOW):
            names = "".join(f"f{turn}x{start + at}.random.example A\n" for at in range(WINDOW))
            file.write(names * times)


def slope(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of (seconds, MB) points, MB an hour."""
    count = len(points)
    middle = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    over = sum((at - middle) * (value - mean) for at, value in points)
    return over / sum((at - middle) ** 2 for at, _ in points) * 3600


def difference(points: list[tuple[float, float]]) -> float:
    """Return last minus first, MB an hour; either is the median of a tenth of the readings."""
    few = max(len(points) // 10, 1)
    (first, before), (last, after) = (
        (statistics.median(at for at, _ in part), statistics.median(value for _, value in part))
        for part in (points[:few], points[-few:])
    )
    return (after - before) / (last - first) * 3600


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
            _fill(ours, folder / "filling.txt", queries)
            if not rate:
                rate = int(load.dnsperf(ours.resolver, 5893, queries, 5).answered / 5 / 2)
            points = _watch(ours.resolver, queries, minutes * 60, rate)
    whole = [(at, sum(memory.values())) for at, memory in points]
    print(f"\nsoak: {minutes:g} min at {rate:,} queries/s: PSS {whole[0][1]:.1f} MB, {whole[-1][1]:.1f} MB at the end")
    for name in points[0][1]:
        one = [(at, memory[name]) for at, memory in points if name in memory]
        print(f"  {name:<18}{one[0][1]:7.1f} -> {one[-1][1]:7.1f} MB  {slope(one):+7.2f} MB/h")
    for what, found in (("least squares", slope(whole)), ("last minus first", difference(whole))):
        print(f"  {what}: {found:+.2f} MB/h (bar: at most +{BAR:g}): {'met' if found <= BAR else 'MISSED'}")


def _fill(ours: Schoolgate, filling: Path, queries: Path) -> None:
    """Fill every table of the node, and print how far it got."""
    config = ResolverConfig((), (), ours.data)
    started = time.monotonic()
    turn = 0
    while True:
        write_filling(filling, turn, TIMES)
        load.warm_up(ours.dns, filling, times=1, within=LONGEST_FILL)
        turn += 1
        time.sleep(2.5)  # the workers tell what they hold once a second
        told = ask(ours.data / "node", {"do": "status"})["counters"]
        bytes_full = told["cache_bytes"] >= FULL * config.cache_bytes
        if bytes_full and told["memo_entries"] >= config.memo_entries:
            break
        if time.monotonic() - started > LONGEST_FILL:
            print("  the tables are not full: what follows says little")
            break
    held = f"{told['cache_entries']:,} answers in {told['cache_bytes'] / 1e6:.1f} MB, {told['memo_entries']:,} finished"
    print(f"  tables full after {time.monotonic() - started:.0f} s: {held}", flush=True)
    write_filling(filling, turn, 1)
    load.warm_up(ours.dns, filling, times=1, within=LONGEST_FILL)
    print(f"  cache turned over after {time.monotonic() - started:.0f} s", flush=True)
    flat: list[float] = []
    while len(flat) < READINGS or max(flat[-READINGS:]) - min(flat[-READINGS:]) > FLAT:
        load.dnsperf(ours.resolver, ours.dns, queries, BURST)
        flat.append(load.memory_mb(ours.resolver))
        print(f"  {time.monotonic() - started:5.0f} s    {flat[-1]:7.1f} MB", flush=True)
        if time.monotonic() - started > 3 * LONGEST_FILL:
            print("  the memory is not flat: what follows says little")
            break
    print(f"  warm-up over after {time.monotonic() - started:.0f} s: PSS {flat[-1]:.1f} MB", flush=True)


def _watch(server: int, queries: Path, seconds: float, rate: int) -> list[tuple[float, Memory]]:
    command = f"-s 127.0.0.1 -p 5893 -d {queries} -l {seconds:.0f} -Q {rate} -q 100 -c 8 -T 1 -t 3"
    client = subprocess.Popen(["taskset", "-c", load.CLIENT_CPU, "dnsperf", *command.split()], stdout=subprocess.PIPE)
    started = time.monotonic()
    points: list[tuple[float, Memory]] = []
    try:
        while client.poll() is None:
            at = time.monotonic() - started
            points.append((at, load.memory_by_process(server)))
            if len(points) % 12 == 1:
                print(f"  {at / 60:5.1f} min  {sum(points[-1][1].values()):7.1f} MB", flush=True)
            time.sleep(EVERY)
    finally:
        client.kill()
        client.wait()
    return points
