"""Discovery of designated resolvers (RFC 9462): what `_dns.resolver.arpa` SVCB says when this node listens encrypted.

The same for every group: a device that follows it is still known by its address. Without encrypted listeners the
bypass signal's NODATA stands: nobody else's answer may pass.
"""

from __future__ import annotations

import ipaddress
import struct

from blocklists import names
from blocklists.policy import FOREVER
from resolver.config import Endpoint, ResolverConfig
from resolver.message import records, wire
from resolver.message.answers import Answer
from resolver.message.wire import Query

NAME = names.to_wire("_dns.resolver.arpa")
TTL = 300  # seconds
DOH_PATH = "/dns-query"
_ALPN, _PORT, _IPV4HINT, _IPV6HINT, _DOHPATH = 1, 3, 4, 6, 7  # SvcParamKeys (RFC 9460 §14.3.2, RFC 9461 §5)


class Designated:
    """The answer that a node's settings make, if any."""

    __slots__ = ("_rdata",)

    def __init__(self, config: ResolverConfig) -> None:
        self._rdata: list[bytes] = []
        if config.server_name:
            self._rdata += _services(config.server_name, config.dot, (b"dot",), b"", 1)
            path = f"{DOH_PATH}{{?dns}}".encode()
            self._rdata += _services(config.server_name, config.doh, (b"h2", b"http/1.1"), path, 1 + len(self._rdata))

    def answer(self, query: Query) -> Answer | None:
        """Return the designation when `query` asks for it and there is one."""
        if not self._rdata or query.qtype != wire.SVCB or query.name != NAME:
            return None
        made = [records.Record(query.name, wire.SVCB, TTL, rdata) for rdata in self._rdata]
        body, ttls = records.written(made, query.name)
        return Answer(0, len(made), 0, body, ttls, (), False, FOREVER, FOREVER)


def _services(
    name: str, endpoints: tuple[Endpoint, ...], alpn: tuple[bytes, ...], path: bytes, priority: int
) -> list[bytes]:
    """One record for each port, with the addresses that are listened on there as hints."""
    found: list[bytes] = []
    for port in dict.fromkeys(one.port for one in endpoints):
        addresses = [ipaddress.ip_address(one.address) for one in endpoints if one.port == port]
        hints = [one for one in addresses if not one.is_unspecified]
        params = {
            _ALPN: b"".join(bytes((len(one),)) + one for one in alpn),
            _PORT: struct.pack("!H", port),
            _IPV4HINT: b"".join(one.packed for one in hints if one.version == 4),
            _IPV6HINT: b"".join(one.packed for one in hints if one.version == 6),
            _DOHPATH: path,
        }
        text = b"".join(struct.pack("!HH", key, len(value)) + value for key, value in params.items() if value)
        found.append(struct.pack("!H", priority + len(found)) + names.to_wire(name) + text)
    return found
