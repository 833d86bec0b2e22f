"""Random kill -9 of every part while decisions are under way: nothing lost, nothing half done, the gate never open.

`make kills` (`python -m tests.flows.kill_loop --kills 1000`) is the full form; the suite runs a short one. Each round
approves a request for a name of its own, revokes a grant, or lets a blocklist grow, and kills one part at a random
moment meanwhile: portal, supervisor, worker, subscription, log writer, the process that compiles the lists, and, with
`SCHOOLGATE_TEST_DATABASE=postgresql`, one of the database's backends. Afterwards the decision has either happened with
its audit event, its grant and, in time, its answer at the resolver, or it has not happened at all. A prober asks on
throughout: a blocked name must never open, an open one never close. At the end the query log is read (`kill_log.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.rcode
import httpx
from sqlalchemy import create_engine, text

from resolver.processes.control import ControlFailed, NotRunning, ask
from tests.accounts import ADMINISTRATOR, REVIEWER, teachers
from tests.flows import kill_log
from tests.flows.district import STUDENTS, District, child_running, command, district, free_port, until
from tests.flows.list_server import ListServer
from tests.flows.upstream import world
from tests.portal import databases

PARTS = ("portal", "resolver", "worker 0", "worker 1", "subscription", "log-writer")
COMPILER, BACKEND = "compiler", "database backend"
NEVER = "www.tiktok.com"
ALWAYS = "www.pinterest.com"
PATIENCE = 120.0  # seconds, for what takes seconds on a quiet machine


@dataclass(slots=True)
class Tally:
    """What happened."""

    kills: dict[str, int] = field(default_factory=dict)
    decided: int = 0
    lists: int = 0  # updates of the list under fire
    retried: int = 0  # the answer was lost and the decision had not happened
    kept: int = 0  # the answer was lost and the decision had happened
    probes: int = 0
    unanswered: int = 0
    restarts: list[tuple[float, float]] = field(default_factory=list)  # supervisor killed and back, seconds since 1970
    wrong: list[str] = field(default_factory=list)
    log: kill_log.Findings = field(default_factory=kill_log.Findings)


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

    def __init__(self, school: District, source: ListServer, kills: int, seed: int) -> None:
        self._school = school
        self._source = source
        self._kills = kills
        self._random = random.Random(seed)
        self.tally = Tally()
        self._writers = [school.bearer(one) for one in teachers(school.data, kills + 1, school.database)]
        self._teachers = itertools.cycle(self._writers)
        self._reviewer = school.client(REVIEWER, "reviewer")
        self._admin = school.client(ADMINISTRATOR, "administrator")
        self._open: dict[str, int] = {}  # name -> grant
        self._closed: set[str] = set()
        self._listed: list[str] = []

    def run(self) -> Tally:
        """Kill as often as was said, then check everything once more. Raises `AssertionError`."""
        draft = {"id": "kills", "title": "Kill loop", "category": "social-media", "url": self._source.url}
        assert self._admin.post("/lists/sources", json=draft).status_code == 201
        until(lambda: not self._is_open(self._source.names[0]), PATIENCE, "the first list")
        self._approve_calmly(ALWAYS)
        prober = _Prober(self._school, self.tally)
        prober.start()
        try:
            while sum(self.tally.kills.values()) < self._kills:
                self._round(self.tally.decided)
        finally:
            prober.ending.set()
            prober.join(20)
        self._check_all()
        for client in (*self._writers, self._reviewer, self._admin):
            client.close()
        return self.tally

    def _round(self, number: int) -> None:
        part = self._random.choice((*PARTS, COMPILER, *([BACKEND] if self._school.database else [])))
        self._say(number, part)
        die = self._random.random()
        if part == COMPILER or die < 0.1:
            self._grow_list(number, part)
        elif self._open and die < 0.4:
            self._revoke_one(part)
        else:
            self._approve_one(number, part)

    def _say(self, number: int, part: str) -> None:
        done = sum(self.tally.kills.values())
        if number % 25 == 0 and sys.stdout.isatty() is False:
            print(f"{time.strftime('%H:%M:%S')} round {number}, {done} kills; next {part}", flush=True)

    def _revoke_one(self, part: str) -> None:
        name = self._random.choice(sorted(self._open))
        self._under_fire(part, lambda: self._revoke(self._open[name]), lambda: self._is_revoked(self._open[name]))
        del self._open[name]
        self._closed.add(name)
        until(lambda: not self._is_open(name), PATIENCE, f"{name} to close after killing {part}")

    def _approve_one(self, number: int, part: str) -> None:
        name = f"k{number}.instagram.com"
        request = self._write(name)
        self._under_fire(part, lambda: self._decide(request), lambda: self._state(request) == "approved")
        grants = self._reviewer.get(f"/requests/{request['id']}").json()["grants"]
        assert len(grants) == 1, f"request {request['id']} has {len(grants)} grants"
        self._open[name] = grants[0]["id"]
        until(lambda: self._is_open(name), PATIENCE, f"{name} to open after killing {part}")

    def _grow_list(self, number: int, part: str) -> None:
        """A name is put on the list; it is blocked in the end, whatever was killed on the way."""
        name = f"k{number}.example.com"
        assert self._is_open(name), f"{name} was blocked before"
        self._source.add(name)
        self._under_fire(part, self._fetch, lambda: False)
        self.tally.lists += 1
        looked = time.monotonic()

        def blocked() -> bool:
            nonlocal looked
            if time.monotonic() - looked > 2.0:  # the build may have been what was killed: an administrator asks again
                looked = time.monotonic()
                with contextlib.suppress(httpx.HTTPError):
                    found = self._admin.get("/lists/updates")
                    if found.status_code == 200 and found.json()["updates"][0]["state"] in ("failed", "current"):
                        self._fetch()
            return not self._is_open(name)

        until(blocked, PATIENCE, f"{name} to be blocked after killing {part}")
        self._listed.append(name)

    def _fetch(self) -> httpx.Response:
        return self._admin.patch("/lists/sources/kills", json={"fetch": True})

    def _under_fire(self, part: str, act: Callable[[], httpx.Response], happened: Callable[[], bool]) -> None:
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
            assert happened() or act == self._fetch, "the portal said yes and forgot"
        elif happened():
            self.tally.kept += 1
        else:
            self.tally.retried += 1
            answer = act()
            assert answer.status_code == 200, answer.text

    def _kill(self, part: str) -> None:
        with contextlib.suppress(LookupError, StopIteration, ProcessLookupError, NotRunning, ControlFailed):
            pid, at = self._pid(part), time.time()
            os.kill(pid, signal.SIGKILL)
            self.tally.kills[part] = self.tally.kills.get(part, 0) + 1
            if part == "resolver":
                until(self._serves, PATIENCE, "the resolver's return")
                self.tally.restarts.append((at, time.time()))

    def _pid(self, part: str) -> int:
        """Raises `LookupError` when there is no such process now."""
        if part == BACKEND:
            return self._a_backend()
        if part != COMPILER:
            return self._school.pid_of(part)
        deadline = time.monotonic() + 15.0  # the lists' job takes up what is asked within a moment
        while time.monotonic() < deadline:
            with contextlib.suppress(LookupError):
                return child_running(self._school.pid_of("portal"), "blocklists.update")
            time.sleep(0.005)
        raise LookupError("nothing is being compiled")

    def _a_backend(self) -> int:
        engine = create_engine(self._school.database.replace("postgresql://", "postgresql+psycopg://", 1))
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        try:
            with engine.connect() as connection:
                found = [int(row[0]) for row in connection.execute(text(query))]
        finally:
            engine.dispose()
        if not found:
            raise LookupError("the database has no backend")
        return self._random.choice(found)

    def _serves(self) -> bool:
        with contextlib.suppress(NotRunning, ControlFailed):
            status = ask(self._school.data / "node", {"do": "status"})
            return bool(status["version"]) and status["workers_ready"] == status["workers"]
        return False

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
        school = self._school
        assert not self.tally.wrong, f"{len(self.tally.wrong)} wrong answers: {self.tally.wrong[:5]}"
        until(self._converged, PATIENCE, "every worker on the newest version, acknowledged")
        for name in self._open:
            until(lambda name=name: self._is_open(name), PATIENCE, f"{name}, which was lost")
        for name in (*self._closed, *self._listed):
            until(lambda name=name: not self._is_open(name), PATIENCE, f"{name}, which came back")
        words = ("--data", str(school.data))
        lines = command("export", "audit", *words, environment=school.environment).stdout.splitlines()
        events = [json.loads(line) for line in lines]
        for tag, wanted in (
            ("request.decision.approve", len(self._open) + len(self._closed) + 1),
            ("grant.grant.revoke", len(self._closed)),
        ):
            subjects = [event["subject"] for event in events if event["tag"] == tag]
            assert len(subjects) == len(set(subjects)) == wanted, f"{tag}: {len(subjects)} of {wanted}"
        said = command("export", "audit", "--verify", *words, environment=school.environment).stdout
        assert "chain whole" in said, said
        until(self._log_is_written, PATIENCE, "the query log")
        database = school.database or f"sqlite:///{school.data / 'portal' / 'portal.sqlite'}"
        self.tally.log = kill_log.check(school.data, database, self.tally.restarts)
        assert not self.tally.log.wrong, f"{len(self.tally.log.wrong)}: {self.tally.log.wrong[:5]}"
        assert self.tally.log.records > 0

    def _converged(self) -> bool:
        with contextlib.suppress(NotRunning, ControlFailed, httpx.HTTPError, KeyError, IndexError):
            status = ask(self._school.data / "node", {"do": "status"})
            (node,) = self._admin.get("/nodes").json()["nodes"]
            acked = not node["behind"] and status["version"] == node["acked"]
            return bool(acked and status["workers_ready"] == status["workers"])
        return False

    def _log_is_written(self) -> bool:
        """A question of this moment is in the log: what came before it is, too."""
        now = time.time()
        self._is_open(NEVER)
        time.sleep(0.5)
        return any(True for _ in kill_log.logwriter.read(self._school.data / "node", now - 1))


def run(kills: int, seed: int, folder: Path) -> Tally:
    """Run the loop on a district of its own in `folder`, on the database that the suite runs on."""
    port = free_port()
    database = databases.new(folder) if databases.POSTGRESQL else ""
    source = ListServer()
    settings = {"SCHOOLGATE_PORTAL__PRIVATE_LISTS": "true"}
    try:
        with world(port), district(folder, port, database=database, settings=settings) as school:
            return Loop(school, source, kills, seed).run()
    finally:
        source.close()


def main() -> None:
    """Run the full form and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    told = parser.parse_args()
    where = "PostgreSQL" if databases.POSTGRESQL else "SQLite"
    print(f"seed {told.seed}, {told.kills} kills over {where}", flush=True)
    with tempfile.TemporaryDirectory(prefix="schoolgate-kills-") as folder:
        tally = run(told.kills, told.seed, Path(folder))
    log = tally.log
    print(f"seed {told.seed}: {sum(tally.kills.values())} kills {tally.kills} over {where}")
    print(
        f"{tally.decided} decisions under fire ({tally.lists} of them lists that grew): {tally.kept} had happened "
        f"though the answer was lost, {tally.retried} had not happened and were repeated; nothing lost, nothing twice"
    )
    print(f"{tally.probes} probes, {tally.unanswered} unanswered, {len(tally.wrong)} wrong")
    print(f"{log.records} log records of {log.versions} versions decided again: {len(log.wrong)} differ")
    print(
        f"an older version beside a newer one: longest {max(log.spreads) * 1000:.0f} ms; "
        f"over 500 ms for {log.slow} of {len(log.spreads)} versions"
    )


if __name__ == "__main__":
    main()
