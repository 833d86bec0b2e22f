"""`schoolgate node status`: what it prints of a live node, and that its exit status tells a healthy one from a sick."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from resolver.processes.control import ControlServer

REACH = "version 7 in force on 7 of 8 resolvers; waiting for Edison Middle, last seen 3 min ago"
WELL: dict[str, Any] = {
    "node": "edison-1",
    "pid": 1,
    "phase": "serving",
    "listening": ["127.0.0.1:53"],
    "version": 7,
    "portal": "connected",
    "files": 1024,
    "reach": REACH,
    "workers": 2,
    "workers_ready": 2,
    "last_error": "",
    "upstreams": [],
    "processes": [],
    "counters": {},
    "query_log": {},
}


@contextmanager
def node(state: Path, status: dict[str, Any]) -> Iterator[None]:
    """The control socket of a node that answers `status`."""
    state.mkdir()
    selector, over = selectors.DefaultSelector(), threading.Event()
    server = ControlServer(state, selector, lambda _: status)

    def serve() -> None:
        while not over.is_set():
            for key, _ in selector.select(0.05):
                key.data()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        server.close()
        selector.close()


def asked(folder: Path, **changes: Any) -> Result:
    with node(folder / "node", WELL | changes):
        return CliRunner().invoke(main, ["node", "status", "--data", str(folder)])


def test_it_says_how_far_the_newest_version_has_come(tmp_path: Path) -> None:
    found = asked(tmp_path, reach_at=time.time())
    assert found.exit_code == 0, found.output
    assert REACH in found.output.splitlines()


@pytest.mark.parametrize(("age", "words"), [(200, "3 min"), (3 * 3600 + 9, "3 h"), (30 * 86_400 + 9, "30 d")])
def test_what_an_unreachable_portal_said_is_told_with_its_age(tmp_path: Path, age: int, words: str) -> None:
    found = asked(tmp_path, reach_at=time.time() - age, portal="not reachable")
    assert f"{REACH} (as the portal said {words} ago)" in found.output.splitlines()


def test_trouble_is_an_exit_status(tmp_path: Path) -> None:
    found = asked(tmp_path, reach="", reach_at=0.0, last_error="the state folder cannot keep it")
    assert found.exit_code == 1
    assert "the state folder cannot keep it" in found.output
