"""The demo district on a real SQLite file, its people as actors, and the API over it: for the services' tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlmodel import Session, func, select

from portal import migrations
from portal.access import SYSTEM, Actor, ActorKind
from portal.api import district, grants, levers
from portal.api import people as people_routes
from portal.api import requests as request_routes
from portal.config import PortalConfig
from portal.database import connect, transaction
from portal.deps import Deps
from portal.desk import requests
from portal.desk.tools import ToolDraft
from portal.desk.workflow import Event
from portal.doors.grants import EntryDraft, GrantDraft
from portal.models.audit import AuditEvent
from portal.models.delivery import Publication
from portal.models.levers import GrantRow
from portal.models.requests import Request
from portal.models.words import Role
from portal.people import accounts, sessions
from portal.people.accounts import TokenDraft, UserDraft
from portal.people.passwords import Passwords
from portal.people.sessions import Throttle
from portal.upkeep import demo
from portal.web import problems
from tests.portal import databases

NOW = datetime(2026, 3, 4, 16, 42, tzinfo=UTC).timestamp()  # Wednesday, 10:42 in the district


@dataclass
class Lists:
    """A catalogue from a dictionary."""

    locked_names: Mapping[str, str] = field(default_factory=lambda: {"pornhub.com": "Adult content"})
    known: Mapping[str, str] = field(
        default_factory=lambda: {
            "seed-social-media": "social-media",
            "seed-adult": "adult",
            "instagram": "social-media",
        }
    )

    def locked(self, name: str) -> str | None:
        return self.locked_names.get(name)

    def lists(self) -> Mapping[str, str]:
        return self.known


LISTS = Lists()
PASSWORDS = Passwords()


@dataclass(frozen=True)
class Desk:
    """Tess teaches, Rosa and Ben review, Amir administers, Ada audits."""

    engine: Engine
    folder: Path
    tess: Actor
    rosa: Actor
    ben: Actor
    amir: Actor
    ada: Actor

    def count(self, table: type[AuditEvent | GrantRow | Publication | Request]) -> int:
        with transaction(self.engine) as session:
            return session.exec(select(func.count()).select_from(table)).one()

    def submit(self, name: str = "pinterest.com", actor: Actor | None = None) -> int:
        with transaction(self.engine) as session:
            draft = requests.Draft((ToolDraft(name),), "Students collect references for their posters.")
            row = requests.submit(session, actor or self.tess, NOW, draft)
            assert row.id is not None
            return row.id

    def approve(self, number: int, revision: int = 1, actor: Actor | None = None) -> None:
        with transaction(self.engine) as session:
            who = actor or self.rosa
            requests.decide(session, who, NOW, number, revision, Event.APPROVE, "", None, LISTS)

    def machine(self, role: Role) -> Actor:
        with transaction(self.engine) as session:
            made = accounts.create_token(session, self.amir, NOW, TokenDraft("robot", role))
            actor = sessions.resolve_token(session, made.secret, NOW)
        assert actor is not None
        return actor


def opened(folder: Path) -> Desk:
    """Return a fresh demo district in `folder`."""
    engine = connect(databases.new(folder))
    migrations.upgrade(engine)
    with transaction(engine) as session:
        demo.seed(session, NOW, "http://127.0.0.1:8080")
        accounts.create_user(session, SYSTEM, NOW, UserDraft("ben.ode@riverbend.example", "Ben Ode", ("reviewer",)), "")
        accounts.create_user(session, SYSTEM, NOW, UserDraft("ada.li@riverbend.example", "Ada Li", ("auditor",)), "")
        found = {name: actor(session, f"{name}@riverbend.example") for name in _NAMES}
    return Desk(engine, folder, *(found[name] for name in _NAMES))


_NAMES = ("tess.okafor", "rosa.diaz", "ben.ode", "amir.khan", "ada.li")


def actor(session: Session, email: str) -> Actor:
    return sessions.user_actor(accounts.by_email(session, email))


def grant(name: str = "pinterest.com", match: str = "subtree") -> GrantDraft:
    return GrantDraft((EntryDraft(name, match),), ("edison",), ("students",), "2026-03-04", "2026-05-22")


@contextmanager
def api(desk: Desk) -> Iterator[httpx.Client]:
    """The API's routes over the desk's database, at NOW, on a real server."""
    config = PortalConfig(desk.folder, "", "127.0.0.1", 8080, "http://127.0.0.1:8080", (), demo=True)
    app = FastAPI()
    app.state.deps = Deps(desk.engine, config, lambda: NOW, PASSWORDS, Throttle(), LISTS, lambda: None)
    for router in (request_routes.router, grants.router, district.router, levers.router, people_routes.router):
        app.include_router(router, prefix="/api/v1")
    problems.install(app)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


def bearer(desk: Desk, who: Actor, role: Role, machine: bool = False) -> dict[str, str]:
    with transaction(desk.engine) as session:
        secret = accounts.create_token(session, who, NOW, TokenDraft("test", role, machine)).secret
    return {"Authorization": f"Bearer {secret}"}


NODE = Actor(ActorKind.NODE, 1, "edison-1", frozenset())
