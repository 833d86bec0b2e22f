"""What upstream says to one question, asked in the way workers ask: own records first, then the servers of the name's
route, each once. For `explain`, which judges it; nothing here does, and nothing is kept.
"""

from __future__ import annotations

import time

from blocklists import names
from blocklists.returned import Returned
from resolver.config import ResolverConfig
from resolver.message import wire
from resolver.message.local import LocalRecords
from resolver.message.reply import Reply, read_reply
from resolver.message.wire import WireError
from resolver.poller import Poller
from resolver.upstreams.routes import Route, Routes
from resolver.upstreams.upstream import Upstreams

PATIENCE = 2.0  # seconds for one question, over all servers
NUMBERS = {"A": wire.A, "AAAA": wire.AAAA, "HTTPS": wire.HTTPS, "SVCB": wire.SVCB}
_TRIED = 3  # servers of one route
_GOOD = (0, wire.NXDOMAIN)
_SIZE = 1232  # octets of UDP


class LookUp:
    """Call it with a canonical name and a type of `NUMBERS`. Safe in any thread; each call has sockets of its own."""

    def __init__(self, config: ResolverConfig, patience: float = PATIENCE) -> None:
        self._config = config
        self._local = LocalRecords(config.local)
        self._routes = Routes(config)
        self._patience = patience

    def __call__(self, name: str, rtype: str) -> Returned | None:
        """Return what upstream says; None when nobody answers in time, or only with an error."""
        qtype, asked = NUMBERS[rtype], names.to_wire(name)
        aliases: list[bytes] = []
        while found := self._local.lines(asked):
            target = next((data for kind, data in found if kind == wire.CNAME), None)
            if target is None:
                return _as_text(aliases, len(aliases), False)
            aliases.append(asked := target)
        route = self._routes.find(asked)
        reply = self._asked(route, asked, qtype)
        if reply is None:
            return None
        return _as_text([*aliases, *reply.targets], len(aliases) + reply.aliases, reply.private and not route.forwarded)

    def _asked(self, route: Route, name: bytes, qtype: int) -> Reply | None:
        question = name + qtype.to_bytes(2, "big") + b"\0\1"
        message = wire.upstream_query(question, False, False, _SIZE)
        poller = Poller()
        upstreams = Upstreams(self._routes.servers, poller, self._patience, self._config.upstream_ca)
        servers = route.servers[:_TRIED]
        running = set(range(len(servers)))
        deadline = time.monotonic() + self._patience
        try:
            upstreams.send([(at, server, message, False) for at, server in enumerate(servers)], time.time())
            while running and (left := deadline - time.monotonic()) > 0:
                poller.wait(min(left, 0.1))
                for serial, data in upstreams.take():
                    try:
                        reply = read_reply(data, name, qtype, False)
                    except WireError:
                        running.discard(serial)
                        continue
                    if reply.truncated:
                        upstreams.send([(serial, servers[serial], message, True)], time.time())
                    elif reply.rcode in _GOOD and not reply.lame:
                        return reply
                    else:
                        running.discard(serial)
                running.difference_update(upstreams.take_failed())
            return None
        finally:
            upstreams.close()
            poller.close()


def _as_text(targets: list[bytes], aliases: int, private: bool) -> Returned:
    return Returned(tuple(names.from_wire(target) for target in targets), aliases, private)
