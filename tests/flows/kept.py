"""Processes beside a district that are started again when they end, as systemd does: a second node, a second portal."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from tests.flows.district import District, command, free_port, until

START_WITHIN = 90.0


class Kept:
    """One `schoolgate` command that runs until `close`, whoever kills it."""

    def __init__(self, words: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", "deploy.cli", *words]
        self._environment = environment
        self._log = log
        self._closing = threading.Event()
        self._process = self._started()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        """The process as it is now; another one after each death."""
        return self._process.pid

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(self._command, env=self._environment, stdout=out, stderr=out)

    def _keep(self) -> None:
        while not self._closing.wait(0.1):
            if self._process.poll() is not None:
                self._process = self._started()

    def close(self) -> None:
        """End it, and see that it stays so."""
        self._closing.set()
        self._keeper.join(20)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def second_portal(school: District, folder: Path) -> Iterator[tuple[str, Kept]]:
    """Run one more portal over the database of `school`, with a copy of its keys; yield its URL and process."""
    port = free_port()
    shutil.copytree(school.data / "portal" / "keys", folder / "portal" / "keys")
    settings = {"SCHOOLGATE_DATA": str(folder), "SCHOOLGATE_PORTAL__LISTEN": f"127.0.0.1:{port}"}
    kept = Kept(("portal", "--demo"), {**school.environment, **settings}, folder.parent / f"{folder.name}.log")
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: ready(url), START_WITHIN, "the second portal")
        yield url, kept
    finally:
        kept.close()


@contextlib.contextmanager
def second_node(
    school: District, folder: Path, portal: str, token: str, sites: Sequence[str]
) -> Iterator[tuple[int, Kept]]:
    """Enrol one more node, of these sites, with the portal at this URL; yield its port and process. Its state is in
    `folder/node`."""
    folder.mkdir(mode=0o700)
    port = free_port()
    settings = {
        "SCHOOLGATE_DATA": str(folder),
        "SCHOOLGATE_RESOLVER__LISTEN": json.dumps([f"127.0.0.1:{port}"]),
        "SCHOOLGATE_RESOLVER__UPSTREAMS": json.dumps([f"127.0.0.1:{school.upstream}"]),
        "SCHOOLGATE_RESOLVER__WORKERS": "2",
        "SCHOOLGATE_RESOLVER__PORTAL": portal,
        "SCHOOLGATE_RESOLVER__NAME": folder.name,
        "SCHOOLGATE_RESOLVER__SITES": json.dumps(list(sites)),
    }
    environment = {**os.environ, **settings}
    environment.pop("SCHOOLGATE_TEST_DATABASE", None)
    file = folder / "token"
    file.write_text(token)
    command("node", "enroll", "--token-file", str(file), environment=environment)
    kept = Kept(("resolver",), environment, folder.parent / f"{folder.name}.log")
    try:
        yield port, kept
    finally:
        kept.close()


def ready(url: str) -> bool:
    """True when the portal at `url` says so."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    return False
