"""Several portals over one PostgreSQL: each follows the others' decisions, one of them publishes, none is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from blocklists.base import ListKind
from blocklists.compile import Source, compile_base
from blocklists.seed import load_seed
from portal.access import SYSTEM
from portal.app import prepare
from portal.config import PortalConfig
from portal.database import connect, reading, sole_pass, transaction
from portal.lists.bases import Bases, adopt_base, require_base
from portal.models.delivery import PolicyVersion
from portal.nodes import enrolment
from portal.nodes.keys import Keyring
from portal.nodes.publication import Publisher
from tests.portal import databases
from tests.portal.gatehouse import NOW, FakeNode, free_port, grant, serving, tags, token

pytestmark = pytest.mark.skipif(not databases.POSTGRESQL, reason="is about PostgreSQL")


def elsewhere(config: PortalConfig) -> PortalConfig:
    """The same portal on another address."""
    port = free_port()
    return replace(config, port=port, url=f"http://127.0.0.1:{port}")


def test_what_one_portal_decides_is_offered_by_the_other(config: PortalConfig, engine: Engine) -> None:
    other = elsewhere(config)
    second = connect(other.database)
    with serving(config, engine) as here, serving(other, second) as there:
        node = FakeNode.enrolled(there.url, token(config, engine, time.time()))
        with node.client() as client:
            offers = node.offers(client)
            first = next(offers)
            grant(engine, at=time.time())
            here.wired.wake()
            newer = next(offers)
            assert newer.version > first.version
            sent = client.post("/acks", json={"version": newer.version, "digest": newer.digest})
            assert sent.status_code == 204
    assert tags(engine).count("policy.version.publish") == newer.version
    second.dispose()


def test_a_node_that_one_portal_retires_is_cut_off_by_the_other(config: PortalConfig, engine: Engine) -> None:
    other = elsewhere(config)
    second = connect(other.database)
    with serving(config, engine), serving(other, second) as there:
        node = FakeNode.enrolled(there.url, token(config, engine, time.time()))
        with node.client() as client:
            offers = node.offers(client)
            next(offers)
            with transaction(engine) as session:
                enrolment.retire(session, SYSTEM, time.time(), node.number, "replaced")
            assert list(offers) == []
            assert client.get("/stream").status_code == 401
    second.dispose()


def test_many_publishers_make_one_gapless_sequence(config: PortalConfig, engine: Engine) -> None:
    engines = [connect(config.database) for _ in range(4)]
    failures: list[BaseException] = []

    def publish(mine: Engine, number: int) -> None:
        publisher = Publisher(mine, Keyring(config.data), Bases(config.data), load_seed())
        try:
            for turn in range(5):
                grant(mine, f"site{number}-{turn}.example", at=time.time())
                publisher.publish_pending(time.time)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(one, number)) for number, one in enumerate(engines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    Publisher(engine, Keyring(config.data), Bases(config.data), load_seed()).publish_pending(time.time)
    assert failures == []
    with reading(engine) as session:
        versions = list(session.exec(select(PolicyVersion.version).order_by(PolicyVersion.version)))  # type: ignore[arg-type]
        waiting = Publisher(engine, Keyring(config.data), Bases(config.data), load_seed())
    assert versions == list(range(1, len(versions) + 1))
    assert waiting.publish_pending(time.time) is None
    for one in engines:
        one.dispose()


def test_a_portal_on_another_machine_has_the_base_from_the_database(
    config: PortalConfig, engine: Engine, tmp_path: Path
) -> None:
    with reading(engine) as session:
        digest = require_base(session).digest
    far = Bases(tmp_path / "far", engine)
    assert far.open(digest).digest == digest
    assert far.file(digest).read_bytes() == Bases(config.data).path(digest).read_bytes()
    assert not far.file("0" * 64).exists()


def test_a_portal_that_starts_on_another_machine_keeps_the_base_that_the_lists_made(
    config: PortalConfig, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "lists.base"
    path.write_bytes(compile_base([Source("big", "Big", "messaging", ListKind.LIST, ["host.example"])]))
    with transaction(engine) as session:
        adopted = adopt_base(config, session, path, NOW).digest
    prepare(replace(config, data=tmp_path / "another machine")).dispose()
    with reading(engine) as session:
        assert require_base(session).digest == adopted


def test_only_one_builds_at_a_time_and_a_dead_one_holds_nobody_up(config: PortalConfig, engine: Engine) -> None:
    other = connect(config.database)
    with sole_pass(engine, 1) as mine, sole_pass(other, 1) as theirs, sole_pass(other, 2) as another:
        assert (mine, theirs, another) == (True, False, True)
    with sole_pass(other, 1) as mine:
        assert mine
    other.dispose()


def test_a_portal_that_is_killed_leaves_the_others_to_go_on(config: PortalConfig, engine: Engine) -> None:
    other = elsewhere(config)
    program = (
        "import sys, uvicorn; from pathlib import Path; from portal.app import create_app;"
        "from portal.database import connect; from tests.portal.gatehouse import config_in;"
        "config = config_in(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]);"
        "uvicorn.run(create_app(config, connect(config.database)), port=config.port, log_level='warning')"
    )
    command = [sys.executable, "-c", program, str(config.data.parent), str(other.port), config.database]
    with serving(config, engine) as here, subprocess.Popen(command, cwd=Path(__file__).parents[2]) as there:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{other.url}/healthz")
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        node = FakeNode.enrolled(other.url, token(config, engine, time.time()))
        with node.client() as client:
            next(node.offers(client))
            os.kill(there.pid, signal.SIGKILL)
        grant(engine, at=time.time())
        here.wired.wake()
        node.url = config.url
        with node.client() as client:
            offers = node.offers(client)
            while next(offers).version < 2:
                pass
