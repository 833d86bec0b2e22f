"""Whether upstreams answer, before anybody depends on it: one question to each, all at once, in the way workers ask."""

from __future__ import annotations

import time
from dataclasses import dataclass

from resolver.config import Endpoint, ResolverConfig
from resolver.message import wire
from resolver.poller import Poller
from resolver.upstreams.routes import Routes
from resolver.upstreams.upstream import Upstreams

PATIENCE = 2.0  # seconds for all of them
_NS, _SOA = 2, 6
_ROOT = b"\0"


@dataclass(frozen=True, slots=True)
class Silent:
    """An upstream that does not answer. `zone` is the forwarded zone that it is for, empty for every other name;
    `why` is empty when nothing is known but silence."""

    upstream: Endpoint
    zone: str
    why: str


def silent_upstreams(config: ResolverConfig, patience: float = PATIENCE) -> list[Silent]:
    """Ask each upstream for the root's name servers, or the start of its forwarded zone; return those that do not
    answer it within `patience` seconds."""
    routes = Routes(config)
    zones = {server: route for route in reversed(routes.all()) for server in route.servers}
    why: dict[int, str] = {}
    poller = Poller()
    upstreams = Upstreams(routes.servers, poller, patience, config.upstream_ca, why.__setitem__)
    waiting = set(zones)
    running = set(zones)
    try:
        upstreams.send([(at, at, _question(route.zone), False) for at, route in zones.items()], time.time())
        deadline = time.monotonic() + patience
        while running and (left := deadline - time.monotonic()) > 0:
            poller.wait(min(left, 0.1))
            for serial, data in upstreams.take():
                running.discard(serial)
                if data[3] & 15 in (0, wire.NXDOMAIN):
                    waiting.discard(serial)
                else:
                    why[serial] = f"it answers with the error {data[3] & 15}"
            for serial in upstreams.take_failed():
                running.discard(serial)
    finally:
        upstreams.close()
        poller.close()
    return [Silent(routes.servers[at], zones[at].title, why.get(at, "")) for at in sorted(waiting)]


def _question(zone: bytes) -> bytes:
    name, qtype = (zone, _SOA) if zone else (_ROOT, _NS)
    return wire.upstream_query(name + qtype.to_bytes(2, "big") + b"\0\1", False, False, 1232)
