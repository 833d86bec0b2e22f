"""Every way in which an upstream misbehaves, by transport, the first time only and always, on one running worker per
transport: a client gets the right answer or a SERVFAIL with an extended error, and the cache holds nothing else.

The whole matrix runs once, in parallel; each case is a test of its own. The table is tests/data/upstream/kinds.toml.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from resolver.config import HttpsEndpoint, SecureEndpoint
from tests.resolver.messages import codes
from tests.resolver.misbehaviour import KINDS, RIGHT, Misbehaving
from tests.resolver.processes.test_worker import snapshot
from tests.resolver.sockets import Worker, worker
from tests.resolver.upstreams.test_tls import DAY, HOST, NOW, Authority

TRANSPORTS = ("udp", "tcp", "dot", "doh")
PATIENCE = 60  # seconds that a client waits; never needed
FAILURE_TTL = 1
SETTINGS = {"upstream_timeout": 2.0, "upstream_tries": 3, "failure_ttl": FAILURE_TTL, "query_log": False}


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    transport: str
    mode: str

    @property
    def kind(self) -> Any:
        return KINDS[self.number]

    @property
    def name(self) -> str:
        return f"k{self.number}-{self.mode}.{self.transport}.example"

    @property
    def alone(self) -> bool:
        """It breaks the connection that others ask on too."""
        return self.transport in ("dot", "doh") and ("then" in self.kind or "certificate" in self.kind)

    @property
    def expected(self) -> str:
        told = self.kind.get(self.mode)
        if isinstance(told, dict):
            told = told.get(self.transport)
        return str(told or {"first": "answer", "always": "servfail"}[self.mode])

    def __str__(self) -> str:
        return f"{self.kind['says']}, {self.transport}, {self.mode}"


CASES = [
    Case(number, transport, mode)
    for transport in TRANSPORTS
    for number, kind in enumerate(KINDS)
    if transport in kind.get("on", TRANSPORTS)
    for mode in ("first", "always")
]
Seen = dict[tuple[Case | str, str], str]  # (case or name, "asked" or "dead") -> what the client saw


async def asked(child: Worker, name: str, qtype: str = "A") -> str:
    """What a client sees, in a word; what is wrong with it otherwise."""
    query = dns.message.make_query(name, qtype, use_edns=0)
    answer = await dns.asyncquery.udp(query, child.address, port=child.port, timeout=PATIENCE)
    if answer.flags & dns.flags.TC:
        answer = await dns.asyncquery.tcp(query, child.address, port=child.port, timeout=PATIENCE)
    records = [(str(rrset.name), rrset.ttl, str(one)) for rrset in answer.answer for one in rrset]
    wrong = [one for one in records if not 0 <= one[1] <= 86_400]
    if answer.rcode() == dns.rcode.SERVFAIL and not records and codes(answer) in ([22], [23]):
        return "servfail"
    if answer.rcode() == dns.rcode.NOERROR and not wrong and not answer.additional and not answer.authority:
        if not records:
            return "empty"
        if {(owner, data) for owner, _, data in records} == {(f"{name}.", RIGHT)}:
            return "answer"
        if {owner for owner, _, _ in records} == {f"{name}."} and len(records) == 1000:
            return "many"
        if [(owner, data) for owner, _, data in records] == [(f"{name}.", "bank.example."), ("bank.example.", RIGHT)]:
            return "alias"
    return str(answer)


async def answered(child: Worker, name: str) -> str:
    """What a client sees that asks again after a SERVFAIL: a machine may be too slow for the tries of one question."""
    for _ in range(30):
        if (said := await asked(child, name)) != "servfail":
            break
        await asyncio.sleep(FAILURE_TTL)
    return said


async def matrix(child: Worker, server: Misbehaving, transport: str) -> Seen:
    """Let every case of one transport happen. Between two that end well stands a good question, so that the upstreams'
    health never stops a second try."""
    seen: Seen = {}

    async def one(case: Case) -> None:
        seen[case, "at once"] = seen[case, "asked"] = await asked(child, case.name)
        if seen[case, "asked"] == "servfail" and "servfail" not in case.expected:
            seen[case, "asked"] = await answered(child, case.name)

    mine = [case for case in CASES if case.transport == transport]
    running = []
    for case in mine:
        if case.expected != "servfail" and not case.alone:
            running.append(asyncio.create_task(one(case)))
            await asyncio.wait(running[-1:], timeout=0.02)
            assert await answered(child, f"good-{case.name}") == "answer"
    await asyncio.gather(*running)
    await asyncio.gather(*(one(case) for case in mine if case.expected == "servfail" and not case.alone))
    for case in sorted((case for case in mine if case.alone), key=lambda case: case.mode, reverse=True):
        if "certificate" in case.kind:
            server.shake_hands(case.kind["certificate"], 1 if case.mode == "first" else 9_999)
        await one(case)
        server.shake_hands("", 0)
        if case.mode == "first":
            assert await answered(child, f"good-{case.name}") == "answer"
    return seen


async def dead(child: Worker, seen: Seen, transport: str) -> None:
    """With nobody upstream any more: what does the cache hold?"""

    async def one(what: Case | str, name: str, qtype: str = "A") -> None:
        seen[what, "dead"] = await asked(child, name, qtype)

    await asyncio.sleep(FAILURE_TTL)
    cases = [one(case, case.name) for case in CASES if case.transport == transport]
    names = ("bank.example", "ns.evil.example", "a.root-servers.evil.example", f"{transport}.example", "example")
    others = [one(f"{transport}: {name} {kind}", name, kind) for name in names for kind in ("A", "NS", "AAAA")]
    await asyncio.gather(*cases, *others)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("upstreams")
    good, strange = Authority(folder, "good"), Authority(folder, "strange")

    def contexts(transport: str) -> dict[str, ssl.SSLContext]:
        made = {
            "": good.sign(HOST),
            "expired": good.sign(HOST, NOW - DAY),
            "other-name": good.sign("other.district.example"),
            "strange": strange.sign(HOST),
        }
        for one in made.values():
            one.set_alpn_protocols(["h2"] if transport == "doh" else ["dot"])
        return made

    servers = [Misbehaving(contexts(transport), http=transport == "doh") for transport in TRANSPORTS]
    seen: Seen = {}

    async def everything(children: list[Worker]) -> None:
        trios = list(zip(children, servers, TRANSPORTS, strict=True))
        for part in await asyncio.gather(*(matrix(*trio) for trio in trios)):
            seen.update(part)
        for one in servers:
            one.die()
        await asyncio.gather(*(dead(child, seen, transport) for child, _, transport in trios))

    with contextlib.ExitStack() as stack:
        children = []
        for transport, server in zip(TRANSPORTS, servers, strict=True):
            stack.callback(server.close)
            state = folder / transport
            state.mkdir()
            upstreams: Any = server.plain
            if transport == "dot":
                upstreams = tuple(SecureEndpoint("127.0.0.1", port, HOST) for port in server.secure)
            if transport == "doh":
                upstreams = tuple(HttpsEndpoint("127.0.0.1", port, HOST, "/dns-query") for port in server.secure)
            settings = {**SETTINGS, "upstreams": upstreams, "upstream_ca": good.file}
            children.append(stack.enter_context(worker(state, lambda _: snapshot(), **settings)))
        asyncio.run(everything(children))
        yield seen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_client_gets_the_right_answer_or_a_servfail_that_says_why(outcomes: Seen, case: Case) -> None:
    assert outcomes[case, "asked"] in case.expected.split("|")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cache_holds_only_what_was_asked(outcomes: Seen, case: Case) -> None:
    assert outcomes[case, "dead"] in {outcomes[case, "asked"], "servfail"} - {"empty"}


def test_what_goes_wrong_once_is_mended_within_the_same_question(outcomes: Seen) -> None:
    at_once = [outcomes[case, "at once"] == outcomes[case, "asked"] for case in CASES if case.mode == "first"]
    assert sum(at_once) >= len(at_once) / 2  # all of them on a machine that is not too slow for three tries


def test_no_name_that_nobody_asked_for_is_known(outcomes: Seen) -> None:
    others = {what: said for (what, _), said in outcomes.items() if isinstance(what, str)}
    assert len(others) == 15 * len(TRANSPORTS)
    assert set(others.values()) == {"servfail"}


def test_the_table_has_forty_kinds_and_three_hundred_cases() -> None:
    assert len({kind["says"] for kind in KINDS}) == len(KINDS) >= 40
    assert len(CASES) >= 300
