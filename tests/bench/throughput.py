"""Queries per second of the server's own CPU time, beside Unbound in the same interleaved run.

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


@dataclass(slots=True)
class Figures:
    name: str
    runs: list[load.Run] = field(default_factory=list)
    memory: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(run.per_cpu_second for run in self.runs)


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
            sides = [(Figures("Schoolgate"), ours.resolver, ours.dns), (Figures("Unbound"), unbound.pid, 5392)]
            for _, pid, port in sides:
                load.dnsperf(pid, port, queries, 4)  # warm the caches
            for _ in range(rounds):
                for figures, pid, port in sides:
                    figures.runs.append(load.dnsperf(pid, port, queries, SECONDS))
            for figures, pid, _ in sides:
                figures.memory = load.memory_mb(pid)
    _print([figures for figures, _, _ in sides])


def _print(sides: list[Figures]) -> None:
    print("\nblocked + cached, queries per CPU-second (median, min-max), all processes of the server:")
    for figures in sides:
        each = [run.per_cpu_second for run in figures.runs]
        lost = sum(run.lost for run in figures.runs)
        print(
            f"  {figures.name:<12}{figures.median:>10,.0f}  ({min(each):,.0f}-{max(each):,.0f})"
            f"  lost {lost}  memory {figures.memory:.0f} MB"
        )
    ours, peer = sides
    ratios = [a.per_cpu_second / b.per_cpu_second for a, b in zip(ours.runs, peer.runs, strict=True)]
    print(f"  ratio, pair by pair: median {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
