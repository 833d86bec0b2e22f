"""From the reviewer's click to the first allowed answer: approvals in a row on a 1,000,000-name base.

The click is the moment at which the approval is sent to the API; the answer is the first that the granted audience's
client gets with NOERROR, asked every 2 ms from that moment on. Each approval opens a name of its own that was blocked.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import httpx

from tests.accounts import REVIEWER, teachers, token
from tests.bench import corpus, peers
from tests.bench.ours import make_base, schoolgate

COUNT = 200
NAMES = 1_000_000
CLIENT = "127.0.0.2"  # edison/students in the demo district
PATIENCE = 5.0


def main(count: int = COUNT, names: int = NAMES) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        folder = Path(text)
        wanted = list(itertools.islice(corpus.listed(names), count))
        base = folder / "bench.base"
        make_base(base, corpus.listed(names))
        with (
            peers.authority(folder, 5691, [*corpus.open_names(10), *wanted]),
            schoolgate(folder / "data", 5693, 8693, 5691, 2, base) as ours,
        ):
            times = _approve_all(ours.data, ours.web, ours.dns, wanted)
    ordered = sorted(times)
    p95 = ordered[int(0.95 * len(ordered)) - 1]
    print(f"\n{count} approvals in a row, {names:,} names, 2 workers; click to first allowed answer:")
    print(
        f"  median {statistics.median(times) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, max {ordered[-1] * 1000:.0f} ms"
    )


def _approve_all(data: Path, web: int, port: int, wanted: list[str]) -> list[float]:
    writers = [_client(web, one) for one in teachers(data, len(wanted))]
    times = []
    with _client(web, token(data, REVIEWER, "reviewer")) as reviewer:
        for teacher, name in zip(itertools.cycle(writers), wanted):
            written = teacher.post("/requests", json={"tools": [{"name": name}], "purpose": "Benchmark lesson"})
            written.raise_for_status()
            request = written.json()
            assert _ask(port, name) == dns.rcode.NXDOMAIN, f"{name} was open before"
            times.append(_approve(reviewer, request["id"], request["revision"], port, name))
    return times


def _client(web: int, token: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{web}/api/v1", headers={"Authorization": f"Bearer {token}"})


def _approve(reviewer: httpx.Client, request: int, revision: int, port: int, name: str) -> float:
    """Return the seconds from sending the approval to the first allowed answer. The asking runs beside the approval,
    in a thread, so that neither waits for the other."""
    found: list[float] = []

    def watch() -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if _ask(port, name) == dns.rcode.NOERROR:
                found.append(time.monotonic())
                return
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    clicked = time.monotonic()
    watcher.start()
    body = {"revision": revision, "decision": "approve", "reason": "For the lesson"}
    reviewer.post(f"/requests/{request}/decision", json=body).raise_for_status()
    watcher.join()
    if not found:
        raise RuntimeError(f"{name} was not open {PATIENCE:.0f} s after its approval")
    return found[0] - clicked


def _ask(port: int, name: str) -> int:
    question = dns.message.make_query(name, "A", use_edns=True)
    return dns.query.udp(question, CLIENT, port=port, source=CLIENT, timeout=2).rcode()
