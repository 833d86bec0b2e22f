"""From a fetched list to all workers swapped: a list of few names becomes one of 1,000,000, while clients ask on.

The clock starts when the list's server has sent its last byte; it stops when every worker of the node serves the policy
on the new base. Meanwhile one client asks every few milliseconds, known names and blocked ones; its latencies are set
against those of a quiet stretch before, and a question without an answer within a second counts as lost.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import httpx

from resolver.processes.control import ask
from tests.accounts import ADMINISTRATOR, token
from tests.bench import corpus, peers
from tests.bench.ours import schoolgate

NAMES = 1_000_000
QUIET = 10.0  # seconds
PATIENCE = 300.0
BAR = 15.0  # seconds, of an otherwise idle machine with two processors
CLIENT = "127.0.0.2"


@dataclass
class _Keeper:
    """The list's server: what it says, and when it last finished saying it."""

    body: bytes = b""
    sent_at: float = 0.0
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(keeper.body)))
                self.end_headers()
                self.wfile.write(keeper.body)
                keeper.sent_at = time.monotonic()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class _Client:
    """Asks on and on, in a thread; `latencies` in seconds."""

    def __init__(self, port: int, names: list[str]) -> None:
        self._port = port
        self._names = names
        self.latencies: list[float] = []
        self.lost = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        questions = [dns.message.make_query(name, "A", use_edns=True) for name in self._names]
        for question in itertools.cycle(questions):
            if self._ended.wait(0.003):
                return
            started = time.perf_counter()
            try:
                dns.query.udp(question, CLIENT, port=self._port, source=CLIENT, timeout=1)
            except dns.exception.Timeout:
                self.lost += 1
            else:
                self.latencies.append(time.perf_counter() - started)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def p99(self) -> float:
        return sorted(self.latencies)[int(0.99 * len(self.latencies))] * 1000


def main(names: int = NAMES) -> None:
    """Measure and print."""
    keeper = _Keeper("".join(f"few{number}.example.net\n" for number in range(100)).encode())
    many = "".join(f"{name}\n" for name in corpus.listed(names)).encode()
    os.environ["SCHOOLGATE_PORTAL__PRIVATE_LISTS"] = "true"
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        folder = Path(text)
        opened = corpus.open_names(50)
        with (
            peers.authority(folder, 5491, opened),
            schoolgate(folder / "data", 5493, 8493, 5491, 2) as ours,
            httpx.Client(
                base_url=f"http://127.0.0.1:{ours.web}/api/v1",
                headers={"Authorization": f"Bearer {token(ours.data, ADMINISTRATOR, 'administrator')}"},
                timeout=30,
            ) as admin,
        ):
            url = f"http://127.0.0.1:{keeper.server.server_address[1]}/list"
            draft = {"id": "bench", "title": "Made-up names", "category": "social-media", "url": url}
            before = _version(ours.data)
            admin.post("/lists/sources", json=draft).raise_for_status()
            _served(ours.data, before)
            asked = [*opened, "www.instagram.com", "few1.example.net"]
            quiet = _Client(ours.dns, asked)
            time.sleep(QUIET)
            quiet.stop()
            keeper.body, keeper.sent_at = many, 0.0
            before = _version(ours.data)
            meanwhile = _Client(ours.dns, asked)
            admin.patch("/lists/sources/bench", json={"fetch": True}).raise_for_status()
            _served(ours.data, before)
            seconds = time.monotonic() - keeper.sent_at
            meanwhile.stop()
    keeper.server.shutdown()
    asked_count = len(meanwhile.latencies) + meanwhile.lost
    print(f"\nA fetched list with {names:,} changed names, 2 workers; last byte to all workers swapped:")
    print(f"  {seconds:.1f} s (bar {BAR:.0f} s); {asked_count:,} questions meanwhile, {meanwhile.lost} lost (bar 0)")
    ratio = meanwhile.p99() / quiet.p99()
    print(f"  latency p99 {meanwhile.p99():.2f} ms, quiet {quiet.p99():.2f} ms: ratio {ratio:.2f} (bar 2)")


def _version(data: Path) -> int:
    return int(ask(data / "node", {"do": "status"})["version"] or 0)


def _served(data: Path, before: int) -> None:
    """Return when every worker serves a newer policy than `before`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = ask(data / "node", {"do": "status"})
        if (status["version"] or 0) > before and status["workers_ready"] == status["workers"]:
            return
        time.sleep(0.05)
    raise RuntimeError(f"no new policy within {PATIENCE:.0f} s: was the update held?")
