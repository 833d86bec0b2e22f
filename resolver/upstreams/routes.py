"""Which upstreams a name is asked of: the servers of the longest forwarded zone above it, else the ordinary ones.

A forwarded zone is the district's own (a domain of Active Directory, a reverse zone): its servers may give private
addresses, and when they are silent nobody else is asked. One server that several zones name is one upstream, with one
health. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from blocklists import names
from resolver.config import Endpoint, ResolverConfig


@dataclass(frozen=True, slots=True)
class Route:
    """`servers` are numbers of upstreams, in the order of the settings; `zone` is the wire name of the forwarded zone,
    empty for the ordinary way."""

    zone: bytes
    servers: tuple[int, ...]

    @property
    def forwarded(self) -> bool:
        """True when the district's own servers are asked."""
        return bool(self.zone)

    @property
    def title(self) -> str:
        """The zone as text; empty for the ordinary way."""
        return names.from_wire(self.zone) if self.zone else ""


class Routes:
    """`servers`: every upstream once; their numbers are what the engine and the sockets know them by."""

    __slots__ = ("_zones", "ordinary", "servers")

    def __init__(self, config: ResolverConfig) -> None:
        numbers: dict[Endpoint, int] = {}
        ordinary = tuple(dict.fromkeys(numbers.setdefault(one, len(numbers)) for one in config.upstreams))
        self.ordinary = Route(b"", ordinary)
        self._zones = {
            forward.zone: Route(
                forward.zone,
                tuple(dict.fromkeys(numbers.setdefault(one, len(numbers)) for one in forward.servers)),
            )
            for forward in config.forward
        }
        self.servers = tuple(numbers)

    def find(self, name: bytes) -> Route:
        """Return the way of the lower-cased wire `name`."""
        zones = self._zones
        if zones:
            at = 0
            while name[at]:
                found = zones.get(name[at:])
                if found is not None:
                    return found
                at += 1 + name[at]
        return self.ordinary

    def all(self) -> tuple[Route, ...]:
        """Return every way, the ordinary one first."""
        return (self.ordinary, *self._zones.values())
