"""The process that starts the others: who dies is started again, a pause of one holds up no other, all end in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from deploy.commands.up import _only_copy
from deploy.up import Child, StartFailed, Stopped, stop, wait_until, watch
from tests.flows.district import until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
FAIL = [sys.executable, "-c", "raise SystemExit('no such thing as a port 99999')"]


class _End(Stopped):
    pass


def _watched(children: list[Child], said: list[str]) -> tuple[threading.Thread, threading.Event]:
    """Run `watch` in a thread; it ends by `Stopped` at the first word after the event is set."""
    ending = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if ending.is_set():
            raise _End

    def run() -> None:
        with contextlib.suppress(Stopped):
            watch(children, say)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ending


def test_a_killed_child_is_started_again_while_another_that_cannot_start_pauses(tmp_path: Path) -> None:
    good, bad = Child("good", SLEEP, tmp_path / "good.log"), Child("bad", FAIL, tmp_path / "bad.log")
    for child in (bad, good):
        child.start()
    said: list[str] = []
    thread, ending = _watched([bad, good], said)
    try:
        until(lambda: bad.quick_deaths >= 3, what="three quick deaths")
        assert good.process is not None
        first = good.process.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: good.process is not None and good.process.pid != first and good.code() is None, what="the start")
        assert any("The good ended (status -9)" in text for text in said)
    finally:
        ending.set()
        thread.join(60)
        stop([good, bad])
    assert not thread.is_alive()


def test_a_child_that_cannot_even_be_forked_does_not_end_the_other(tmp_path: Path) -> None:
    good, bad = Child("good", SLEEP, tmp_path / "good.log"), Child("bad", SLEEP, tmp_path / "bad.log")
    for child in (good, bad):
        child.start()
    assert good.process is not None and bad.process is not None
    before = good.process
    bad.log = tmp_path / "gone" / "bad.log"  # as on a disk that became read-only
    said: list[str] = []
    thread, ending = _watched([bad, good], said)
    try:
        bad.process.kill()
        until(lambda: any("bad cannot be started" in text for text in said), what="the failed start")
        before.kill()
        until(lambda: good.process is not before and good.code() is None, what="the start of the other")
    finally:
        ending.set()
        if good.process is not None:
            good.process.kill()
        thread.join(10)
        stop([good, bad])


def test_a_child_that_ends_before_it_is_ready_says_its_last_words(tmp_path: Path) -> None:
    child = Child("portal", FAIL, tmp_path / "portal.log")
    child.start()
    with pytest.raises(StartFailed, match="no such thing as a port 99999"):
        wait_until(lambda: False, child)


def test_a_child_that_ignores_the_polite_word_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.up.STOP_WITHIN", 0.3)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    child = Child("resolver", [sys.executable, "-c", deaf], tmp_path / "log")
    child.start()
    until(lambda: "deaf" in child.last_words(), what="the child")
    stop([child])
    assert child.code() == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_folder_of_an_enrolled_node_is_run_on_and_its_children_write_to_our_own_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, new = tmp_path / "data", tmp_path / "new"
    for folder in (data, new):
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True).returncode != 0:
            pytest.skip("this container may not mount")
    try:
        with _only_copy(data) as writable:
            assert writable
        (data / "node").mkdir()
        (data / "node" / "identity.json").write_text("{}")
        for folder in (data, new):
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        child = Child("teller", [sys.executable, "-c", "raise SystemExit('what is wrong')"], data / "teller.log")
        with _only_copy(data) as writable:
            assert not writable
            with pytest.raises(click.ClickException, match="already runs"), _only_copy(data):
                pass
            child.start()
            until(lambda: child.code() is not None, what="its end")
        assert "what is wrong" in capfd.readouterr().err
        with pytest.raises(click.ClickException, match="Read-only"), _only_copy(new):
            pass
    finally:
        for folder in (data, new):
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
