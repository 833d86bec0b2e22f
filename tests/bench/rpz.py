"""From the reviewer's click to the allowed answer of BIND, Unbound and PowerDNS, over RPZ with Knot DNS as primary.

The block zone holds 1,000,000 names. The watcher of `schoolgate export rpz`, Knot and the three run as shipped.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.accounts import REVIEWER, teachers, token
from tests.bench import corpus, peers
from tests.bench.ours import make_base, schoolgate
from tests.flows.nameservers import is_open, nameservers

COUNT = 20
BARS = {"BIND": 2.0, "Unbound": 2.0, "PowerDNS": 3.0}  # seconds
NAMES = 1_000_000
PATIENCE = 300.0


def main(count: int = COUNT, names: int = NAMES) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        wanted = list(itertools.islice(corpus.listed(names), count))
        base, zones = folder / "bench.base", folder / "zones"
        make_base(base, corpus.listed(names))
        with (
            peers.authority(folder, 5791, [*corpus.open_names(10), *wanted]),
            schoolgate(folder / "data", 5793, 8793, 5791, 1, base) as ours,
        ):
            words = [sys.executable, "-m", "deploy.cli", "export", "rpz", str(zones), "--group", "edison/students"]
            words += ["--data", str(ours.data)]
            begun = time.monotonic()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            size = (zones / "block.edison-students.rpz.zone").stat().st_size / 1e6
            print(f"\nrpz: both zones of {names:,} names written in {time.monotonic() - begun:.1f} s, {size:.0f} MB")
            with nameservers(folder / "servers", zones, 5791) as found:
                ports = {"BIND": found.bind, "Unbound": found.unbound, "PowerDNS": found.powerdns}
                watching = subprocess.Popen([*words, "--watch", "--reload", found.reload], stdout=subprocess.DEVNULL)
                try:
                    _until_loaded(ports, wanted[0], found.folder / "bind.log")
                    times = _approve_all(ours.data, ours.web, ports, wanted)
                finally:
                    watching.terminate()
                    watching.wait(30)
    for name, taken in times.items():
        slow = ", ".join(f"{at}: {one:.2f} s" for at, one in enumerate(taken, 1) if one > BARS[name])
        print(
            f"  {name}: {count} approvals, median {statistics.median(taken):.2f} s, max {max(taken):.2f} s; bar "
            f"{BARS[name]:.0f} s, over it: {slow or 'none'}"
        )


def _until_loaded(ports: dict[str, int], blocked: str, bind_log: Path) -> None:
    """Wait until each serves both zones; BIND answers from a zone that it is still taking in (docs/rpz.md)."""
    deadline = time.monotonic() + PATIENCE
    for name, port in ports.items():
        while not is_open(port, corpus.open_names(1)[0]) or is_open(port, blocked):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not load its zones within {PATIENCE:.0f} s")
            time.sleep(0.5)
        while name == "BIND" and "rpz: block.edison-students.rpz: reload done" not in bind_log.read_text():
            if time.monotonic() > deadline:
                raise RuntimeError(f"BIND did not take in the block zone within {PATIENCE:.0f} s")
            time.sleep(0.5)
        print(f"  {name} serves after {PATIENCE - (deadline - time.monotonic()):.0f} s", flush=True)


def _approve_all(data: Path, web: int, ports: dict[str, int], wanted: list[str]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ports}

    def client(secret: str) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{web}/api/v1", headers={"Authorization": f"Bearer {secret}"})

    with client(teachers(data, 1)[0]) as teacher, client(token(data, REVIEWER, "reviewer")) as reviewer:
        for name in wanted:
            request = teacher.post("/requests", json={"tools": [{"name": name}], "purpose": "Benchmark lesson"})
            request.raise_for_status()
            body = {"revision": request.json()["revision"], "decision": "approve", "reason": "For the lesson"}
            clicked = time.monotonic()
            reviewer.post(f"/requests/{request.json()['id']}/decision", json=body).raise_for_status()
            waiting = dict(ports)
            while waiting:
                if time.monotonic() - clicked > PATIENCE:
                    raise RuntimeError(f"{name} did not open at {', '.join(waiting)}")
                for server in [one for one, port in waiting.items() if is_open(port, name)]:
                    times[server].append(time.monotonic() - clicked)
                    del waiting[server]
                time.sleep(0.01)
    return times
