"""One worker process: sockets on one side, the engine on the other, a control channel to the supervisor.

The loop: wait -> take datagrams -> `engine.step` -> send replies; arrivals from upstream -> `engine.upstream`; then
time-outs. One thread, no lock. Cyclic garbage collection is off during work and run on idle ticks. When the
supervisor's lifeline closes, the worker exits.

Control messages are JSON, one per SEQPACKET datagram. In: `{"do":"swap","version","digest"}`,
`{"do":"flush","name","subtree"}`, `{"do":"drain"}`. Out: `{"did":"swapped","version","digest"}`,
`{"did":"refused","reason"}`, `{"did":"flushed","entries"}`, and every second
`{"did":"status","version","digest","engine","counters","upstreams"}`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from blocklists import names
from blocklists.snapshot import Snapshot
from resolver.clients.door import TRANSPORTS, End, sorted_out
from resolver.clients.listeners import Connection, TcpListener, UdpListener
from resolver.config import ResolverConfig
from resolver.engine.askers import within
from resolver.engine.plain import Engine
from resolver.engine.seam import Datagram, Output, Source
from resolver.log.querylog import Ring, ring_path
from resolver.poller import READ, WRITE, Poller
from resolver.upstreams.routes import Routes
from resolver.upstreams.upstream import Upstreams

RING_BYTES = 8 * 1024 * 1024
TICK = 1.0  # seconds between two status messages
COLLECT_EVERY = 60.0  # seconds between two collections of cyclic garbage, both on idle ticks
DRAIN = 2.0  # seconds that a draining worker gives to what is in flight
MAX_CONTROL = 65_536
MAX_UPSTREAMS = 64  # whose state is told


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker is born with. `load` opens the current verified snapshot from the state folder; it gets the one
    that is served now, so that a base with the same digest is not mapped twice, and returns None when there is none."""

    number: int
    udp: list[socket.socket]
    tcp: list[socket.socket]
    control: socket.socket  # SOCK_SEQPACKET pair to the supervisor
    lifeline: int  # a pipe's reading end
    config: ResolverConfig
    load: Callable[[Snapshot | None], Snapshot | None]
    door: socket.socket | None = None  # SOCK_SEQPACKET pair to the process that holds TLS


def run(setup: WorkerSetup) -> int:
    """Serve until drained or orphaned; return the exit status."""
    return _Worker(setup).run()


