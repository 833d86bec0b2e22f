"""A running node for the tests: a supervisor in its own process, enrolled with a fake portal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resolver.delivery.enrolment import enrol
from resolver.processes.control import ControlFailed, NotRunning, ask
from tests.resolver.fake_portal import FakePortal, until

SCRIPT = Path(__file__).with_name("node_process.py")
ROOT = SCRIPT.parents[2]
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000") + b"\x03www\x09instagram\x03com\0\0\1\0\1"  # a blocked name's A


class Node:
    def __init__(
        self, state: Path, portal: FakePortal, workers: int = 2, worker: str = "fake", enrolled: bool = True
    ) -> None:
        self.state = state
        self.portal = portal
        self.port = 0
        self.workers = workers
        self.worker = worker
        self.process: subprocess.Popen[bytes] | None = None
        self.options: list[str] = []
        self.upstream = 9  # nobody is there
        self.log = state.with_suffix(".log")
        if enrolled:
            enrol(portal.url, portal.token, "edison", ["edison"], state)

    def command(self) -> list[str]:
        return [
            sys.executable,
            str(SCRIPT),
            str(self.state),
            str(self.port),
            str(self.workers),
            str(self.upstream),
            self.worker,
            *self.options,
        ]

    def start(self, **popen: Any) -> Node:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                popen.pop("command", self.command()),
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **popen.pop("env", {})},
                **popen,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-2000:]
        self.port = int(json.loads(line)["listening"][0].rpartition(":")[2])
        return self

    def status(self) -> dict[str, Any]:
        try:
            return ask(self.state, {"do": "status"})
        except (NotRunning, ControlFailed):
            return {}

    def pids(self, prefix: str) -> list[int]:
        return [one["pid"] for one in self.status().get("processes", []) if one["name"].startswith(prefix)]

    def query(self, timeout: float = 2.0) -> dict[str, Any] | None:
        """Ask the fake worker that the kernel chooses: what does it serve, and who is it?"""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout)
            client.connect(("127.0.0.1", self.port))
            try:
                client.send(b"?")
                answer: dict[str, Any] = json.loads(client.recv(512))
            except OSError:
                return None
            return answer

    def served(self, times: int = 24) -> set[int | None]:
        """The versions that workers answer with now; fails when one does not answer."""
        found = set()
        for _ in range(times):
            answer = self.query(timeout=10.0)
            assert answer is not None
            found.add(answer["version"])
        return found

    def in_force(self, version: int) -> Callable[[], bool]:
        def true() -> bool:
            status = self.status()
            return status.get("version") == version and status.get("workers_ready") == self.workers

        return true

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill_supervisor(self) -> list[int]:
        """Kill -9 the supervisor; return the pids of its children."""
        children = self.pids("")
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()
        return children

    def stop(self) -> int:
        """End it as systemd would; return the exit status."""
        if self.process is None or self.process.poll() is not None:
            self._close()
            return 0 if self.process is None else self.process.returncode
        self.process.terminate()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._close()
        return code

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


def alive(pid: int) -> bool:
    """True while `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def none_alive(pids: list[int]) -> bool:
    return until(lambda: not any(alive(pid) for pid in pids), what=f"the end of {pids}") is True
