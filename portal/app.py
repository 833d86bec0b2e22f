"""The portal as an ASGI application: put together here, from a config, with no module globals.

    Guard            Host, size, security headers, HEAD          (outermost: nothing is looked at before it)
    Proxies          the visitor's own address, when a configured proxy says it
    error handlers   problem+json for programs, pages for people
    /api/v1          routers of `portal.api`
    /                pages, /static

`prepare` makes a data folder ready; `create_app` takes it as it is. The lifespan starts and stops the background
thread, and ends the open streams.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from portal import migrations, pages
from portal.api import (
    answers,
    blocks,
    changes,
    district,
    docs,
    exceptions,
    explain,
    grants,
    health,
    levers,
    lists,
    metrics,
    node,
    nodes,
    people,
    platforms,
    policy,
    requests,
)
from portal.config import PortalConfig
from portal.database import after_commit, connect, reading, transaction
from portal.lists import builds, sources
from portal.lists.bases import Bases, current_base, ensure_base, shipped_seed
from portal.lists.listjob import ListJob
from portal.models.alerts import AlertKind
from portal.nodes import delivery, reports, succession
from portal.nodes.keys import Keyring, signing_key
from portal.nodes.live import DELIVERY, Event, Live
from portal.nodes.parcels import Parcels
from portal.nodes.publication import Publisher
from portal.nodes.receipts import Receipts, Refusals, Waiting
from portal.notices import Listener
from portal.oidc.addresses import is_loopback
from portal.oidc.fetching import Fetcher
from portal.oidc.provider import Provider
from portal.pages import failures, frame
from portal.people.passwords import Passwords
from portal.people.sessions import Throttle
from portal.sealing import Sealer, sealing_key
from portal.upkeep import demo, mail
from portal.upkeep.alertjob import AlertJob
from portal.upkeep.jobs import Jobs
from portal.verdicts.current import Current
from portal.verdicts.explain import LookUp, SnapshotCatalogue, no_look_up
from portal.verdicts.why import Pace
from portal.web import problems
from portal.web.proxies import Proxies
from portal.web.security import Guard, host_of
from portal.wiring import Wiring

API = "/api/v1"


def prepare(config: PortalConfig, clock: Callable[[], float] = time.time) -> Engine:
    """Make the data folder ready: database and tables, the district (or the demo one), the signing key, a base.

    Safe to run at every start. The caller holds `sole_portal` over it and the serving. Raises `BadKey`, `BadMail`,
    `BadSeed`, `OSError`, and the database's own errors: a start that fails says so, it does not go on without.
    """
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing_key(config.data)
    if config.mail is not None:
        mail.check(config.mail)
    engine = connect(config.database)
    migrations.upgrade(engine)
    now = clock()
    with transaction(engine) as session:
        first = demo.seed if config.demo else demo.first_run
        first(session, now, config.url)
        before = current_base(session)
        base = ensure_base(config, session, int(now))
        if before is not None and before.digest != base.digest and sources.wanted(session, now):
            builds.ask(session, now, "the base of this start is the shipped lists' alone")
    return engine


def create_app(
    config: PortalConfig, engine: Engine, clock: Callable[[], float] = time.time, look_up: LookUp = no_look_up
) -> FastAPI:
    """Return the portal over an engine that `prepare` made ready. `clock`: seconds since 1970. `look_up`: what upstream
    says, for `explain`."""
    keys = Keyring(config.data)
    with reading(engine) as session:
        keys.follow(succession.newest_key(session))
    live = Live()
    bases = Bases(config.data, engine)
    current = Current(bases)
    jobs = Jobs(engine, Publisher(engine, keys, bases, shipped_seed(), live.nodes), live, current, clock)
    lists_job = ListJob(
        engine,
        bases,
        config.data / "lists",
        shipped_seed(),
        clock,
        jobs.wake,
        lambda: live.publish(Event(DELIVERY)),
        private=config.private_lists,
    )
    notices = Listener(engine, jobs.hear)

    def own() -> dict[AlertKind, str]:
        found = {AlertKind.PUBLISHING: jobs.trouble, AlertKind.LISTS: lists_job.trouble}
        return {kind: trouble for kind, trouble in found.items() if trouble is not None}

    alert_job = AlertJob(engine, config, clock, own, lambda: live.publish(Event(DELIVERY)))

    def policy_body(digest: str) -> bytes | None:
        with reading(engine) as session:
            return delivery.policy_body(session, digest)

    def write_acks(waiting: Sequence[Waiting]) -> Refusals:
        with transaction(engine) as session:
            after_commit(session, lambda: live.publish(Event(DELIVERY)))
            now_ms = int(clock() * 1000)
            return [reports.ack(session, node, message, now_ms) for node, message in waiting]

    deps = Wiring(
        engine=engine,
        config=config,
        clock=clock,
        passwords=Passwords(),
        throttle=Throttle(),
        catalogue=SnapshotCatalogue(current),
        wake=jobs.wake,
        keys=keys,
        sealer=Sealer(sealing_key(config.data)),
        codes=Throttle(max_wait=4 * 3600, window=86_400),
        bases=bases,
        live=live,
        current=current,
        jobs=jobs,
        list_job=lists_job,
        alert_job=alert_job,
        pace=Pace(),
        parcels=Parcels(policy_body),
        receipts=Receipts(write_acks),
        arrivals=Pace(most=300),
        provider=None if config.oidc is None else Provider(config.oidc, Fetcher(is_loopback(config.oidc.issuer))),
        look_up=look_up,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        notices.start()
        lists_job.start()
        alert_job.start()
        yield
        live.close()
        await run_in_threadpool(alert_job.stop)
        await run_in_threadpool(lists_job.stop)
        await run_in_threadpool(notices.stop)
        await run_in_threadpool(jobs.stop)

    app = FastAPI(
        title="Schoolgate",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere; `api.docs` is ours
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.deps = deps
    app.add_middleware(Proxies, networks=config.proxies)
    app.add_middleware(Guard, hosts=answered_hosts(config), https=config.secure_cookies)
    for router in _api():
        app.include_router(router, prefix=API)
    app.include_router(docs.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(pages.router)
    app.mount("/static", _Static(directory=frame.STATIC))
    problems.install(app, failures.page)
    return app


def answered_hosts(config: PortalConfig) -> frozenset[str]:
    """Return the Host names that this portal answers for: its own address, and those in the settings."""
    own = urlsplit(config.url).netloc.rpartition("@")[2]
    return frozenset(host_of(host) for host in (own, *config.hosts) if host)


class _Static(StaticFiles):
    """Pages name a file with a digest of its content (`?v=`), so a browser may keep what it got for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        named = scope.get("query_string", b"").startswith(b"v=")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if named else "no-cache"
        return response


def _api() -> tuple[APIRouter, ...]:
    return (
        node.router,
        nodes.router,
        requests.router,
        grants.router,
        explain.router,
        policy.router,
        lists.router,
        district.router,
        answers.router,
        levers.router,
        blocks.router,
        changes.router,
        exceptions.router,
        people.router,
        platforms.router,
    )
