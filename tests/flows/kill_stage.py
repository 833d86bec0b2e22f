"""Where the kill loop plays: a district with two nodes, over PostgreSQL with two portals, and the processes of all."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from resolver.processes.control import ControlFailed, NotRunning, ask
from tests.accounts import ADMINISTRATOR, REVIEWER
from tests.flows import kept
from tests.flows.district import District, child_running, district, free_port, until
from tests.flows.upstream import world
from tests.portal import databases

PARTS = ("worker 0", "worker 1", "subscription", "log-writer")  # of every node, beside its supervisor
PORTAL, SUPERVISOR, COMPILER, BACKEND = "portal", "supervisor", "compiler", "database backend"
PATIENCE = 120.0  # seconds, for what takes seconds on a quiet machine

Part = tuple[str, str]  # what, and whose


@dataclass(slots=True)
class Node:
    """A node under fire. `restarts`: when its supervisor was killed and when it was back, seconds since 1970."""

    name: str
    state: Path
    port: int
    supervisor: Callable[[], int]
    restarts: list[tuple[float, float]] = field(default_factory=list)

    def pid(self, part: str) -> int:
        """Return the process of one of `PARTS` or of the supervisor. Raises `StopIteration` when there is none now."""
        if part == SUPERVISOR:
            return self.supervisor()
        return next(int(one["pid"]) for one in self.status()["processes"] if one["name"] == part)

    def status(self) -> dict[str, Any]:
        """What it says of itself. Raises `NotRunning` or `ControlFailed`."""
        return ask(self.state, {"do": "status"})

    def serves(self) -> bool:
        """True when every worker serves a policy."""
        with contextlib.suppress(NotRunning, ControlFailed):
            status = self.status()
            return bool(status["version"]) and status["workers_ready"] == status["workers"]
        return False


@dataclass(slots=True)
class Portal:
    """A portal under fire, and a reviewer's client of it."""

    name: str
    url: str
    pid: Callable[[], int]
    reviewer: httpx.Client


@dataclass(slots=True)
class Stage:
    """The first node and the first portal are those of `schoolgate up`."""

    school: District
    nodes: list[Node]
    portals: list[Portal]
    random: random.Random

    @property
    def parts(self) -> list[Part]:
        """Everything that can be killed."""
        found = [(PORTAL, one.name) for one in self.portals]
        found += [(part, node.name) for node in self.nodes for part in (*PARTS, SUPERVISOR)]
        return [*found, (COMPILER, ""), *([(BACKEND, "")] if self.school.database else [])]

    def victim(self, part: Part) -> int:
        """Return its process. Raises `LookupError` or `StopIteration` when there is none now."""
        what, whose = part
        if what == BACKEND:
            return self._a_backend()
        if what == PORTAL:
            return next(one for one in self.portals if one.name == whose).pid()
        if what != COMPILER:
            return next(one for one in self.nodes if one.name == whose).pid(what)
        deadline = time.monotonic() + 15.0  # the lists' job takes up what is asked within a moment
        while time.monotonic() < deadline:
            for portal in self.portals:
                with contextlib.suppress(LookupError):
                    return child_running(portal.pid(), "blocklists.update")
            time.sleep(0.005)
        raise LookupError("nothing is being compiled")

    def _a_backend(self) -> int:
        engine = create_engine(self.school.database.replace("postgresql://", "postgresql+psycopg://", 1))
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        try:
            with engine.connect() as connection:
                found = [int(row[0]) for row in connection.execute(text(query))]
        finally:
            engine.dispose()
        if not found:
            raise LookupError("the database has no backend")
        return self.random.choice(found)


@contextlib.contextmanager
def stage(folder: Path, rng: random.Random) -> Iterator[Stage]:
    """Set it up in `folder`, on the database that the suite runs on; end every process at the end."""
    port = free_port()
    database = databases.new(folder) if databases.POSTGRESQL else ""
    settings = {"SCHOOLGATE_PORTAL__PRIVATE_LISTS": "true"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(world(port))
        school = stack.enter_context(district(folder, port, database=database, settings=settings))
        reviewer = stack.enter_context(school.client(REVIEWER, "reviewer"))
        portals = [Portal("one", school.url, lambda: school.pid_of("portal"), reviewer)]
        if database:
            url, process = stack.enter_context(kept.second_portal(school, folder / "two"))
            client = httpx.Client(base_url=f"{url}/api/v1", headers=reviewer.headers, timeout=20)
            portals.append(Portal("two", url, lambda: process.pid, stack.enter_context(client)))
        with school.client(ADMINISTRATOR, "administrator") as administrator:
            token = administrator.post("/nodes/tokens", json={}).json()["token"]
        far = kept.second_node(school, folder / "far", portals[-1].url, token, ["edison"])
        far_port, resolver = stack.enter_context(far)
        nodes = [
            Node("near", school.data / "node", school.dns, lambda: school.pid_of("resolver")),
            Node("far", folder / "far" / "node", far_port, lambda: resolver.pid),
        ]
        until(nodes[1].serves, PATIENCE, "the second node")
        yield Stage(school, nodes, portals, rng)
