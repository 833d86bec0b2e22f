"""What each child of the supervisor runs. Heavy libraries are imported here, after the fork, and nowhere else."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from resolver.children import Entry, Role, send
from resolver.clients.sockets import Listeners, Pair
from resolver.config import ResolverConfig
from resolver.delivery import enrolment
from resolver.delivery.keyring import Keyring
from resolver.delivery.policy_store import PolicyStore
from resolver.log.querylog import Ring, ring_path
from resolver.processes.worker import RING_BYTES, WorkerSetup

_RESERVE = 64 * 1024  # bytes of disk beside a ring's own

WorkerMain = Callable[[WorkerSetup], int]


def worker(
    number: int, main: WorkerMain, pair: Pair, config: ResolverConfig, door: socket.socket | None = None
) -> Entry:
    """Return what worker `number` runs: `main` over its pair and its door, loading from the state folder.

    Where the disk has no room for its ring it serves without a query log, and says so.
    """

    def entry(channel: socket.socket, lifeline: int) -> int:
        settings = config
        try:
            if config.query_log:
                _reserve_ring(config, number)
        except OSError as error:
            settings = replace(config, query_log=False)
            send(channel, {"did": "unlogged", "reason": error.strerror or str(error)})
        load = PolicyStore(config.state).load
        return main(WorkerSetup(number, pair.udp, pair.tcp, channel, lifeline, settings, load, door))

    return entry


def _reserve_ring(config: ResolverConfig, number: int) -> None:
    """Make the worker's ring with all its blocks: on a full disk, writing to a hole of a mapped file is SIGBUS.

    Raises `OSError`.
    """
    path = ring_path(config.state, number)
    disk = os.statvfs(config.state)
    if not path.exists() and disk.f_bavail * disk.f_frsize < RING_BYTES + _RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    Ring.create(path, RING_BYTES).close()
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def verifier(config: ResolverConfig) -> Entry:
    """Return what checks signature and bytes of the kept snapshots, once; it says `verified` or `failed`."""

    def entry(channel: socket.socket, _: int) -> int:
        try:
            identity = enrolment.read_identity(config.state)
            found = PolicyStore(config.state).verify_current(Keyring(config.state, identity).kept())
        except (enrolment.BadIdentity, OSError) as error:
            send(channel, {"did": "failed", "reason": str(error)})
            return 1
        version, digest = (found.held.version, found.held.digest) if found.held else (None, None)
        send(channel, {"did": "verified", "version": version, "digest": digest, "warning": found.warning})
        return 0

    return entry


def files(role: Role, listeners: Listeners) -> list[int]:
    """Return the sockets that a process beside the workers inherits."""
    kept: list[socket.socket] = []
    if role is Role.BLOCK_PAGE and listeners.page is not None:
        kept = [listeners.page]
    elif role is Role.ENCRYPTED:
        kept = [*(one for _, one in listeners.secure), *(end for end, _ in listeners.doors)]
    return [one.fileno() for one in kept]


def helper(role: Role, config: ResolverConfig, listeners: Listeners) -> Entry:
    """Return what a process beside the workers runs."""

    def entry(channel: socket.socket, lifeline: int) -> int:
        if role is Role.SUBSCRIPTION:
            from resolver.delivery import subscription

            return subscription.run(config.state, channel, lifeline, config.portal_ca)
        if role is Role.METRICS and config.metrics is not None:
            from resolver.log import metrics

            return metrics.run(config.state, config.metrics, channel, lifeline)
        if role is Role.BLOCK_PAGE and listeners.page is not None:
            from resolver.clients import block_page

            return block_page.run(config.state, listeners.page, channel, lifeline)
        if role is Role.ENCRYPTED:
            from resolver.clients import encrypted

            doors = [end for end, _ in listeners.doors]
            return encrypted.run(config, listeners.secure, doors, channel, lifeline)
        from resolver.log import logwriter

        return logwriter.run(config.state, channel, lifeline)

    return entry
