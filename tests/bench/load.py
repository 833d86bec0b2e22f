"""Load and accounting: dnsperf as the client, /proc as the meter. Figures are queries per second of the server's own
CPU time, summed over all its processes, so that a noisy neighbour or a slow client does not change them much."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SERVER_CPU = "0"
CLIENT_CPU = "1"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One dnsperf run: answered and lost queries, CPU seconds of the server meanwhile."""

    answered: int
    lost: int
    cpu: float

    @property
    def per_cpu_second(self) -> float:
        return self.answered / self.cpu if self.cpu else 0.0


def tree(pid: int) -> list[int]:
    """Return `pid` and all its descendants."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(words[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += parents.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """Return user + system seconds of `pid` and its descendants, to a clock tick (10 ms)."""
    total = 0
    for one in tree(pid):
        try:
            words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(words[11]) + int(words[12])
    return total / _TICK


def memory_by_process(pid: int) -> dict[str, float]:
    """Return the proportional set size of `pid` and of each of its descendants, MB, by the process's name."""
    found: dict[str, float] = {}
    for one in tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            name = Path(f"/proc/{one}/comm").read_text().strip()
        except OSError:
            continue
        if memory := re.search(r"^Pss:\s+(\d+)", text, re.M):
            found[name] = found.get(name, 0.0) + int(memory[1]) / 1024
    return found


def memory_mb(pid: int) -> float:
    """Return the proportional set size of `pid` and its descendants, MB."""
    return sum(memory_by_process(pid).values())


def dnsperf(server: int, port: int, queries: Path, seconds: int, outstanding: int = 100) -> Run:
    """Run dnsperf on its own processor against 127.0.0.1:`port`; `server` is the process to account."""
    before = cpu_seconds(server)
    said = _dnsperf(port, queries, f"-l {seconds} -q {outstanding}", seconds + 60)
    cpu = cpu_seconds(server) - before
    answered = int(re.search(r"Queries completed:\s+(\d+)", said)[1])
    lost = int(re.search(r"Queries lost:\s+(\d+)", said)[1])
    return Run(answered, lost, cpu)


def warm_up(port: int, queries: Path, times: int = 4, within: int = 600) -> None:
    """Ask all of `queries` some times over, however long a busy machine takes: a name is remembered from its second
    question on, and finished from the third. Raises `subprocess.TimeoutExpired` after `within` seconds."""
    _dnsperf(port, queries, f"-n {times} -q 100", within)


def _dnsperf(port: int, queries: Path, words: str, within: int) -> str:
    command = f"dnsperf -s 127.0.0.1 -p {port} -d {queries} -c 8 -T 1 -t 3 {words}"
    done = subprocess.run(
        ["taskset", "-c", CLIENT_CPU, *command.split()], capture_output=True, text=True, check=True, timeout=within
    )
    return done.stdout
