"""Queries per second of the server's own CPU time, beside Unbound in the same interleaved run: hits, then misses.

Both block the same 1,000,000 names and forward the rest to the same local authority; one thread or worker each,
pinned to one processor, the client on the other. Ours has its query log on; Unbound's reply log is off.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import corpus, load, peers
from tests.bench.ours import make_base, schoolgate

NAMES = 1_000_000
OPEN = 5_000
BLOCKED_SHARE = 1 / 6  # of blocked + cached: 15 % against 75 % in the district's mix
ROUNDS = 5
SECONDS = 6
MISSES = 400_000  # names of one round that nobody asked before: more than can be asked in `SECONDS`
LEAST_HITS, MOST_MISS = 0.5, 3.0  # the bars: of Unbound's hits per CPU second, and of its CPU time for a miss


@dataclass(slots=True)
class Figures:
    """One side. `hits` are blocked and cached answers, `misses` those that had to be forwarded."""

    name: str
    pid: int
    port: int
    hits: list[load.Run] = field(default_factory=list)
    misses: list[load.Run] = field(default_factory=list)
    memory: float = 0.0


def main(rounds: int = ROUNDS, names: int = NAMES) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        folder = Path(text)
        open_names = corpus.open_names(OPEN)
        queries = folder / "queries.txt"
        corpus.write_queries(queries, open_names, 100_000, BLOCKED_SHARE)
        base = folder / "bench.base"
        started = time.monotonic()
        size = make_base(base, corpus.listed(names))
        print(f"base: {names:,} names, {size / 1e6:.1f} MB, made in {time.monotonic() - started:.1f} s")
        with (
            peers.authority(folder, 5391, open_names),
            peers.peer(folder, 5392, 5391, corpus.listed(names)) as unbound,
            schoolgate(folder / "data", 5393, 8393, 5391, 1, base, load.SERVER_CPU) as ours,
        ):
            sides = (Figures("Schoolgate", ours.resolver, ours.dns), Figures("Unbound", unbound.pid, 5392))
            for side in sides:
                load.warm_up(side.port, queries)
            for _ in range(rounds):
                for side in sides:
                    side.hits.append(load.dnsperf(side.pid, side.port, queries, SECONDS))
            for side in sides:
                side.memory = load.memory_mb(side.pid)
            for number in range(rounds):
                corpus.write_misses(queries, number, MISSES)
                for side in sides:
                    side.misses.append(load.dnsperf(side.pid, side.port, queries, SECONDS))
    _print(*sides)


def _print(ours: Figures, peer: Figures) -> None:
    print("\nblocked + cached, queries per CPU-second (median, min-max), all processes of the server:")
    for side in (ours, peer):
        print(f"  {side.name:<12}{_rates(side.hits)}  memory {side.memory:.0f} MB")
    ratios = [a.per_cpu_second / b.per_cpu_second for a, b in zip(ours.hits, peer.hits, strict=True)]
    print(f"  ratio, pair by pair: {_spread(ratios)} (bar: at least {LEAST_HITS})")
    print("misses, forwarded to the same local authority, the same way:")
    for side in (ours, peer):
        print(f"  {side.name:<12}{_rates(side.misses)}")
    ratios = [b.per_cpu_second / a.per_cpu_second for a, b in zip(ours.misses, peer.misses, strict=True)]
    print(f"  CPU time of a miss, ours over Unbound's: {_spread(ratios)} (bar: at most {MOST_MISS})")


def _rates(runs: list[load.Run]) -> str:
    each = [run.per_cpu_second for run in runs]
    lost = sum(run.lost for run in runs)
    return f"{statistics.median(each):>10,.0f}  ({min(each):,.0f}-{max(each):,.0f})  lost {lost}"


def _spread(ratios: list[float]) -> str:
    return f"median {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
