"""The short form of the kill loop; `make kills` runs the full one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows import kill_loop


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_random_kills_lose_nothing_and_open_nothing(tmp_path: Path) -> None:
    tally = kill_loop.run(kills=10, seed=4414, folder=tmp_path)  # raises upon whatever was lost, doubled or wrong
    assert sum(tally.kills.values()) == 10
    assert tally.probes > tally.unanswered
    assert tally.lists and set(tally.logs) == {"near", "far"}
