"""What each child of the supervisor runs. Heavy libraries are imported here, after the fork, and nowhere else."""

from __future__ import annotations

import socket
from collections.abc import Callable

from resolver import enrolment
from resolver.children import Entry, Role, send
from resolver.config import ResolverConfig
from resolver.policy_store import PolicyStore
from resolver.sockets import Pair
from resolver.worker import WorkerSetup

WorkerMain = Callable[[WorkerSetup], int]


def worker(number: int, main: WorkerMain, pair: Pair, config: ResolverConfig) -> Entry:
    """Return what worker `number` runs: `main` over its pair, loading from the state folder."""

    def entry(channel: socket.socket, lifeline: int) -> int:
        load = PolicyStore(config.state).load
        return main(WorkerSetup(number, pair.udp, pair.tcp, channel, lifeline, config, load))

    return entry


def verifier(config: ResolverConfig) -> Entry:
    """Return what checks signature and bytes of the kept snapshots, once; it says `verified` or `failed`."""

    def entry(channel: socket.socket, _: int) -> int:
        try:
            identity = enrolment.read_identity(config.state)
            found = PolicyStore(config.state).verify_current(identity.pin)
        except (enrolment.BadIdentity, OSError) as error:
            send(channel, {"did": "failed", "reason": str(error)})
            return 1
        version, digest = (found.held.version, found.held.digest) if found.held else (None, None)
        send(channel, {"did": "verified", "version": version, "digest": digest, "warning": found.warning})
        return 0

    return entry


def helper(role: Role, config: ResolverConfig) -> Entry:
    """Return what the subscription or the log writer runs."""

    def entry(channel: socket.socket, lifeline: int) -> int:
        if role is Role.SUBSCRIPTION:
            from resolver import subscription

            return subscription.run(config.state, channel, lifeline)
        from resolver import logwriter

        return logwriter.run(config.state, channel, lifeline)

    return entry
