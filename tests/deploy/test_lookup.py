"""What upstream says, asked as workers ask: `schoolgate explain` and the portal judge it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message

from blocklists import names
from blocklists.returned import Returned
from deploy.lookup import LookUp
from resolver.config import Endpoint, Forward, LocalRecord, ResolverConfig
from resolver.message import wire
from tests.portal.gatehouse import free_port
from tests.resolver.messages import reply
from tests.resolver.sockets import Upstream

SAYS = {
    "a.example.": ["a.example. 60 CNAME b.example.", "b.example. 60 A 192.0.2.1"],
    "inside.example.": ["inside.example. 60 A 192.0.2.1", "inside.example. 60 A 10.0.0.1"],
    "binding.example.": ["binding.example. 60 HTTPS 1 cdn.example. alpn=h2"],
}


@contextmanager
def upstream(rcode: str = "NOERROR", cut: bool = False) -> Iterator[Endpoint]:
    def script(query: bytes, tcp: bool) -> list[bytes]:
        if cut and not tcp:
            return [reply(query, flags=dns.flags.TC)]
        return [reply(query, *SAYS.get(str(dns.message.from_wire(query).question[0].name), []), rcode=rcode)]

    made = Upstream(script)
    try:
        yield made.endpoint
    finally:
        made.close()


def config(*servers: Endpoint, **fields: object) -> ResolverConfig:
    return ResolverConfig((), servers, Path("unused"), **fields)  # type: ignore[arg-type]


def test_targets_aliases_and_private_addresses_are_found_also_over_tcp() -> None:
    for cut in (False, True):
        with upstream(cut=cut) as server:
            ask = LookUp(config(server), 30)
            assert ask("a.example", "A") == Returned(("b.example",), 1)
            assert ask("inside.example", "A") == Returned(private=True)
            assert ask("binding.example", "HTTPS") == Returned(("cdn.example",), 0)


def test_one_that_fails_or_is_silent_does_not_hide_the_one_that_answers() -> None:
    with upstream("SERVFAIL") as failing, upstream() as good:
        dead = Endpoint("127.0.0.1", free_port())
        assert LookUp(config(dead, failing, good), 30)("a.example", "A") == Returned(("b.example",), 1)
        assert LookUp(config(failing), 30)("a.example", "A") is None
        assert LookUp(config(dead), 0.2)("a.example", "A") is None


def test_own_records_and_forwarded_zones_may_have_private_addresses() -> None:
    a, b, c = (names.to_wire(name) for name in ("a.district.example", "b.district.example", "a.example"))
    local = (LocalRecord(a, wire.CNAME, 60, b), LocalRecord(b, wire.A, 60, bytes([10, 0, 0, 1])))
    with upstream() as server:
        forward = (Forward(names.to_wire("inside.example"), (server,)),)
        ask = LookUp(config(local=local, forward=forward), 30)
        assert ask("a.district.example", "A") == Returned(("b.district.example",), 1)
        assert ask("inside.example", "A") == Returned()
        led = LookUp(config(server, local=(LocalRecord(a, wire.CNAME, 60, c),)), 30)
        assert led("a.district.example", "A") == Returned(("a.example", "b.example"), 2)
