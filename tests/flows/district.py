"""A district on this machine, as `schoolgate up --demo` makes it: real processes, real sockets, real database.

Client groups of the demo are loopback addresses: a question from 127.0.0.2 comes from Edison's students, one from
127.0.0.3 from its staff.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import httpx

from tests.accounts import token
from tests.ports import free_port as free_port

STUDENTS, STAFF, GUESTS, NOBODYS = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.99"
START_WITHIN = 90.0


def until(ready: Callable[[], bool], within: float = 20.0, what: str = "it") -> None:
    """Return when `ready()`; raise when time runs out. Bounded patience, not a timed assertion."""
    deadline = time.monotonic() + within
    while not ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:.0f} s for {what}")
        time.sleep(0.02)


def command(
    *words: str, check: bool = True, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one `schoolgate` command and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words],
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
        env=environment,
    )


@dataclass(slots=True)
class District:
    data: Path
    dns: int
    web: int
    upstream: int
    workers: int = 2
    demo: bool = True
    database: str = ""  # URL; empty: the SQLite file in the data folder
    settings: dict[str, str] = field(default_factory=dict)  # more variables for its processes
    process: subprocess.Popen[str] | None = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.data.parent / f"{self.data.name}.out"

    @property
    def environment(self) -> dict[str, str]:
        found = {**os.environ, **self.settings}
        found.pop("SCHOOLGATE_TEST_DATABASE", None)  # the tests' own: no setting of the product
        return {**found, "SCHOOLGATE_PORTAL__DATABASE": self.database} if self.database else found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web}"

    def start(self, *more: str) -> None:
        """Run `schoolgate up` (with `--demo`) and return when it says that it is up."""
        words = [
            *("up", *(("--demo",) if self.demo else ())),
            *("--data", str(self.data), "--dns", f"127.0.0.1:{self.dns}"),
            *("--web", f"127.0.0.1:{self.web}", "--upstream", f"127.0.0.1:{self.upstream}"),
            *("--workers", str(self.workers), *more),
        ]
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", *words],
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                env=self.environment,
            )
        process = self.process

        def up() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"it did not start:\n{self.said()}")
            return "Schoolgate is up" in self.said()

        until(up, START_WITHIN, "the start")

    def said(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text()

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does; return its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(by)
        code = self.process.wait(30)
        self.process = None
        return code

    def ask(
        self, name: str, client: str = STUDENTS, kind: str = "A", tcp: bool = False, edns: bool = True
    ) -> dns.message.Message:
        """Ask the resolver one question from `client`'s address."""
        question = dns.message.make_query(name, kind, use_edns=edns)
        query = dns.query.tcp if tcp else dns.query.udp
        return query(question, "127.0.0.1", port=self.dns, source=client, timeout=5)

    def is_open(self, name: str, client: str = STUDENTS) -> bool:
        """True when `client` gets an address for `name`."""
        return bool(self.ask(name, client).answer)

    def client(self, email: str, role: str) -> httpx.Client:
        """Return an API client with a token of the account `email`."""
        return self.bearer(token(self.data, email, role, self.database))

    def bearer(self, secret: str) -> httpx.Client:
        """Return an API client with this token."""
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=20)

    def pid_of(self, part: str) -> int:
        """Return the process id of `portal`, `resolver` (the supervisor), `worker 0`, `subscription`, `log-writer`."""
        assert self.process is not None
        if part in ("portal", "resolver"):
            return child_running(self.process.pid, part)
        from resolver.processes.control import ask

        status: dict[str, Any] = ask(self.data / "node", {"do": "status"})
        return next(int(one["pid"]) for one in status["processes"] if one["name"] == part)

    def explain(self, name: str, client: str) -> str:
        """Return what `schoolgate explain` prints."""
        return command("explain", name, "--client", client, "--data", str(self.data)).stdout


def child_running(parent: int, word: str) -> int:
    """Return the pid of the child of `parent` whose command line has `word`. Raises `LookupError`."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            if int(stat[1]) == parent and word in words:
                return int(folder.name)
    raise LookupError(f"process {parent} has no child {word!r}")


@contextlib.contextmanager
def district(
    folder: Path,
    upstream: int,
    workers: int = 2,
    demo: bool = True,
    database: str = "",
    settings: dict[str, str] | None = None,
) -> Iterator[District]:
    """Start a district in `folder`, on ports of its own; stop it at the end, whatever happened."""
    made = District(folder / "data", free_port(), free_port(), upstream, workers, demo, database, settings or {})
    try:
        made.start()
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.send_signal(signal.SIGINT)
            try:
                made.process.wait(30)
            except subprocess.TimeoutExpired:
                os.kill(made.process.pid, signal.SIGKILL)
                made.process.wait()
