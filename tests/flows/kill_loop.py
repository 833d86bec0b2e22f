"""Random kill -9 of every part while decisions are under way: nothing lost, nothing half done, the gate never open.

`python -m tests.flows.kill_loop --kills 50` is the full form; the suite runs a short one. Each round writes a request
for a name of its own, sends the approval (or a revocation), and kills one part at a random moment meanwhile.
Afterwards the decision has either happened with its audit event, its grant and, in time, its answer at the resolver,
or it has not happened at all. A prober asks on throughout: a blocked name must never open, an open one never close.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.rcode
import httpx

from resolver.control import ControlFailed, NotRunning
from tests.accounts import REVIEWER, teachers
from tests.flows.district import STUDENTS, District, command, district, free_port, until
from tests.flows.upstream import world

PARTS = ("portal", "resolver", "worker 0", "worker 1", "subscription", "log-writer")
NEVER = "www.tiktok.com"
ALWAYS = "www.pinterest.com"


@dataclass(slots=True)
class Tally:
    """What happened."""

    kills: dict[str, int] = field(default_factory=dict)
    decided: int = 0
    retried: int = 0  # the answer was lost and the decision had not happened
    kept: int = 0  # the answer was lost and the decision had happened
    probes: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)


class _Prober(threading.Thread):
    """Asks for a blocked and an open name all the time, and notes every wrong answer."""

    def __init__(self, school: District, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._school, self._tally, self.ending = school, tally, threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.01):
            for name, wanted in ((NEVER, False), (ALWAYS, True)):
                self._tally.probes += 1
                try:
                    reply = self._school.ask(name)
                except (dns.exception.DNSException, OSError):
                    self._tally.unanswered += 1
                    continue
                if bool(reply.answer) is not wanted and reply.rcode() != dns.rcode.SERVFAIL:
                    self._tally.wrong.append(f"{name}: {dns.rcode.to_text(reply.rcode())}")


class Loop:
    """One district under fire."""

    def __init__(self, school: District, kills: int, seed: int) -> None:
        self._school = school
        self._kills = kills
        self._random = random.Random(seed)
        self.tally = Tally()
        self._writers = [school.bearer(one) for one in teachers(school.data, kills + 1)]
        self._teachers = itertools.cycle(self._writers)
        self._reviewer = school.client(REVIEWER, "reviewer")
        self._open: dict[str, int] = {}  # name -> grant
        self._closed: set[str] = set()

    def run(self) -> Tally:
        """Kill as often as was said, then check everything once more. Raises `AssertionError`."""
        self._approve_calmly(ALWAYS)
        prober = _Prober(self._school, self.tally)
        prober.start()
        try:
            for number in range(self._kills):
                self._round(number)
        finally:
            prober.ending.set()
            prober.join(20)
        self._check_all()
        for client in (*self._writers, self._reviewer):
            client.close()
        return self.tally

    def _round(self, number: int) -> None:
        part = self._random.choice(PARTS)
        revoke = bool(self._open) and self._random.random() < 0.3
        if revoke:
            name = self._random.choice(sorted(self._open))
            self._under_fire(part, lambda: self._revoke(self._open[name]), lambda: self._is_revoked(self._open[name]))
            del self._open[name]
            self._closed.add(name)
            until(lambda: not self._is_open(name), 30, f"{name} to close after killing {part}")
            return
        name = f"k{number}.instagram.com"
        request = self._write(name)
        self._under_fire(part, lambda: self._decide(request), lambda: self._state(request) == "approved")
        grants = self._reviewer.get(f"/requests/{request['id']}").json()["grants"]
        assert len(grants) == 1, f"request {request['id']} has {len(grants)} grants"
        self._open[name] = grants[0]["id"]
        until(lambda: self._is_open(name), 30, f"{name} to open after killing {part}")

    def _under_fire(self, part: str, act: Any, happened: Any) -> None:
        """Do `act` while `part` is killed; when its answer is lost, see whether it happened, and repeat if not."""
        outcome: list[int] = []

        def send() -> None:
            with contextlib.suppress(httpx.HTTPError):
                outcome.append(act().status_code)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(self._random.random() ** 2 * 0.12)  # often while the decision is written, sometimes during the swap
        self._kill(part)
        sender.join(60)
        self.tally.decided += 1
        self._wait_for_portal()
        if outcome == [200]:
            assert happened(), "the portal said yes and forgot"
        elif happened():
            self.tally.kept += 1
        else:
            self.tally.retried += 1
            answer = act()
            assert answer.status_code == 200, answer.text

    def _kill(self, part: str) -> None:
        with contextlib.suppress(LookupError, StopIteration, ProcessLookupError, NotRunning, ControlFailed):
            os.kill(self._school.pid_of(part), signal.SIGKILL)
            self.tally.kills[part] = self.tally.kills.get(part, 0) + 1

    def _wait_for_portal(self) -> None:
        def ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{self._school.url}/readyz", timeout=5).status_code == 200
            return False

        until(ready, 60, "the portal")

    def _approve_calmly(self, name: str) -> None:
        request = self._write(name)
        assert self._decide(request).status_code == 200
        until(lambda: self._is_open(name), 30, name)

    def _write(self, name: str) -> dict[str, Any]:
        message = {"tools": [{"name": name}], "purpose": "Kill loop", "audience": ["students"], "sites": ["edison"]}
        answer = next(self._teachers).post("/requests", json=message)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _decide(self, request: dict[str, Any]) -> httpx.Response:
        body = {"revision": request["revision"], "decision": "approve", "reason": "Under fire"}
        return self._reviewer.post(f"/requests/{request['id']}/decision", json=body)

    def _revoke(self, grant: int) -> httpx.Response:
        return self._reviewer.post(f"/grants/{grant}/revoke", json={"reason": "Under fire"})

    def _state(self, request: dict[str, Any]) -> str:
        return str(self._reviewer.get(f"/requests/{request['id']}").json()["state"])

    def _is_revoked(self, grant: int) -> bool:
        return self._reviewer.get(f"/grants/{grant}").json()["revoked_at"] is not None

    def _is_open(self, name: str) -> bool:
        with contextlib.suppress(dns.exception.DNSException, OSError):
            return self._school.is_open(name, STUDENTS)
        return name in self._closed  # no answer is not the answer that is waited for

    def _check_all(self) -> None:
        assert not self.tally.wrong, f"{len(self.tally.wrong)} wrong answers: {self.tally.wrong[:5]}"
        for name in self._open:
            assert self._is_open(name), f"{name} was lost"
        for name in self._closed:
            assert not self._is_open(name), f"{name} came back"
        lines = command("export", "audit", "--data", str(self._school.data)).stdout.splitlines()
        events = [json.loads(line) for line in lines]
        approvals = [event["subject"] for event in events if event["tag"] == "request.decision.approve"]
        assert len(approvals) == len(set(approvals)) == len(self._open) + len(self._closed) + 1
        assert "chain whole" in command("export", "audit", "--verify", "--data", str(self._school.data)).stdout


def run(kills: int, seed: int, folder: Path) -> Tally:
    """Run the loop on a district of its own in `folder`."""
    port = free_port()
    with world(port), district(folder, port) as school:
        return Loop(school, kills, seed).run()


def main() -> None:
    """Run the full form and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="schoolgate-kills-") as folder:
        tally = run(told.kills, told.seed, Path(folder))
    print(f"seed {told.seed}: {sum(tally.kills.values())} kills {tally.kills}")
    print(
        f"{tally.decided} decisions under fire: {tally.kept} had happened though the answer was lost, "
        f"{tally.retried} had not happened and were repeated; nothing lost, nothing twice"
    )
    print(f"{tally.probes} probes, {tally.unanswered} unanswered, {len(tally.wrong)} wrong")


if __name__ == "__main__":
    main()
