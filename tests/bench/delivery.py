"""From the click to the acknowledgement of every worker: approvals, brakes and a mode, while clients ask on.

The clock starts when the decision is sent to the API and stops when the portal has received the node's ack, which the
node sends after every worker serves the version. Meanwhile dnsperf asks 1,000 questions a second, cached and blocked.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.accounts import ADMINISTRATOR, REVIEWER, teachers, token
from tests.bench import corpus, peers, populated
from tests.bench.ours import Schoolgate, make_base, schoolgate
from tests.portal.pages.gate import Browser

NAMES = 5_000_000
COUNT = 100
FEW = 30  # of brakes, and of approvals among 10,000 grants
MODES = 5
WORKERS = 4
SCHOOLS = 80
RATE = 1_000
PAUSE = 0.15  # seconds between two decisions
BARS = {1_000: (120, 250), 10_000: (1_000, 1_000)}  # grants -> ms, p50 and p99
PORTS = (5591, 5593, 8593)


@dataclass
class Figures:
    """Milliseconds from click to ack, and from the decision's commit to the ack (what pages show)."""

    click: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)

    def p50(self) -> float:
        return statistics.median(self.click)

    def p99(self) -> float:
        return sorted(self.click)[min(len(self.click) - 1, int(0.99 * len(self.click)))]

    def __str__(self) -> str:
        shown = statistics.median(self.shown)
        return (
            f"p50 {self.p50():.0f} ms, p99 {self.p99():.0f} ms, max {max(self.click):.0f} ms; shown p50 {shown:.0f} ms"
        )


def main(names: int = NAMES, count: int = COUNT) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        folder = Path(text)
        base = folder / "bench.base"
        make_base(base, corpus.listed(names))
        with peers.authority(folder, PORTS[0], corpus.open_names(1000)):
            for grants, times in ((1_000, count), (10_000, FEW)):
                print(
                    f"\n{grants:,} live grants, {names:,} names, {WORKERS} workers, {RATE:,} questions/s:", flush=True
                )
                _one_size(folder, base, grants, times)


def _one_size(folder: Path, base: Path, grants: int, times: int) -> None:
    data = folder / f"data-{grants}"

    def fill(data: Path) -> None:
        populated.grants(grants)(data)
        populated.schools(SCHOOLS)(data)

    with (
        schoolgate(data, PORTS[1], PORTS[2], PORTS[0], WORKERS, base, filled=fill) as ours,
        contextlib.closing(populated.Receipts(data)) as receipts,
    ):
        approve = approvals(ours, times + 3)
        with asking(folder, ours.dns) as load:
            rounds(receipts, approve[:3])
            approved = rounds(receipts, approve[3:])
            braked = rounds(receipts, brakes(ours, FEW))
            before = receipts.versions()
            modes = rounds(receipts, mode_clicks(ours, MODES))
            versions = receipts.versions() - before
        p50, p99 = BARS[grants]
        verdict = "met" if approved.p50() <= p50 and approved.p99() <= p99 else "MISSED"
        print(f"  {len(approved.click)} approvals: {approved}; bar p50 {p50}, p99 {p99}: {verdict}")
        print(f"  {len(braked.click)} brakes:    {braked}")
        print(f"  a mode of {SCHOOLS} schools switched {len(modes.click)} times, {versions} versions: {modes}")
        print(f"  meanwhile {load.asked:,} questions, {load.lost} lost")


def rounds(receipts: populated.Receipts, clicks: Sequence[Callable[[], object]], nodes: int = 1) -> Figures:
    """Do each click, wait for the acks of `nodes` nodes, pause; return the times."""
    found = Figures()
    for click in clicks:
        time.sleep(PAUSE)
        before = receipts.newest()
        clicked = time.time()
        click()
        version, acked = receipts.wait(before, nodes)
        found.click.append(acked - clicked * 1000)
        found.shown.append(acked - receipts.decided_ms(version))
    return found


def client(web: int, secret: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{web}/api/v1", headers=headers, timeout=60)


def approvals(ours: Schoolgate, count: int) -> list[Callable[[], object]]:
    """Write `count` requests, each for a listed name of its own; return what approves them, one by one."""
    reviewer = client(ours.web, token(ours.data, REVIEWER, "reviewer"))
    writers = itertools.cycle([client(ours.web, one) for one in teachers(ours.data, count)])
    found = []
    for name in itertools.islice(corpus.listed(count), count):
        message = {"tools": [{"name": name}], "purpose": "Benchmark lesson"}
        written = next(writers).post("/requests", json=message).raise_for_status().json()
        body = {"revision": written["revision"], "decision": "approve", "reason": "For the lesson"}
        address = f"/requests/{written['id']}/decision"
        found.append(lambda address=address, body=body: reviewer.post(address, json=body).raise_for_status())
    return found


def brakes(ours: Schoolgate, count: int) -> list[Callable[[], object]]:
    """Return what pulls a brake on a granted name, `count` times."""
    admin = client(ours.web, token(ours.data, ADMINISTRATOR, "administrator"))
    bodies = [{"name": f"tool{number}.granted.example", "reason": "Benchmark"} for number in range(count)]
    return [lambda body=body: admin.post("/brakes", json=body).raise_for_status() for body in bodies]


def mode_clicks(ours: Schoolgate, count: int) -> list[Callable[[], object]]:
    """Prepare a lock-down of every school, as an administrator on the pages; return what switches it on and off."""
    session = httpx.Client(base_url=f"http://127.0.0.1:{ours.web}", timeout=60, follow_redirects=True)
    browser = Browser(session)
    browser.open("/sign-in")
    browser.send("/sign-in/demo", {"account": "3"})
    browser.open("/modes")
    sites = [f"school-{number}" for number in range(SCHOOLS)]
    prepared = {"kind": "lock-down", "title": "Benchmark", "sites": sites, "audiences": ["students"], "minutes": "60"}
    browser.send("/modes", prepared)

    def on() -> None:
        browser.send("/modes/1/start", {"reason": "Benchmark"}).raise_for_status()

    def off() -> None:
        action = next(one for one in re.findall(r'action="(/modes/runs/\d+/end)"', browser.open("/modes").text))
        browser.send(action).raise_for_status()

    return [on, off] * count


@dataclass
class Load:
    asked: int = 0
    lost: int = 0


@contextlib.contextmanager
def asking(folder: Path, port: int) -> Iterator[Load]:
    """Ask 1,000 questions a second from Edison's students, as long as the block lasts; then say how many were lost."""
    queries = folder / "queries"
    corpus.write_queries(queries, corpus.open_names(1000), 50_000, 0.2)
    words = f"dnsperf -s 127.0.0.1 -p {port} -d {queries} -l 3600 -Q {RATE} -c 8 -T 1 -t 5"
    process = subprocess.Popen(words.split(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    load = Load()
    try:
        time.sleep(2)  # everything cached
        yield load
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        load.asked = int(re.search(r"Queries sent:\s+(\d+)", said)[1])
        load.lost = int(re.search(r"Queries lost:\s+(\d+)", said)[1])
