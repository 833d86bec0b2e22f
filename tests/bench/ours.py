"""Schoolgate as the benchmark runs it: the real commands on a data folder of its own, with a base of listed names."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blocklists.base import ListKind
from blocklists.compile import Source, compile_base, seed_sources
from blocklists.seed import load_seed
from resolver.processes.control import ControlFailed, NotRunning, ask


@dataclass(frozen=True, slots=True)
class Schoolgate:
    """A running pair. `resolver` and `portal` are process ids; ports are on 127.0.0.1."""

    data: Path
    dns: int
    web: int
    resolver: int
    portal: int


def make_base(path: Path, listed: Iterable[str]) -> int:
    """Write a base of the seed lists and one list of `listed` names in `social-media`; return its size in bytes."""
    extra = Source("bench", "Made-up names", "social-media", ListKind.LIST, listed)
    data = compile_base([*seed_sources(load_seed()), extra])
    path.write_bytes(data)
    return len(data)


def _command(*words: str, cpu: str | None = None) -> list[str]:
    pinned = ["taskset", "-c", cpu] if cpu is not None else []
    return [*pinned, sys.executable, "-m", "deploy.cli", *words]


def until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, within: float = 90) -> None:
    """Return when `ready()`; raise with the end of `log` when the process ends or time runs out."""
    deadline = time.monotonic() + within
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"not ready:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)


def _web_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def serves(data: Path) -> bool:
    """True when every worker of the node under `data` serves a policy."""
    try:
        status = ask(data / "node", {"do": "status"})
    except (NotRunning, ControlFailed):
        return False
    return bool(status["version"]) and status["workers_ready"] == status["workers"]


@contextlib.contextmanager
def schoolgate(
    data: Path,
    dns: int,
    web: int,
    upstream: int,
    workers: int,
    base: Path | None = None,
    cpu: str | None = None,
    query_log: bool = True,
    filled: Callable[[Path], object] | None = None,
) -> Iterator[Schoolgate]:
    """Run portal and resolver on `data` with demo content. `cpu` pins the resolver. A first start enrols the node;
    then, with `base`, a start adopts that file as the portal's base, in a database that `filled(data)` may add to."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = {
        "SCHOOLGATE_DATA": str(data),
        "SCHOOLGATE_RESOLVER__LISTEN": json.dumps([f"127.0.0.1:{dns}", *(f"127.0.0.{n}:{dns}" for n in (2, 3, 4))]),
        "SCHOOLGATE_RESOLVER__UPSTREAMS": json.dumps([f"127.0.0.1:{upstream}"]),
        "SCHOOLGATE_RESOLVER__WORKERS": str(workers),
        "SCHOOLGATE_RESOLVER__RATE_EXEMPT": json.dumps(["127.0.0.1/32"]),  # other loopback addresses are clients
        "SCHOOLGATE_RESOLVER__TCP_CONNECTIONS": "2500",
        "SCHOOLGATE_RESOLVER__PORTAL": f"http://127.0.0.1:{web}",
        "SCHOOLGATE_RESOLVER__NAME": "bench",
        "SCHOOLGATE_RESOLVER__QUERY_LOG": str(query_log).lower(),
        "SCHOOLGATE_PORTAL__LISTEN": f"127.0.0.1:{web}",
    }
    env = {**os.environ, **settings}
    token = data / "token"
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: str, cpu: str | None = None) -> tuple[subprocess.Popen[bytes], Path]:
        log = data / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(_command(*words, cpu=cpu), env=env, stdout=out, stderr=out)
        running.append(process)
        return process, log

    try:
        portal, log = start("portal", "portal", "--demo", "--issue-token", str(token))
        until(lambda: _web_ready(web), portal, log)
        if base is not None:
            _end(running.pop())
            if filled is not None:
                filled(data)
            _adopt(data, base)
            portal, log = start("portal", "portal", "--demo")
            until(lambda: _web_ready(web), portal, log)
        enrolled = _command("node", "enroll", "--token-file", str(token))
        subprocess.run(enrolled, env=env, check=True, stdout=subprocess.DEVNULL)
        resolver, log = start("resolver", "resolver", cpu=cpu)
        until(lambda: serves(data), resolver, log)
        yield Schoolgate(data, dns, web, resolver.pid, portal.pid)
    finally:
        for process in reversed(running):
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _adopt(data: Path, base: Path) -> None:
    """Make `base` the portal's current one, and ask for a publication, as the lists' job does."""
    from deploy.settings import load_settings, portal_config
    from portal.database import connect, transaction
    from portal.lists.bases import adopt_base

    told = portal_config(load_settings().model_copy(update={"data": data}))
    engine = connect(told.database)
    with transaction(engine) as session:
        adopt_base(told, session, base, int(time.time()))
    engine.dispose()
