"""The outside world, for the flows: a small authoritative answerer on loopback, UDP and TCP, built on dnslib's server.

Every name below `example.com`, and the services' names that the stories open, has an address; anything else does not
exist. It counts what it was asked, so that a test can tell a cached answer from a forwarded one.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator

from dnslib import QTYPE, RCODE, RR, SOA, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

from blocklists.names import is_at_or_below

ADDRESS = "192.0.2.80"
ZONES = ("example.com", "instagram.com", "cdninstagram.com", "youtube.com", "tiktok.com", "pinterest.com", "pinimg.com")


class World(BaseResolver):  # type: ignore[misc]
    """Answers A questions below ZONES; NODATA for other types there; NXDOMAIN elsewhere."""

    def __init__(self) -> None:
        self.asked: collections.Counter[str] = collections.Counter()

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Return the reply to one question (dnslib calls this)."""
        name = str(request.q.qname).rstrip(".").lower()
        self.asked[name] += 1
        reply = request.reply()
        zone = next((zone for zone in ZONES if is_at_or_below(name, zone)), None)
        if zone is not None and request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(ADDRESS), ttl=3600))
        else:
            if zone is None:
                reply.header.rcode = RCODE.NXDOMAIN
            soa = SOA("ns.invalid", "nobody.invalid", (1, 3600, 600, 86400, 60))
            reply.add_auth(RR(zone or "invalid", QTYPE.SOA, rdata=soa, ttl=60))
        return reply


@contextlib.contextmanager
def world(port: int) -> Iterator[World]:
    """Run the outside world on 127.0.0.1:`port`."""
    found = World()
    quiet = DNSLogger(log="-request,-reply,-truncated,-error")
    servers = [DNSServer(found, port=port, address="127.0.0.1", tcp=tcp, logger=quiet) for tcp in (False, True)]
    try:
        for server in servers:
            server.start_thread()
        yield found
    finally:
        for server in servers:
            server.stop()
            server.server.server_close()
