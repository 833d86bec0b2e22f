"""The short form of the kill loop; `make kill-loop` runs the full one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows import kill_loop


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_random_kills_lose_nothing_and_open_nothing(tmp_path: Path) -> None:
    tally = kill_loop.run(kills=10, seed=4414, folder=tmp_path)
    assert sum(tally.kills.values()) >= 8
    assert tally.probes > tally.unanswered
