"""The thread beside the pages: what it does for them without being asked."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from tests.portal.gatehouse import config_in, founded, free_port, serving
from tests.resolver.fake_portal import until


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_passes_over_a_snapshot_and_still_finds_garbage_in_idle_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.unfreeze()
    config = config_in(tmp_path, free_port())
    engine = founded(config)
    gc.disable()
    try:
        with serving(config, engine):
            ring = weakref.ref(Ring())
            assert ring() is not None
            until(lambda: gc.get_freeze_count() > 0, what="the first snapshot")
            monkeypatch.setattr("portal.upkeep.jobs.SWEEP", 0.0)
            until(lambda: ring() is None, what="an idle moment")
    finally:
        gc.enable()
        gc.unfreeze()
    engine.dispose()
