"""A small real portal for the tests of publication and delivery: a database file, a base, a server, nodes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from httpx_sse import ServerSentEvent, connect_sse
from sqlalchemy import Engine

from blocklists.exchange import Offer
from blocklists.policy import Audience, AuthorityKind
from blocklists.seed import load_seed
from portal import audit, migrations
from portal.access import SYSTEM
from portal.app import create_app
from portal.config import PortalConfig
from portal.database import connect, transaction
from portal.lists.bases import ensure_base
from portal.models.audit import AuditEvent
from portal.models.district import CategoryRow, ClientGroup, District, Site
from portal.models.levers import GrantRow
from portal.models.people import User
from portal.nodes import enrolment
from portal.nodes.keys import signing_key
from portal.outbox import record_change
from portal.wiring import Wiring
from tests.portal import databases
from tests.ports import free_port as free_port

NOW = 1_700_000_000


def config_in(folder: Path, port: int = 8080, database: str | None = None) -> PortalConfig:
    data = folder / "portal"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return PortalConfig(
        data=data,
        database=database or databases.new(data),
        address="127.0.0.1",
        port=port,
        url=f"http://127.0.0.1:{port}",
        hosts=("localhost",),
    )


def founded(config: PortalConfig) -> Engine:
    """A database with one district, two sites, three groups and one person, and the seed's base."""
    engine = connect(config.database)
    migrations.upgrade(engine)
    seed = load_seed()
    with transaction(engine) as session:
        session.add(
            District(
                slug="riverbend", name="Riverbend", portal_url=config.url, term_ends_on="2030-06-01", created_at=NOW
            )
        )
        session.add_all([Site(id="edison", name="Edison"), Site(id="tesla", name="Tesla")])
        session.add_all(CategoryRow(id=one.id, title=one.title, locked=one.locked) for one in seed.categories)
        session.add(
            User(email="desk@riverbend.example", name="Desk", roles=["reviewer", "administrator"], created_at=NOW)
        )
        session.flush()
        for audience, network in ((Audience.STUDENTS, "127.0.1.0/24"), (Audience.STAFF, "127.0.2.0/24")):
            session.add(
                ClientGroup(
                    id=f"edison/{audience}",
                    site_id="edison",
                    audience=audience,
                    networks=[network],
                    blocks=["social-media", "messaging"],
                )
            )
        ensure_base(config, session, NOW)
    return engine


def grant(
    engine: Engine,
    name: str = "instagram.com",
    sites: tuple[str, ...] = ("*",),
    starts_at: int = NOW,
    ends_at: int | None = 4_000_000_000,
    at: float = NOW,
) -> int:
    """An operational exception, its audit event and its publication: one transaction, as a decision makes them."""
    with transaction(engine) as session:
        row = GrantRow(
            authority=AuthorityKind.EXCEPTION,
            entries=[{"name": name, "match": "subtree"}],
            sites=list(sites),
            audiences=["students"],
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=1,
            created_at=int(at),
        )
        session.add(row)
        session.flush()
        record_change(session, SYSTEM, at, "grant.grant.create", f"grant:{row.id}")
        assert row.id is not None
        return row.id


def revoke(engine: Engine, number: int, at: float = NOW) -> None:
    with transaction(engine) as session:
        row = session.get(GrantRow, number)
        assert row is not None
        row.revoked_at, row.in_version = int(at), None
        session.add(row)
        record_change(session, SYSTEM, at, "grant.grant.revoke", f"grant:{number}")


def token(config: PortalConfig, engine: Engine, now: float, replaces: str | None = None) -> str:
    with transaction(engine) as session:
        return enrolment.create_enrolment_token(session, SYSTEM, now, signing_key(config.data).fingerprint, replaces)


def tags(engine: Engine) -> list[str]:
    from sqlmodel import select

    with transaction(engine) as session:
        assert audit.verify(session).sound
        return list(session.exec(select(AuditEvent.tag).order_by(AuditEvent.id)))  # type: ignore[arg-type]


@dataclass
class Served:
    """A running portal."""

    app: FastAPI
    url: str
    server: uvicorn.Server
    thread: threading.Thread

    @property
    def wired(self) -> Wiring:
        found = self.app.state.deps
        assert isinstance(found, Wiring)
        return found

    def stop(self) -> None:
        self.wired.live.close()
        self.server.should_exit = True
        self.thread.join(timeout=30)
        assert not self.thread.is_alive(), "the portal did not stop"


@contextmanager
def serving(config: PortalConfig, engine: Engine, clock: Callable[[], float] = time.time) -> Iterator[Served]:
    """The portal on a real server on loopback, ready when the block begins."""
    app = create_app(config, engine, clock)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=config.port, log_level="warning", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    served = Served(app, config.url, server, thread)
    try:
        while not server.started:
            assert thread.is_alive(), "the portal did not start"
            thread.join(0.01)
        yield served
    finally:
        served.stop()


@dataclass
class FakeNode:
    """A resolver as the portal sees it: enrols, listens, fetches, answers."""

    url: str
    credential: str
    number: int
    public_key: str
    seen: list[ServerSentEvent] = field(default_factory=list)

    @classmethod
    def enrolled(cls, url: str, secret: str, name: str = "edison-1", sites: tuple[str, ...] = ()) -> FakeNode:
        answer = httpx.post(
            f"{url}/api/v1/node/enroll",
            json={"name": name, "sites": list(sites), "software": "test"},
            headers={"Authorization": f"Bearer {secret}"},
        )
        assert answer.status_code == 201, answer.text
        plain = answer.json()
        return cls(url, plain["credential"], plain["node"], plain["public_key"])

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1/node", headers={"Authorization": f"Bearer {self.credential}"}, timeout=30
        )

    def offers(self, client: httpx.Client, last: str | None = None) -> Iterator[Offer]:
        headers = {} if last is None else {"Last-Event-ID": last}
        with connect_sse(client, "GET", "/stream", headers=headers) as source:
            for event in source.iter_sse():
                if not event.data:
                    continue  # a heartbeat: once an id was seen, httpx-sse tells a comment as an event
                assert event.event == "offer"
                offer = Offer.model_validate(json.loads(event.data))
                assert event.id == str(offer.version)
                yield offer
