"""The parent of a node's processes: small, without threads, without heavy libraries, and it reads no packet.

    verifying   a child checks signature and bytes of what is kept; nobody serves what did not pass
    serving     N workers, the subscription and the log writer run; whoever dies is replaced at once
    stopping    workers drain, then the others; bounded, then killed

One loop over a selector: channels of the children, the control socket, signals. What is due by time is done in
`_tick`. A snapshot is swapped on the subscription's word (`swap.py`); the reply says whether every worker serves it.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from blocklists import names
from resolver import durable
from resolver.children import Post, Role
from resolver.clients.sockets import AsksItself, CannotListen, Listeners, refuse_ourselves
from resolver.config import ResolverConfig
from resolver.delivery import enrolment
from resolver.delivery.policy_store import PolicyStore
from resolver.processes import entries, privileges, report
from resolver.processes.allocator import map_large_blocks
from resolver.processes.control import ControlServer
from resolver.processes.entries import WorkerMain
from resolver.processes.rereading import Read, renewed
from resolver.processes.staff import Staff
from resolver.processes.swap import Swaps
from resolver.troubles import Troubles
from resolver.upstreams.routes import Routes

log = logging.getLogger("schoolgate.resolver")

TICK = 0.05  # seconds between looks while something is under way
IDLE = 1.0
STATUS_EVERY = 1.0
VERIFY_EVERY = 1.0  # at most: a verifier that fails is tried again
UNMANNED_LIMIT = 1.0  # a pair without a worker for so long is closed
STOP_LIMIT = 3.0
VERIFY_AFTER = 3  # quick deaths in a row of one worker: what it loads may be damaged


class CannotStart(Exception):
    """Why there is no node now, and what to do."""


class Phase(Enum):
    VERIFYING = "verifying"
    SERVING = "serving"
    STOPPING = "stopping"
    STOPPED = "stopped"


def run(
    config: ResolverConfig,
    worker_main: WorkerMain,
    on_ready: Callable[[dict[str, Any]], None] | None = None,
    read: Read | None = None,
) -> int:
    """Run a node until it is told to stop; return its exit status. Raises `CannotStart`.

    `worker_main` is what each worker runs (`resolver.processes.worker.run`). `on_ready` is called once with the first
    status in which every worker is ready. `read` reads the settings again, after SIGHUP.
    """
    map_large_blocks()
    try:
        state = durable.private_folder(config.state)
        identity = enrolment.read_identity(state)
        lock = privileges.take_lock(state)
        files = privileges.raise_descriptor_limit()
        listeners = Listeners(config.listen)
        refuse_ourselves(Routes(config).servers, (*listeners.endpoints, *config.dot, *config.doh))
        for number in range(config.workers):
            listeners.pair(number)
        if config.block_page is not None:
            listeners.open_page(config.block_page)
        listeners.open_secure({"dot": config.dot, "doh": config.doh}, config.workers)
        if privileges.drop(config.user, config.group, state, lock):
            listeners.closable = False  # a socket of another user could not join the ports again
        PolicyStore(state).create()
        supervisor = Supervisor(config, worker_main, listeners, identity.name, on_ready, read, files)
    except (enrolment.BadIdentity, privileges.AlreadyRunning, CannotListen, AsksItself) as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"{config.state}: {error.strerror or error}") from error
    log.info("listening on %s; %d files may be open", ", ".join(map(str, listeners.endpoints)), files)
    gc.collect()
    gc.freeze()
    try:
        return supervisor.loop()
    finally:
        listeners.close_all()
        os.close(lock)


class Supervisor:
    """The loop and its posts. Made by `run`, which has settled locks, sockets and privileges."""

    def __init__(
        self,
        config: ResolverConfig,
        worker_main: WorkerMain,
        listeners: Listeners,
        name: str,
        on_ready: Callable[[dict[str, Any]], None] | None = None,
        read: Read | None = None,
        files: int = 0,
    ) -> None:
        """`files`: how many may be open."""
        self._config = config
        self._files = files
        self._read = read
        self._worker_main = worker_main
        self._listeners = listeners
        self._name = name
        self._on_ready = on_ready
        self._phase = Phase.VERIFYING
        self._workers = [Post(Role.WORKER, number) for number in range(config.workers)]
        self._verifier = Post(Role.VERIFIER)
        self._subscription, self._log_writer = Post(Role.SUBSCRIPTION), Post(Role.LOG_WRITER)
        self._helpers = [self._subscription, *([self._log_writer] if config.query_log else [])]
        asides = {Role.METRICS: config.metrics, Role.BLOCK_PAGE: config.block_page}
        asides[Role.ENCRYPTED] = next(iter(config.dot + config.doh), None)
        self._helpers += [Post(role) for role, where in asides.items() if where is not None]
        self._verify_due = True
        self._verified = False  # at least once: workers may start
        self._restarting: list[Post] = []  # workers still to be replaced after SIGHUP
        self._restart_by = 0.0
        self._stop_by = 0.0
        self._status_at = 0.0
        self._portal = "not asked yet"
        self._reach: dict[str, Any] = {"reach": "", "reach_at": 0.0}
        self._troubles = Troubles()
        self._selector = selectors.DefaultSelector()
        self._swaps = Swaps(self._workers, self._subscription.tell)
        posts = [*self._workers, *self._helpers, self._verifier]
        self._staff = Staff(posts, self._selector, self._heed, self._ended)
        self._control: ControlServer | None = None
        try:
            self._control = ControlServer(config.state, self._selector, self._answer)
        except OSError as error:  # a full or read-only disk: the gate matters more
            self._troubles.note("control socket", f"{config.state} cannot be written: {error.strerror or error}")
        self._signals, self._wakeup = socket.socketpair()
        for end in (self._signals, self._wakeup):
            end.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signal)

    def loop(self) -> int:
        """Serve until stopped; return 0."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        try:
            while self._phase is not Phase.STOPPED:
                self._tick(time.monotonic())
                for key, _ in self._selector.select(TICK if self._busy() else IDLE):
                    key.data()
        finally:
            self._staff.close()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._control is not None:
                self._control.close()
            self._selector.close()
            for end in (self._signals, self._wakeup):
                end.close()
        log.info("stopped")
        return 0

    def _busy(self) -> bool:
        vacant = any(post.child is None for post in (*self._workers, *self._helpers))
        return bool(
            self._swaps.under_way or self._restarting or vacant or self._on_ready or self._phase is not Phase.SERVING
        )

    # Time

    def _tick(self, now: float) -> None:
        self._staff.reap(now)
        if self._control is not None:
            self._control.tick(now)
        if self._phase is Phase.STOPPING:
            self._stop_step(now)
            return
        if self._verify_due and self._verifier.child is None and now >= self._verifier.fill_at:
            self._staff.fill(self._verifier, entries.verifier(self._config))
        if self._verified:
            self._fill_posts(now)
        self._staff.check_silence(now)
        self._swaps.step(now)
        self._restart_step(now)
        if now - self._status_at >= STATUS_EVERY:
            self._status_at = now
            self._troubles.note_all("upstream ", report.troubles(self._config, self._workers))
            self._subscription.tell({"did": "status", **self._health()})
        if self._on_ready is not None and all(post.ready for post in self._workers) and self._phase is Phase.SERVING:
            ready, self._on_ready = self._on_ready, None
            privileges.notify_ready()
            ready(self.status())

    def _ended(self, post: Post, how: str, expected: bool) -> None:
        self._troubles.forget(f"query log of {post.name}")
        if post.role is Role.VERIFIER:
            post.fill_at = time.monotonic() + VERIFY_EVERY
        elif not expected:
            self._troubles.stands(post.name, f"{post.name} {how}")
        if post.role is Role.SUBSCRIPTION:
            self._swaps.forget()  # nobody waits for it; the next one asks again
        if post.role is Role.WORKER and post.quick_deaths and post.quick_deaths % VERIFY_AFTER == 0:
            self._verify_due = True

    def _fill_posts(self, now: float) -> None:
        for post in self._workers:
            if post.child is None and now >= post.fill_at:
                try:
                    pair = self._listeners.pair(post.number)
                except CannotListen as error:
                    self._troubles.stands(post.name, str(error))
                    post.fill_at = now + 1.0
                    continue
                door = self._listeners.door(post.number)
                entry = entries.worker(post.number, self._worker_main, pair, self._config, door)
                self._staff.fill(post, entry, pair.numbers() + ([] if door is None else [door.fileno()]))
            elif post.child is None and now - post.vacant_since > UNMANNED_LIMIT and self._listeners.close(post.number):
                log.warning("%s is away: its sockets are closed until it is back", post.name)
        for post in self._helpers:
            if post.child is None and now >= post.fill_at:
                keep = entries.files(post.role, self._listeners)
                self._staff.fill(post, entries.helper(post.role, self._config, self._listeners), keep)

    # What children say

    def _heed(self, post: Post, message: dict[str, Any]) -> None:
        if message.get("did") == "status":
            post.heard_at = time.monotonic()
        match post.role, message.get("do") or message.get("did"):
            case Role.WORKER, "status":
                post.serving = _serving(message)
                post.counters = {str(key): int(value) for key, value in message["counters"].items()}
                post.engine = str(message.get("engine", ""))
                post.upstreams = [(str(a), int(b), str(c)) for a, b, c in message.get("upstreams", ())]
                if post.heard_at - (post.child.started if post.child else 0) > 5:
                    self._troubles.stands(post.name, "")
            case Role.WORKER, "swapped":
                post.serving = _serving(message)
            case Role.WORKER, "flushed":
                log.info("%s flushed %s cached answers", post.name, message.get("entries"))
            case Role.WORKER, "unlogged":
                self._troubles.note(
                    f"query log of {post.name}", f"{post.name} serves without a query log: {message['reason']}"
                )
            case Role.WORKER, "refused":
                self._refused(post, str(message["reason"]))
            case Role.SUBSCRIPTION, "swap":
                back = message["back"] is True
                self._swaps.begin(int(message["version"]), str(message["digest"]), str(message["base"]), back)
            case Role.SUBSCRIPTION, "status":
                self._troubles.stands(post.name, "")
                self._portal = str(message["portal"])
                self._reach = {"reach": str(message["reach"]), "reach_at": float(message["reach_at"])}
                self._troubles.note("policy", str(message["error"]))
            case Role.METRICS | Role.BLOCK_PAGE, "status":
                self._troubles.stands(post.name, "")
            case Role.ENCRYPTED, "status":
                self._troubles.stands(post.name, "")
                self._troubles.note("certificate", str(message["error"]))
            case Role.LOG_WRITER, "status":
                self._troubles.stands(post.name, "")
                post.counters = {str(key): int(value) for key, value in message["counters"].items()}
                self._troubles.note("query log", str(message["error"]))
            case Role.VERIFIER, "verified":
                self._verify_due, self._verified = False, True
                self._phase = Phase.SERVING if self._phase is Phase.VERIFYING else self._phase
                self._troubles.note("kept snapshot", str(message["warning"]))
                self._serve_verified(_serving(message), fell_back=bool(message["warning"]))
            case Role.VERIFIER, "failed":
                self._troubles.note("kept snapshot", str(message["reason"]))
            case _:
                raise ValueError("unknown message")

    def _refused(self, post: Post, reason: str) -> None:
        """A worker could not load what is kept. Outside a swap: it may have rotted since it was verified."""
        log.warning("%s refused: %s", post.name, reason)
        if not self._swaps.under_way:
            self._troubles.stands(post.name, f"{post.name}: {reason}")
            self._verify_due = True
        else:
            self._swaps.refuse(f"{post.name}: {reason}")

    def _serve_verified(self, held: tuple[int, str] | None, *, fell_back: bool) -> None:
        """Workers without a snapshot take this one; when it is another than before, vacant posts wait no longer."""
        for post in self._workers:
            post.fill_at = 0.0 if fell_back else post.fill_at
            if held is not None and post.ready and post.serving is None:
                post.tell({"do": "swap", "version": held[0], "digest": held[1]})

    # Commands and signals

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"do": "status"}:
                return self.status()
            case {"do": "flush", "name": str(name), "subtree": bool(subtree)}:
                message = {"do": "flush", "name": names.normalise(name), "subtree": subtree}
                told = [post.tell(message) for post in self._workers]
                return {"workers": sum(told)}
            case {"do": "stop"}:
                self._stop()
                return {}
        raise ValueError("unknown command")

    def _on_signal(self) -> None:
        for number in self._signals.recv(64):
            if number in (signal.SIGTERM, signal.SIGINT):
                if self._phase is Phase.STOPPING:
                    self._stop_by = 0.0  # asked twice: no more waiting
                self._stop()
            elif number == signal.SIGHUP and self._phase is Phase.SERVING:
                if self._read is not None:
                    self._config, said = renewed(self._config, self._read, self._listeners.everywhere)
                    self._troubles.note("settings", said)
                    log.info("settings read again; workers are replaced one by one")
                self._restarting = list(self._workers)
                self._restart_by = 0.0

    def _restart_step(self, now: float) -> None:
        """After SIGHUP: one worker at a time drains and is replaced; its sockets keep the queue meanwhile."""
        if not self._restarting or self._swaps.under_way:
            return
        post = self._restarting[0]
        if self._restart_by == 0.0:
            if post.ready and all(one.ready for one in self._workers):
                post.leaving, self._restart_by = True, now + STOP_LIMIT
                post.tell({"do": "drain"})
        elif post.leaving and now > self._restart_by:
            post.kill()
        elif post.ready and not post.leaving:
            self._restarting.pop(0)
            self._restart_by = 0.0

    def _stop(self) -> None:
        if self._phase is Phase.STOPPING:
            return
        log.info("stopping")
        self._phase, self._stop_by = Phase.STOPPING, time.monotonic() + STOP_LIMIT
        for post in (one for one in self._staff.posts if one is not self._log_writer):
            post.leaving = True
            post.tell({"do": "drain"})
        self._verifier.kill()

    def _stop_step(self, now: float) -> None:
        """Workers first, so that the log writer takes their last records; then the log writer."""
        left = [post for post in self._staff.posts if post.child is not None]
        if not left:
            self._phase = Phase.STOPPED
        elif left == [self._log_writer] and not self._log_writer.leaving:
            self._log_writer.leaving = True
            self._log_writer.tell({"do": "drain"})
        elif now > self._stop_by:
            self._staff.kill_everyone()

    # What others see

    def _health(self) -> dict[str, Any]:
        return report.health(self._workers, self._listeners.everywhere, self._troubles.all())

    def status(self) -> dict[str, Any]:
        """Return what `schoolgate node status` shows: JSON values only. Counters count since the node started."""
        return {
            **self._health(),
            "node": self._name,
            "pid": os.getpid(),
            "phase": self._phase.value,
            "files": self._files,
            "portal": self._portal,
            "upstreams": report.upstreams(self._config, self._workers),
            **self._reach,
            "counters": report.counters(self._workers),
            "by_worker": report.by_worker(self._workers),
            "query_log": report.counters([self._log_writer]),
            "processes": report.processes(self._staff.posts),
        }


def _serving(message: dict[str, Any]) -> tuple[int, str] | None:
    if message["version"] is None:
        return None
    return int(message["version"]), str(message["digest"])
