from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from portal.database import connect
from tests.portal import frontdesk


@pytest.fixture(scope="session")
def pristine_desk(tmp_path_factory: pytest.TempPathFactory) -> frontdesk.Desk:
    """The demo district, made once; tests get copies of its file."""
    found = frontdesk.opened(tmp_path_factory.mktemp("pristine"))
    found.engine.dispose()
    return found


@pytest.fixture
def desk(pristine_desk: frontdesk.Desk, tmp_path: Path) -> Iterator[frontdesk.Desk]:
    file = tmp_path / "portal.sqlite"
    shutil.copyfile(pristine_desk.folder / file.name, file)
    found = replace(pristine_desk, folder=tmp_path, engine=connect(f"sqlite:///{file}"))
    yield found
    found.engine.dispose()
