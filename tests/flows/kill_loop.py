"""Random kill -9 of every part while decisions are under way: nothing lost, nothing half done, the gate never open.

`make kills` (`python -m tests.flows.kill_loop --kills 1000`) is the full form; the suite runs a short one. A district
with two nodes, and over PostgreSQL (`SCHOOLGATE_TEST_DATABASE=postgresql`) with two portals, one of which the second
node follows. Each round approves a request for a name of its own, revokes a grant, or lets a blocklist grow, and kills
one part at a random moment meanwhile: a portal, a node's supervisor, worker, subscription or log writer, the process
that compiles the lists, or one of the database's backends. Afterwards the decision has either happened with its audit
event, its grant and, in time, its answer at both nodes, or it has not happened at all. Probers ask on throughout: a
blocked name must never open, an open one never close. What is found at the end is judged by `kill_checks.py`, and the
query logs by `kill_log.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
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
import dns.message
import dns.query
import dns.rcode
import httpx

from resolver.processes.control import ControlFailed, NotRunning
from tests.accounts import ADMINISTRATOR, teachers
from tests.flows import kept, kill_checks, kill_log
from tests.flows.district import STUDENTS, command, until
from tests.flows.kill_stage import COMPILER, PATIENCE, SUPERVISOR, Node, Part, Stage, stage
from tests.flows.list_server import ListServer
from tests.portal import databases

NEVER = "www.tiktok.com"
ALWAYS = "www.pinterest.com"


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
    wrong: list[str] = field(default_factory=list)
    logs: dict[str, kill_log.Findings] = field(default_factory=dict)  # by node


class _Prober(threading.Thread):
    """Asks for a blocked and an open name all the time, and notes every wrong answer."""

    def __init__(self, node: Node, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._node, self._tally, self.ending = node, tally, threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.01):
            for name, wanted in ((NEVER, False), (ALWAYS, True)):
                self._tally.probes += 1
                try:
                    reply = _ask(self._node.port, name)
                except (dns.exception.DNSException, OSError):
                    self._tally.unanswered += 1
                    continue
                if bool(reply.answer) is not wanted and reply.rcode() != dns.rcode.SERVFAIL:
                    self._tally.wrong.append(f"{self._node.name}, {name}: {dns.rcode.to_text(reply.rcode())}")


def _ask(port: int, name: str) -> dns.message.Message:
    return dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=port, source=STUDENTS, timeout=5)


class Loop:
    """One district under fire. The first node and the first portal are those of `schoolgate up`."""

    def __init__(self, stage: Stage, source: ListServer, kills: int, seed: int, deadline: float = math.inf) -> None:
        """`deadline`: on the monotonic clock, when no further part is killed."""
        school = stage.school
        self._stage, self._school, self._nodes, self._portals = stage, school, stage.nodes, stage.portals
        self._source = source
        self._kills = kills
        self._deadline = deadline
        self._random = random.Random(seed)
        self.tally = Tally()
        self._writers = [school.bearer(one) for one in teachers(school.data, kills + 1, school.database)]
        self._teachers = itertools.cycle(self._writers)
        self._reviewer = stage.portals[0].reviewer
        self._admin = school.client(ADMINISTRATOR, "administrator")
        self._requests: dict[int, str] = {}  # approved request -> its name
        self._open: dict[str, int] = {}  # name -> grant
        self._closed: dict[str, int] = {}
        self._listed: list[str] = []

    def run(self) -> Tally:
        """Kill as often as was said, then check everything once more. Raises `AssertionError`."""
        draft = {"id": "kills", "title": "Kill loop", "category": "social-media", "url": self._source.url}
        assert self._admin.post("/lists/sources", json=draft).status_code == 201
        until(self._first_list_is_in_force, PATIENCE, "the first list")
        self._approve_calmly(ALWAYS)
        probers = [_Prober(node, self.tally) for node in self._nodes]
        for prober in probers:
            prober.start()
        try:
            while sum(self.tally.kills.values()) < self._kills and time.monotonic() < self._deadline:
                self._round(self.tally.decided)
        finally:
            for prober in probers:
                prober.ending.set()
            for prober in probers:
                prober.join(20)
        self._check_all()
        for client in (*self._writers, self._admin):
            client.close()
        return self.tally

    def _round(self, number: int) -> None:
        part = self._random.choice(self._stage.parts)
        self._say(number, " of ".join(filter(None, part)))
        die = self._random.random()
        if part[0] == COMPILER or die < 0.1:
            self._grow_list(number, part)
        elif self._open and die < 0.4:
            self._revoke_one(part)
        else:
            self._approve_one(number, part)

    def _say(self, number: int, part: str) -> None:
        done = sum(self.tally.kills.values())
        if number % 25 == 0 and sys.stdout.isatty() is False:
            print(f"{time.strftime('%H:%M:%S')} round {number}, {done} kills; next {part}", flush=True)

    def _revoke_one(self, part: Part) -> None:
        name = self._random.choice(sorted(self._open))
        self._under_fire(part, lambda: self._revoke(self._open[name]), lambda: self._is_revoked(self._open[name]))
        self._closed[name] = self._open.pop(name)
        until(lambda: self._is_closed(name), PATIENCE, f"{name} to close after killing {part}")

    def _approve_one(self, number: int, part: Part) -> None:
        name = f"k{number}.instagram.com"
        request = self._write(name)
        self._under_fire(part, lambda: self._decide(request), lambda: self._state(request) == "approved")
        grants = self._reviewer.get(f"/requests/{request['id']}").json()["grants"]
        assert not (wrong := kill_checks.grants({request["id"]: grants})), wrong
        self._requests[request["id"]] = name
        self._open[name] = grants[0]["id"]
        until(lambda: self._is_open(name), PATIENCE, f"{name} to open after killing {part}")

    def _grow_list(self, number: int, part: Part) -> None:
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
            return self._is_closed(name)

        until(blocked, PATIENCE, f"{name} to be blocked after killing {part}")
        self._listed.append(name)

    def _fetch(self) -> httpx.Response:
        return self._admin.patch("/lists/sources/kills", json={"fetch": True})

    def _under_fire(self, part: Part, act: Callable[[], httpx.Response], happened: Callable[[], bool]) -> None:
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
        self._wait_for_portals()
        if outcome == [200]:
            assert happened() or act == self._fetch, "the portal said yes and forgot"
        elif happened():
            self.tally.kept += 1
        else:
            self.tally.retried += 1
            answer = act()
            assert answer.status_code == 200, answer.text

    def _kill(self, part: Part) -> None:
        what, whose = part
        with contextlib.suppress(LookupError, StopIteration, ProcessLookupError, NotRunning, ControlFailed):
            pid, at = self._stage.victim(part), time.time()
            os.kill(pid, signal.SIGKILL)
            self.tally.kills[what] = self.tally.kills.get(what, 0) + 1
            if what == SUPERVISOR:
                node = next(one for one in self._nodes if one.name == whose)
                until(node.serves, PATIENCE, f"the return of {whose}")
                node.restarts.append((at, time.time()))

    def _wait_for_portals(self) -> None:
        until(lambda: all(kept.ready(one.url) for one in self._portals), 60, "the portals")

    def _approve_calmly(self, name: str) -> None:
        request = self._write(name)
        assert self._decide(request).status_code == 200
        self._requests[request["id"]] = name
        until(lambda: self._is_open(name), 30, name)

    def _write(self, name: str) -> dict[str, Any]:
        message = {"tools": [{"name": name}], "purpose": "Kill loop", "audience": ["students"], "sites": ["edison"]}
        answer = next(self._teachers).post("/requests", json=message)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _decide(self, request: dict[str, Any]) -> httpx.Response:
        body = {"revision": request["revision"], "decision": "approve", "reason": "Under fire"}
        portal = self._random.choice(self._portals)
        return portal.reviewer.post(f"/requests/{request['id']}/decision", json=body)

    def _revoke(self, grant: int) -> httpx.Response:
        return self._reviewer.post(f"/grants/{grant}/revoke", json={"reason": "Under fire"})

    def _state(self, request: dict[str, Any]) -> str:
        return str(self._reviewer.get(f"/requests/{request['id']}").json()["state"])

    def _is_revoked(self, grant: int) -> bool:
        return self._reviewer.get(f"/grants/{grant}").json()["revoked_at"] is not None

    def _is_open(self, name: str) -> bool:
        """True when both nodes give an address."""
        with contextlib.suppress(dns.exception.DNSException, OSError):
            return all(_ask(node.port, name).answer for node in self._nodes)
        return False

    def _is_closed(self, name: str) -> bool:
        """True when both nodes say that there is none: no answer is not the answer that is waited for."""
        with contextlib.suppress(dns.exception.DNSException, OSError):
            return all(_ask(node.port, name).rcode() == dns.rcode.NXDOMAIN for node in self._nodes)
        return False

    def _check_all(self) -> None:
        school = self._school
        assert not self.tally.wrong, f"{len(self.tally.wrong)} wrong answers: {self.tally.wrong[:5]}"
        until(lambda: not self._lagging(), PATIENCE, "every worker of every node on the newest version, acknowledged")
        for name in self._open:
            until(lambda name=name: self._is_open(name), PATIENCE, f"{name}, which was lost")
        for name in (*self._closed, *self._listed):
            until(lambda name=name: self._is_closed(name), PATIENCE, f"{name}, which came back")
        words = ("--data", str(school.data))
        lines = command("export", "audit", *words, environment=school.environment).stdout.splitlines()
        events = [json.loads(line) for line in lines]
        assert not (wrong := kill_checks.decisions(events, self._requests, self._closed.values())), wrong
        said = command("export", "audit", "--verify", *words, environment=school.environment).stdout
        assert "chain whole" in said, said
        database = school.database or f"sqlite:///{school.data / 'portal' / 'portal.sqlite'}"
        published = kill_log.Snapshots(school.data, database)
        for node in self._nodes:
            until(lambda node=node: self._log_is_written(node), PATIENCE, f"the query log of {node.name}")
            found = kill_log.check(kill_log.read(node.state), published, node.restarts)
            assert not found.wrong, f"{node.name}, {len(found.wrong)}: {found.wrong[:5]}"
            assert found.records > 0
            self.tally.logs[node.name] = found

    def _lagging(self) -> list[str]:
        try:
            nodes = self._admin.get("/nodes").json()["nodes"]
            newest = self._admin.get("/policy").json()["version"]
            return kill_checks.convergence(nodes, [node.status() for node in self._nodes], newest)
        except (NotRunning, ControlFailed, httpx.HTTPError, KeyError) as error:
            return [str(error)]

    def _first_list_is_in_force(self) -> bool:
        """Its names do not exist upstream either, so the answer would not tell."""
        (newest, *_) = self._admin.get("/lists/updates").json()["updates"]
        return newest["state"] == "current" and not self._lagging()

    def _log_is_written(self, node: Node) -> bool:
        """A question of this moment is in the log: what came before it is, too."""
        now = time.time()
        with contextlib.suppress(dns.exception.DNSException):
            _ask(node.port, NEVER)
        time.sleep(0.5)
        return any(True for _ in kill_log.logwriter.read(node.state, now - 1))


def run(kills: int, seed: int, folder: Path, minutes: float = math.inf) -> Tally:
    """Run the loop on a district of its own in `folder`, on the database that the suite runs on; no longer than
    `minutes` before everything is checked."""
    source = ListServer()
    try:
        with stage(folder, random.Random(seed)) as made:
            return Loop(made, source, kills, seed, time.monotonic() + minutes * 60).run()
    finally:
        source.close()


def main() -> int:
    """Run the full form and print what happened. Status 1 when workers of one node differed for more than 500 ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=math.inf, help="check what was done by then")
    told = parser.parse_args()
    where = "PostgreSQL, two portals" if databases.POSTGRESQL else "SQLite"
    print(f"seed {told.seed}, {told.kills} kills over {where}", flush=True)
    with tempfile.TemporaryDirectory(prefix="schoolgate-kills-") as folder:
        tally = run(told.kills, told.seed, Path(folder), told.minutes)
    print(f"seed {told.seed}: {sum(tally.kills.values())} kills {tally.kills} over {where}")
    print(
        f"{tally.decided} decisions under fire ({tally.lists} of them lists that grew): {tally.kept} had happened "
        f"though the answer was lost, {tally.retried} had not happened and were repeated; nothing lost, nothing twice"
    )
    print(f"{tally.probes} probes, {tally.unanswered} unanswered, {len(tally.wrong)} wrong")
    for name, log in tally.logs.items():
        print(f"{name}: {log.records} log records of {log.versions} versions decided again, {len(log.wrong)} differ")
        print(
            f"  an older version beside a newer one: longest {max(log.spreads) * 1000:.0f} ms; "
            f"over 500 ms for {log.slow} of {len(log.spreads)} versions"
        )
    return int(any(log.slow for log in tally.logs.values()))


if __name__ == "__main__":
    sys.exit(main())
