"""A node in a process of its own: `python node_process.py STATE PORT WORKERS UPSTREAM_PORT [OPTION …]`.

Options: `fake`, `--user=nobody`, `--metrics=PORT`, `--page=PORT`, `--guests=PORT`, `--six=PORT` (::1), and for the
encrypted listeners `--dot=PORT`, `--doh=PORT`, `--certificate=FILE` (with its key); `set:FIELD=NUMBER` for others;
`bind-only`: from a root start, become nobody with CAP_NET_BIND_SERVICE alone, as a unit's AmbientCapabilities give it;
`clock:FILE`: the wall clock of every process is ahead by the seconds that the file holds (a double), read at each look.

The fake worker answers every datagram with the version that it serves and its pid; files in the state folder make it
misbehave: `hang-N` (worker N stops reading its channel), `refuse-N` (it refuses the next swaps), `die-N` (it ends at
once when started).
"""

from __future__ import annotations

import ctypes
import json
import logging
import mmap
import os
import pwd
import select
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from resolver.config import Endpoint, ResolverConfig
from resolver.processes.supervisor import CannotStart, run
from resolver.processes.worker import WorkerSetup
from resolver.processes.worker import run as real_worker


def fake_worker(setup: WorkerSetup) -> int:
    state = setup.config.state
    if (state / f"die-{setup.number}").exists():
        return 3
    snapshot = setup.load(None)

    def say(**message: Any) -> None:
        setup.control.send(json.dumps(message).encode())

    def status() -> None:
        version, digest = (snapshot.version, snapshot.digest) if snapshot else (None, None)
        say(did="status", version=version, digest=digest, counters={"queries": count, "blocked": 0})

    count = 0
    setup.control.setblocking(False)
    poll = select.poll()
    for number in (setup.control.fileno(), setup.lifeline, *(one.fileno() for one in setup.udp)):
        poll.register(number, select.POLLIN)
    status()
    said = time.monotonic()
    while True:
        ready = {number for number, _ in poll.poll(100)}
        if setup.lifeline in ready:
            return 0
        for udp in setup.udp:
            if udp.fileno() in ready:
                try:
                    _, peer = udp.recvfrom(2048)
                except BlockingIOError:
                    continue
                count += 1
                answer = {"version": snapshot.version if snapshot else None, "pid": os.getpid()}
                udp.sendto(json.dumps(answer).encode(), peer)
        if (state / f"hang-{setup.number}").exists():
            (state / f"hang-{setup.number}").unlink()
            while True:  # deaf to its channel, not to the end of its parent
                time.sleep(0.1)
        if setup.control.fileno() in ready:
            data = setup.control.recv(65536)
            if not data:
                return 0
            message = json.loads(data)
            if message["do"] == "drain":
                return 0
            if message["do"] == "swap" and (state / f"refuse-{setup.number}").exists():
                (state / f"refuse-{setup.number}").unlink()
                say(did="refused", reason="a test told me to")
            elif message["do"] == "swap":
                snapshot = setup.load(snapshot)
                assert snapshot is not None
                say(did="swapped", version=snapshot.version, digest=snapshot.digest)
            elif message["do"] == "flush":
                say(did="flushed", entries=0)
        if time.monotonic() - said > 1:
            said = time.monotonic()
            status()


def _endpoint(option: str) -> Endpoint | None:
    ports = [int(word.removeprefix(option)) for word in sys.argv if word.startswith(option)]
    return Endpoint("127.0.0.1", ports[0]) if ports else None


def _move_clock(path: str) -> None:
    with Path(path).open("rb") as file:
        ahead = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real = time.time
    time.time = lambda: real() + struct.unpack("=d", ahead[:8])[0]


def _bind_only(state: Path) -> None:
    entry = pwd.getpwnam("nobody")
    for path in (state, *state.iterdir()):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    bind = 1 << 10
    header, wanted = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", bind, bind, bind, 0, 0, 0)
    assert libc.capset(header, wanted) == 0
    assert libc.prctl(47, 2, 10, 0, 0) == 0  # PR_CAP_AMBIENT_RAISE


def main() -> int:
    if "bind-only" in sys.argv[5:]:
        _bind_only(Path(sys.argv[1]))
    for option in sys.argv[5:]:
        if option.startswith("clock:"):
            _move_clock(option.removeprefix("clock:"))
    state, port, workers, upstream = sys.argv[1:5]
    logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s", stream=sys.stderr)
    guests, six = _endpoint("--guests="), _endpoint("--six=")  # a second address, for one client group; and IPv6
    dot, doh = _endpoint("--dot="), _endpoint("--doh=")
    files = [Path(word.removeprefix("--certificate=")) for word in sys.argv if word.startswith("--certificate=")]
    listen = [Endpoint("127.0.0.1", int(port))]
    listen += [Endpoint("127.0.0.5", guests.port)] if guests else []
    listen += [Endpoint("::1", six.port)] if six else []
    numbers = [word.removeprefix("set:").split("=") for word in sys.argv if word.startswith("set:")]
    config = ResolverConfig(
        listen=tuple(listen),
        dot=(dot,) if dot else (),
        doh=(doh,) if doh else (),
        server_name="dns.district.example" if files else "",
        certificate=files[0] if files else None,
        certificate_key=files[0] if files else None,
        upstreams=(Endpoint("127.0.0.1", int(upstream)),),
        state=Path(state),
        workers=int(workers),
        metrics=_endpoint("--metrics="),
        block_page=_endpoint("--page="),
        user="nobody" if "--user=nobody" in sys.argv else "",
    )
    config = replace(config, **{name: int(value) for name, value in numbers})
    worker = fake_worker if "fake" in sys.argv[5:] else real_worker
    try:
        return run(config, worker, lambda status: print(json.dumps(status), flush=True))
    except CannotStart as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
