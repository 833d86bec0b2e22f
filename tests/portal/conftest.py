from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from portal.config import PortalConfig
from portal.database import connect
from tests.portal import databases, frontdesk, gatehouse


@pytest.fixture(scope="session")
def pristine_desk(tmp_path_factory: pytest.TempPathFactory) -> frontdesk.Desk:
    """The demo district, made once; tests get copies of its file."""
    found = frontdesk.opened(tmp_path_factory.mktemp("pristine"))
    found.engine.dispose()
    return found


@pytest.fixture
def desk(pristine_desk: frontdesk.Desk, tmp_path: Path) -> Iterator[frontdesk.Desk]:
    url = databases.copy(address(pristine_desk.engine), tmp_path)
    found = replace(pristine_desk, folder=tmp_path, engine=connect(url))
    yield found
    found.engine.dispose()
    databases.drop(url)


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[PortalConfig]:
    """Of a portal on a database of its own, which `engine` founds."""
    found = gatehouse.config_in(tmp_path / "first", gatehouse.free_port())
    yield found
    databases.drop(found.database)


@pytest.fixture
def engine(config: PortalConfig) -> Iterator[Engine]:
    made = gatehouse.founded(config)
    yield made
    made.dispose()
