from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.portal import frontdesk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[frontdesk.Desk]:
    found = frontdesk.opened(tmp_path)
    yield found
    found.engine.dispose()