class _Worker:
    def __init__(self, setup: WorkerSetup) -> None:
        config = setup.config
        self._setup = setup
        self._poller = Poller()
        self._engine = Engine(config)
        patience = config.upstream_timeout * config.upstream_tries + 1.0
        self._upstreams = Upstreams(
            Routes(config).servers, self._poller, patience, config.upstream_ca, self._engine.trouble
        )
        self._ring = Ring.create(ring_path(config.state, setup.number), RING_BYTES) if config.query_log else None
        self._trusted = within(config.proxy_from) if config.proxy_from else None
        self._udp: dict[Source, UdpListener] = {}
        self._tcp: list[TcpListener] = []
        self._running = True
        self._collected = 0.0
        self._draining_until: float | None = None
        self._controls: list[dict[str, Any]] = []

    def run(self) -> int:
        setup = self._setup
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        snapshot = self._load()
        if snapshot is not None:
            self._engine.install(snapshot)
        setup.control.setblocking(False)
        self._poller.watch(setup.control.fileno(), READ, self._control)
        self._poller.watch(setup.lifeline, READ, self._orphaned)
        for bound in setup.udp:
            self._listen_udp(bound)
        for bound in setup.tcp:
            self._listen_tcp(bound)
        if setup.door is not None:
            self._listen_door(setup.door)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._say_status()
        try:
            self._loop()
            self._say_status()  # the last counts
        finally:
            self._close()
        return 0

    def _load(self) -> Snapshot | None:
        """The snapshot to start with. A worker without one still answers: SERVFAIL, not ready."""
        try:
            return self._setup.load(None)
        except (OSError, ValueError) as error:
            self._say({"did": "refused", "reason": f"{type(error).__name__}: {error}"})
            return None

    def _listen_udp(self, bound: socket.socket) -> None:
        listener = UdpListener(bound, self._trusted)
        source = self._engine.source(listener.asked)
        self._udp[source] = listener
        step = self._engine.step
        clock = time.time

        def readable(mask: int) -> None:
            output = step(listener.take(), clock(), source)
            listener.send(output.replies)
            self._carry_out(output)

        self._poller.watch(bound.fileno(), READ, readable)

    def _listen_tcp(self, bound: socket.socket) -> None:
        config = self._setup.config
        step = self._engine.step
        counters = self._engine.counters

        def ask(connection: Connection, messages: list[Datagram]) -> None:
            dropped = counters.dropped
            output = step(messages, time.time(), source)
            if counters.dropped != dropped:  # what nobody answers over UDP has no place on a connection either
                connection.close()
            connection.replies(output.replies)
            self._carry_out(output)

        listener = TcpListener(
            bound,
            self._poller.crowd,
            ask,
            time.time,
            limit=config.tcp_connections,
            per_client=config.tcp_per_client,
            idle=config.tcp_idle,
            trusted=self._trusted,
        )
        source = self._engine.source(listener.asked, "tcp")
        self._tcp.append(listener)
        self._poller.crowd.watch(bound.fileno(), READ, listener.accept)

    def _listen_door(self, door: socket.socket) -> None:
        """Questions that came encrypted."""
        poller, step = self._poller, self._engine.step
        sources = {transport: self._engine.source(None, transport) for transport in TRANSPORTS}

        def watch(on: bool) -> None:
            with contextlib.suppress(OSError):  # draining: the next worker finds what is left
                poller.change(door.fileno(), READ | WRITE if on else READ)

        end = End(door, watch)

        def ready(mask: int) -> None:
            if mask & WRITE:
                end.flush()
            messages = end.take()
            if messages is None:
                poller.unwatch(door.fileno())
                return
            for transport, batch in sorted_out(messages, end).items():
                output = step(batch, time.time(), sources[transport])
                for data, peer in output.replies:
                    peer[2].reply(data)
                self._carry_out(output)

        poller.watch(door.fileno(), READ, ready)

    def _carry_out(self, output: Output) -> None:
        """Everything that a step wants done, but the replies to its own batch."""
        if output.log and self._ring is not None:
            self._ring.append(output.log)
        if output.sends:
            self._upstreams.send(output.sends, time.time())
        for source, data, peer in output.late:
            listener = self._udp.get(source)
            if listener is not None:
                listener.send([(data, peer)])
            else:
                peer[2].reply(data)

    def _loop(self) -> None:
        engine, upstreams, poller = self._engine, self._upstreams, self._poller
        next_tick = time.time() + TICK
        while self._running:
            now = time.time()
            wait = min(max(next_tick - now, 0.0), TICK)
            deadline = engine.next_deadline()
            if deadline is not None:
                wait = min(wait, max(deadline - now, 0.0) + 0.001)
            events = poller.wait(wait)
            now = time.time()
            if upstreams.arrivals:
                self._carry_out(engine.upstream(upstreams.take(), now))
            if upstreams.failed:
                self._carry_out(engine.unreachable(upstreams.take_failed(), now))
            if deadline is not None and deadline <= now:
                self._carry_out(engine.tick(now))
            if self._controls:
                self._obey()
            if not 0 < next_tick - now <= TICK:  # due, or the clock was set back
                next_tick = now + TICK
                self._tick(now, idle=events == 0)
            if self._draining_until is not None:
                self._end_when_drained(now)

    def _tick(self, now: float, *, idle: bool) -> None:
        self._carry_out(self._engine.tick(now))
        self._upstreams.sweep(time.time())  # what was just sent is no older than this
        for listener in self._tcp:
            listener.sweep(now)
        self._say_status()
        if idle and not 0 <= now - self._collected < COLLECT_EVERY:
            self._collected = now
            gc.collect()
            gc.freeze()  # what survived is not looked at again; reference counts free it all the same

    def _drain(self) -> None:
        if self._draining_until is None:
            self._draining_until = time.monotonic() + DRAIN
            doors = () if self._setup.door is None else (self._setup.door,)
            for bound in (*self._setup.udp, *doors):
                self._poller.unwatch(bound.fileno())
            for bound in self._setup.tcp:
                self._poller.crowd.unwatch(bound.fileno())

    def _end_when_drained(self, now: float) -> None:
        assert self._draining_until is not None
        if not self._engine.counters.inflight or time.monotonic() >= self._draining_until:
            self._running = False

    def _orphaned(self, mask: int) -> None:
        self._running = False

    def _control(self, mask: int) -> None:
        """Take one control message; it is obeyed between two rounds, never in the middle of one."""
        try:
            data = self._setup.control.recv(MAX_CONTROL)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # the supervisor's end is gone; the lifeline will say so too
            self._poller.unwatch(self._setup.control.fileno())
            self._running = False
            return
        try:
            message = json.loads(data)
        except ValueError:
            message = None
        if isinstance(message, dict):
            self._controls.append(message)
        else:
            self._say({"did": "refused", "reason": "a control message is one JSON object"})

    def _obey(self) -> None:
        controls, self._controls = self._controls, []
        for message in controls:
            match message.get("do"):
                case "swap":
                    self._swap(message)
                case "flush":
                    self._flush(message)
                case "drain":
                    self._drain()
                case other:
                    self._say({"did": "refused", "reason": f"no such command: {other!r}"})

    def _swap(self, message: dict[str, Any]) -> None:
        """Open what the supervisor has persisted and serve by it; on any trouble keep what is served."""
        current = self._engine.snapshot
        try:
            snapshot = self._setup.load(current)
            if snapshot is None:
                raise ValueError("there is no snapshot in the state folder")
            wanted = message.get("digest")
            if wanted is not None and snapshot.digest != wanted:
                raise ValueError(f"the state folder holds {snapshot.digest[:16]}…, not {str(wanted)[:16]}…")
            if current is not None and snapshot.version < current.version:
                raise ValueError(f"version {snapshot.version} is older than {current.version}, which is served")
            if current is None or snapshot.digest != current.digest:
                self._engine.install(snapshot)
        except (OSError, ValueError) as error:
            self._say({"did": "refused", "reason": f"{type(error).__name__}: {error}"})
            return
        self._say({"did": "swapped", "version": snapshot.version, "digest": snapshot.digest})

    def _flush(self, message: dict[str, Any]) -> None:
        try:
            name = names.to_wire(names.normalise(str(message.get("name", ""))))
        except names.BadName as error:
            self._say({"did": "refused", "reason": str(error)})
            return
        entries = self._engine.flush(name, bool(message.get("subtree")))
        self._say({"did": "flushed", "entries": entries})

    def _say_status(self) -> None:
        snapshot = self._engine.snapshot
        counters = asdict(self._engine.counters)
        counters["stray"] += self._upstreams.stray
        counters["lost"] = sum(listener.lost for listener in self._udp.values())
        counters["log_dropped"] = 0 if self._ring is None else self._ring.dropped
        self._say(
            {
                "did": "status",
                "version": None if snapshot is None else snapshot.version,
                "digest": None if snapshot is None else snapshot.digest,
                "engine": self._engine.name,
                "counters": counters,
                "upstreams": self._engine.upstreams(time.time())[:MAX_UPSTREAMS],
            }
        )

    def _say(self, message: dict[str, Any]) -> None:
        """Tell the supervisor; a supervisor that does not listen is no reason to wait."""
        with contextlib.suppress(OSError):
            self._setup.control.send(json.dumps(message, separators=(",", ":")).encode(), socket.MSG_DONTWAIT)

    def _close(self) -> None:
        for listener in self._tcp:
            listener.close()
        self._upstreams.close()
        if self._ring is not None:
            self._ring.close()
        self._poller.close()
