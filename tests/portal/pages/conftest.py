"""The real portal, its demo district and its people, without a network: made once, copied for each test."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlmodel import Session, select

from portal.access import SYSTEM
from portal.app import prepare
from portal.config import PortalConfig
from portal.database import connect, reading, transaction
from portal.models.people import User
from portal.nodes.publication import newest_version
from portal.people import accounts
from portal.people.accounts import UserDraft
from tests.portal import databases
from tests.portal.gatehouse import Served, free_port, serving
from tests.portal.pages.gate import Browser

PEOPLE = {
    "tess": "tess.okafor@riverbend.example",  # teaches
    "rosa": "rosa.diaz@riverbend.example",  # reviews
    "ben": "ben.ode@riverbend.example",  # reviews too
    "amir": "amir.khan@riverbend.example",  # administers
    "ada": "ada.li@riverbend.example",  # audits
}

SignIn = Callable[[str], Browser]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> PortalConfig:
    """A demo portal's data folder with its first policy published."""
    data = tmp_path_factory.mktemp("pristine") / "portal"
    data.mkdir(parents=True)
    config = _config(data, databases.new(data))
    engine = prepare(config)
    with transaction(engine) as session:
        for key, name, role in (("ben", "Ben Ode", "reviewer"), ("ada", "Ada Li", "auditor")):
            accounts.create_user(session, SYSTEM, time.time(), UserDraft(PEOPLE[key], name, (role,)), "")
            _demo(session, PEOPLE[key])
    with serving(config, engine):
        while not _published(config):
            time.sleep(0.02)
    engine.dispose()
    return config


def _config(data: Path, database: str) -> PortalConfig:
    port = free_port()
    return PortalConfig(data, database, "127.0.0.1", port, f"http://127.0.0.1:{port}", ("localhost",), demo=True)


def _published(config: PortalConfig) -> bool:
    engine = connect(config.database)
    with reading(engine) as session:
        found = newest_version(session) is not None
    engine.dispose()
    return found


def _demo(session: Session, email: str) -> None:
    user = session.exec(select(User).where(User.email == email)).one()
    user.demo = True
    session.add(user)


@pytest.fixture
def config(pristine: PortalConfig, tmp_path: Path) -> Iterator[PortalConfig]:
    data = tmp_path / "portal"
    shutil.copytree(pristine.data, data)
    found = _config(data, databases.copy(pristine.database, data))
    yield found
    databases.drop(found.database)


@pytest.fixture
def portal(config: PortalConfig) -> Iterator[Served]:
    engine = connect(config.database)
    with serving(config, engine) as served:
        yield served
    engine.dispose()


@pytest.fixture
def visitor(portal: Served) -> Iterator[Callable[[], Browser]]:
    """Somebody who is not signed in."""
    with ExitStack() as clients:

        def come() -> Browser:
            client = httpx.Client(base_url=portal.url, follow_redirects=True, timeout=30)
            return Browser(clients.enter_context(client))

        yield come


@pytest.fixture
def sign_in(portal: Served, visitor: Callable[[], Browser]) -> SignIn:
    """Return the browser of one of `PEOPLE`, signed in by its button."""

    def signed(key: str) -> Browser:
        with reading(portal.wired.engine) as session:
            user = session.exec(select(User).where(User.email == PEOPLE[key])).one()
        browser = visitor()
        browser.open("/sign-in")
        browser.send("/sign-in/demo", {"account": str(user.id)})
        assert browser.page is not None and browser.page.status_code == 200
        return browser

    return signed
