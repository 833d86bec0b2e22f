"""Child processes of the supervisor: forked, never orphaned, each with a channel of its own.

A child ends when the supervisor's lifeline pipe closes and, on Linux, is killed with its parent. It keeps only the
files it is given. Signals are the supervisor's business: a Ctrl-C reaches the whole group, and children ignore it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

log = logging.getLogger("schoolgate.resolver")

MESSAGE_LIMIT = 64 * 1024  # bytes of one message
QUICK_DEATH = 1.0  # seconds: who lives shorter died at once
FREE_RETRIES = 2  # quick deaths in a row that are replaced without waiting
FIRST_WAIT = 0.1
LONGEST_WAIT = 15.0
GAUGES = frozenset({"inflight", "cache_entries", "cache_bytes", "memo_entries"})
NOT_SUMMED = GAUGES | {"log_dropped", "ring_dropped"}  # counts that the rings carry on
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


class Role(StrEnum):
    WORKER = "worker"
    SUBSCRIPTION = "subscription"
    LOG_WRITER = "log-writer"
    VERIFIER = "verifier"
    METRICS = "metrics"
    BLOCK_PAGE = "block-page"
    ENCRYPTED = "encrypted"


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and our end of its channel (AF_UNIX, SOCK_SEQPACKET)."""

    pid: int
    channel: socket.socket
    started: float  # monotonic seconds


# What a child runs: its end of the channel and the lifeline's read end, to its exit status.
Entry = Callable[[socket.socket, int], int]


@dataclass(slots=True)
class Post:
    """A place that must be filled: who fills it now, what it last said, and when it may be filled again."""

    role: Role
    number: int = 0
    child: Child | None = None
    quick_deaths: int = 0
    vacant_since: float = 0.0
    fill_at: float = 0.0
    leaving: bool = False  # told to drain: its end is no failure
    heard_at: float = 0.0  # last status, monotonic; 0 before the first
    serving: tuple[int, str] | None = None  # version and digest, for workers
    engine: str = ""  # which one a worker runs
    upstreams: list[tuple[str, int, str]] = field(default_factory=list)  # see `Engine.upstreams`
    counters: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)  # counters of those who filled this post before

    @property
    def name(self) -> str:
        return f"{self.role} {self.number}" if self.role is Role.WORKER else str(self.role)

    @property
    def lasting(self) -> bool:
        """True when the post is filled again as soon as it is vacant."""
        return self.role is not Role.VERIFIER

    @property
    def ready(self) -> bool:
        return self.child is not None and self.heard_at > 0

    def filled(self, child: Child) -> None:
        self.child, self.leaving, self.heard_at, self.serving = child, False, 0.0, None

    def vacated(self, now: float) -> float:
        """Forget the child that ended. Returns the seconds until the post may be filled again."""
        assert self.child is not None
        lived = now - self.child.started
        self.child.channel.close()
        self.child, self.serving, self.heard_at = None, None, 0.0
        for key, value in self.counters.items():
            if key not in NOT_SUMMED:
                self.gone[key] = self.gone.get(key, 0) + value
        self.counters, self.upstreams = {}, []
        self.quick_deaths = self.quick_deaths + 1 if lived < QUICK_DEATH and not self.leaving else 0
        tries = self.quick_deaths - FREE_RETRIES
        wait = min(FIRST_WAIT * 2.0 ** min(tries - 1, 20), LONGEST_WAIT) if tries > 0 else 0.0
        self.vacant_since, self.fill_at = now, now + wait
        return wait

    def total(self, counter: str) -> int:
        return self.gone.get(counter, 0) + self.counters.get(counter, 0)

    def tell(self, message: dict[str, Any]) -> bool:
        """Send without waiting. False when there is nobody, or it does not read."""
        return self.child is not None and send(self.child.channel, message)

    def kill(self) -> None:
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.pid, signal.SIGKILL)


def send(channel: socket.socket, message: dict[str, Any]) -> bool:
    """Send one message without waiting; False when the other end is gone or its queue is full."""
    try:
        channel.send(json.dumps(message, separators=(",", ":")).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """Return the next message, or None when the other end closed. Raises `BlockingIOError` when there is none yet.

    What is no JSON object is an empty message.
    """
    try:
        data = channel.recv(MESSAGE_LIMIT)
    except ConnectionError:
        return None
    if not data:
        return None
    try:
        plain = json.loads(data)
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}


def spawn(name: str, entry: Entry, lifeline: int, keep: Iterable[int] = ()) -> Child:
    """Fork a child that runs `entry` with only `keep`, its channel and the lifeline's read end open."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(name, entry, theirs, lifeline, {*keep, theirs.fileno(), lifeline}, parent)
    theirs.close()
    ours.setblocking(False)
    return Child(pid, ours, time.monotonic())


def _become(name: str, entry: Entry, channel: socket.socket, lifeline: int, keep: set[int], parent: int) -> None:
    """The child's whole life. Never returns: the supervisor's own frames below must not run twice."""
    code = 70  # EX_SOFTWARE
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        _libc.prctl(_PR_SET_NAME, f"sg-{name}".encode()[:15], 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_all_but({0, 1, 2, *keep})
        code = entry(channel, lifeline)
    except BaseException:
        log.exception("%s failed", name)
    finally:
        with contextlib.suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _close_all_but(keep: set[int]) -> None:
    """Close what was inherited: a listening socket left open here would draw queries that nobody reads."""
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number not in keep:
            with contextlib.suppress(OSError):
                os.close(number)
