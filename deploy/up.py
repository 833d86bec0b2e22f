"""`schoolgate up`: portal and resolver on one machine, enrolled with each other.

A small process that starts two others, watches them, starts one again when it dies, and ends them in order. It
imports neither web framework nor database, so that a second start is quick. Children run in sessions of their own
(Ctrl-C reaches only us) and end when we die (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

READY_WITHIN = 120.0  # seconds: the first start compiles the seed lists and makes the database
STOP_WITHIN = 8.0
QUICK_DEATH = 3.0  # a child that lived for less than so long is in trouble of its own
LONGEST_PAUSE = 10.0
_PR_SET_PDEATHSIG = 1


class StartFailed(RuntimeError):
    """A child ended before it was ready. The message is its own last words."""


@dataclass(slots=True)
class Child:
    """One child process: how to start it, and how often it had to be."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    quick_deaths: int = 0
    env: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, writing to its log; where that is read-only, to our own standard error. Raises `OSError`."""
        self.started_at = time.monotonic()
        with self._opened() as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                env={**os.environ, **self.env},
            )

    def _opened(self) -> BinaryIO:
        try:
            return self.log.open("ab")
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return os.fdopen(os.dup(2), "wb")

    def code(self) -> int | None:
        """Return the exit status, None while it runs."""
        return None if self.process is None else self.process.poll()

    def last_words(self) -> str:
        """Return the end of its log, for a person."""
        try:
            return self.log.read_text("utf-8", "replace")[-2000:].strip()
        except OSError:
            return ""


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def self_command(*words: str) -> list[str]:
    """Return the command line that runs another `schoolgate` command with this Python."""
    return [sys.executable, "-m", "deploy.cli", *words]


def wait_until(ready: Callable[[], bool], child: Child, within: float = READY_WITHIN) -> None:
    """Return when `ready()`; raise `StartFailed` when the child ends first or time runs out."""
    deadline = time.monotonic() + within
    while not ready():
        if child.code() is not None:
            raise StartFailed(f"The {child.name} did not start:\n{child.last_words()}")
        if time.monotonic() > deadline:
            raise StartFailed(f"The {child.name} was not ready within {within:.0f} s; see {child.log}")
        time.sleep(0.02)


class Stopped(Exception):
    """Somebody asked us to end."""


def watch(children: list[Child], say: Callable[[str], None]) -> None:
    """Keep the children running until SIGINT or SIGTERM; return by `Stopped` then. A child that died is started again:
    at once, or after a growing pause when it dies again and again. One child's pause does not hold up another."""
    due: dict[str, float] = {}  # child -> when it is started again
    while True:
        time.sleep(0.1)
        now = time.monotonic()
        for child in children:
            code = child.code()
            if code is None:
                continue
            if child.name not in due:
                child.quick_deaths = child.quick_deaths + 1 if now - child.started_at < QUICK_DEATH else 0
                pause = min(LONGEST_PAUSE, 0.25 * 2**child.quick_deaths) if child.quick_deaths else 0.0
                due[child.name] = now + pause
                say(f"The {child.name} ended (status {code}) and is started again. Its log: {child.log}")
            if now >= due[child.name]:
                try:
                    child.start()
                except OSError as error:  # no memory, no log: no reason to end the other one
                    due[child.name] = now + LONGEST_PAUSE
                    say(f"The {child.name} cannot be started, and is tried again: {error}")
                else:
                    del due[child.name]


def stop(children: list[Child]) -> None:
    """End the children in this order, each bounded in time."""
    for child in children:
        if child.process is None or child.process.poll() is not None:
            continue
        child.process.terminate()
        try:
            child.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


def raise_on_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into `Stopped`."""

    def handler(number: int, frame: object) -> None:
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
