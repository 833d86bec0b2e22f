"""Upstreams asked once, before anybody depends on them: which are silent, and what is known of why."""

from __future__ import annotations

from pathlib import Path

import dns.message
import pytest

from blocklists import names
from deploy.reachable import silent_upstreams
from resolver.config import Endpoint, Forward, HttpsEndpoint, ResolverConfig, SecureEndpoint
from tests.portal.gatehouse import free_port
from tests.resolver.messages import reply
from tests.resolver.sockets import Upstream
from tests.resolver.upstreams import test_https
from tests.resolver.upstreams.test_tls import DAY, HOST, NOW, Authority, Server


def root(query: bytes) -> bytes:
    return reply(query, ". 300 NS a.root-servers.net.")


def over_tls(secured: object, server: Server) -> None:
    while True:
        data = root(server.read(secured))  # type: ignore[arg-type]
        secured.sendall(len(data).to_bytes(2, "big") + data)  # type: ignore[attr-defined]


def told(config: ResolverConfig) -> dict[str, tuple[str, str]]:
    return {str(one.upstream): (one.zone, one.why) for one in silent_upstreams(config, 30.0)}


def test_plain_upstreams_and_those_of_a_zone_are_asked_what_they_should_know() -> None:
    seen: list[str] = []

    def script(query: bytes, tcp: bool) -> list[bytes]:
        seen.append(dns.message.from_wire(query).question[0].to_text())
        return [reply(query)]

    good = Upstream(script)
    refusing = Upstream(lambda query, tcp: [reply(query, rcode="REFUSED")])
    dead = Endpoint("127.0.0.1", free_port())
    forward = (Forward(names.to_wire("corp.district.example"), (Endpoint("127.0.0.2", dead.port),)),)
    config = ResolverConfig((), (good.endpoint, refusing.endpoint, dead), Path("unused"), forward=forward)
    assert told(config) == {
        str(refusing.endpoint): ("", "it answers with the error 5"),
        str(dead): ("", ""),
        f"127.0.0.2:{dead.port}": ("corp.district.example", ""),
    }
    zone = ResolverConfig((), (), Path("unused"), forward=(Forward(forward[0].zone, (good.endpoint,)),))
    assert told(zone) == {}
    assert seen == [". IN NS", "corp.district.example. IN SOA"]
    good.close()
    refusing.close()


@pytest.mark.parametrize("https", [False, True], ids=["tls", "https"])
def test_encrypted_upstreams_are_asked_too_and_what_is_wrong_with_them_is_said(tmp_path: Path, https: bool) -> None:
    authority = Authority(tmp_path, "district")
    serve = test_https.answers_with(root) if https else over_tls
    contexts = (authority.sign(HOST), authority.sign(HOST, NOW - DAY), authority.sign("evil.test"))
    servers = [Server(test_https.spoken(one) if https else one, serve) for one in contexts]
    ports = [one.listener.getsockname()[1] for one in servers]
    ends = [
        HttpsEndpoint("127.0.0.1", port, HOST, "/dns-query") if https else SecureEndpoint("127.0.0.1", port, HOST)
        for port in (*ports, free_port())
    ]
    found = told(ResolverConfig((), tuple(ends), Path("unused"), upstream_ca=authority.file))
    assert found == {
        str(ends[1]): ("", "its certificate is not accepted: it has expired"),
        str(ends[2]): ("", f"its certificate is not accepted: it is for another name than {HOST}"),
        str(ends[3]): ("", "it cannot be reached: the connection is refused or lost"),
    }
    for one in servers:
        one.close()
