"""`python -m tests.resolver.equality [-n N] [--seed S]`: are our answers Unbound's?

One Unbound is our upstream and the reference. Every question (names and types of the zones in zones.py, existing or
not, with and without EDNS, DO, CD, AD, over UDP of several sizes and TCP) goes to both; response code, flags and
sections are compared, TTLs as far as time has passed. `REASONS` are the differences that are meant.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from resolver.config import Endpoint
from tests.resolver.processes.test_worker import snapshot
from tests.resolver.sockets import worker
from tests.resolver.zones import HOSTS, LAME, OTHERS, ZONES, Zones, zones

REASONS = {
    "any": "QTYPE ANY gets one HINFO (RFC 8482)",
    "additional": "ADDITIONAL is empty but for our OPT",
    "denial": "all of an answer that ends in a denial lives as long as the denial, aliases before it too",
    "synthesized": "Unbound gives the CNAME that it makes from a DNAME a TTL of 0 at first, the DNAME's later",
    "unchecked": "with CD, Unbound says AD when it happens to have validated the answer already",
    "failure": "a SERVFAIL holds no records",
    "again": "Unbound said SERVFAIL to one of us and an answer to the other; asked again later, the same",
    "truncated": "a truncated answer holds no records: the client comes back over TCP",
    "size": "without ADDITIONAL and AUTHORITY an answer fits where Unbound's does not",
}

TYPES = (
    "A", "A", "A", "AAAA", "AAAA", "HTTPS", "TXT", "MX", "NS", "SOA", "SRV", "CAA", "NAPTR", "PTR", "SSHFP", "TLSA",
    "SVCB", "LOC", "HINFO", "RP", "AFSDB", "URI", "TYPE65280", "TYPE4444", "EUI48", "DNAME", "CNAME", "OPENPGPKEY",
    "KX", "SMIMEA", "DNSKEY", "DS", "NSEC", "NSEC3PARAM", "CDS", "ANY", "TYPE999",
)  # fmt: skip
AT_ONCE = 24
TRIES = 6
PATIENCE = 15.0  # seconds
FAILURE_TTL = 1
FLAGS = dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA | dns.flags.AD | dns.flags.CD

Record = tuple[str, int, str]  # owner, type, data


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    qtype: str
    edns: bool
    do: bool
    cd: bool
    ad: bool
    size: int
    tcp: bool

    def message(self) -> dns.message.Message:
        options: dict[str, Any] = {"use_edns": 0, "payload": self.size, "want_dnssec": self.do} if self.edns else {}
        made = dns.message.make_query(self.name, self.qtype, **options)
        made.flags |= (dns.flags.CD if self.cd else 0) | (dns.flags.AD if self.ad else 0)
        return made


@dataclass(slots=True)
class Result:
    """What was compared. `different` holds each question with what is wrong, `reasons` counts what is meant."""

    asked: int = 0
    rcodes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    different: list[tuple[Question, str]] = field(default_factory=list)


def questions(count: int, seed: int) -> Iterator[Question]:
    """Yield `count` questions, the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        owner = rng.choice(OTHERS) if rng.random() < 0.5 else f"h{rng.randrange(HOSTS + 5)}"
        zone = rng.choice(ZONES) if rng.random() < 0.99 else LAME
        name = f"{owner}.{zone}".lstrip(".")
        if rng.random() < 0.2:
            name = "".join(rng.choice((one.lower(), one.upper())) for one in name)
        edns = rng.random() < 0.8
        do = edns and rng.random() < 0.5
        size = rng.choice((512, 1232, 1232, 4096, 65_000))
        yield Question(
            name, rng.choice(TYPES), edns, do, rng.random() < 0.15, rng.random() < 0.3, size, rng.random() < 0.15
        )


async def answer(question: Question, port: int, *, tcp: bool) -> dns.message.Message:
    """Ask, again when a datagram was lost on a busy machine."""
    ask = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    for _ in range(TRIES):
        with contextlib.suppress(dns.exception.Timeout, EOFError, ConnectionError):
            return await ask(question.message(), "127.0.0.1", port=port, timeout=PATIENCE)
    raise TimeoutError(f"no answer on port {port} to {question}")


def records(section: list[Any]) -> dict[Record, int]:
    """Return each record of a section with its TTL."""
    found: dict[Record, int] = {}
    for rrset in section:
        for one in rrset:
            found[str(rrset.name).lower(), int(rrset.rdtype), one.to_text().lower()] = rrset.ttl
    return found


def compare(question: Question, ours: dns.message.Message, theirs: dns.message.Message, passed: float) -> Iterator[str]:
    """Yield the key of each listed difference, and anything else that differs in words. `passed`: seconds since the
    first question, which is as far as two caches can be apart."""
    if question.qtype == "ANY":
        if theirs.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL):
            yield f"ANY: {dns.rcode.to_text(theirs.rcode())}"
        if [one.rdtype for one in ours.answer] != [dns.rdatatype.HINFO] or ours.rcode() != dns.rcode.NOERROR:
            yield f"ANY without HINFO: {ours}"
        yield "any"
        return
    if ours.rcode() != theirs.rcode():
        yield f"rcode {dns.rcode.to_text(ours.rcode())}, not {dns.rcode.to_text(theirs.rcode())}"
    apart = (ours.flags ^ theirs.flags) & FLAGS
    if question.cd and apart == dns.flags.AD:
        yield "unchecked"
    elif apart:
        yield f"flags {dns.flags.to_text(ours.flags)}, not {dns.flags.to_text(theirs.flags)}"
    if ours.question != theirs.question:
        yield f"question {ours.question}, not {theirs.question}"
    if (ours.edns < 0) != (theirs.edns < 0) or (ours.ednsflags ^ theirs.ednsflags) & dns.flags.DO:
        yield "another OPT"
    soa = [rrset.ttl for rrset in ours.authority if rrset.rdtype == dns.rdatatype.SOA]
    if ours.rcode() == theirs.rcode() == dns.rcode.SERVFAIL and theirs.answer and not ours.answer:
        yield "failure"
        return
    yield from _different("answer", records(ours.answer), records(theirs.answer), passed, soa)
    yield from _different("authority", records(ours.authority), records(theirs.authority), passed, soa)
    if ours.additional:
        yield f"additional {ours.additional}"
    if theirs.additional:
        yield "additional"


def _different(
    title: str, ours: dict[Record, int], theirs: dict[Record, int], passed: float, soa: list[int]
) -> Iterator[str]:
    """`soa`: the TTL of the denial's SOA, when it is one."""
    if ours.keys() != theirs.keys():
        more, less = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
        yield f"{title}: too much {more}, too little {less}"
        return
    denied = False
    dname = any(kind == dns.rdatatype.DNAME for _, kind, _ in theirs)
    for one, ttl in ours.items():
        if abs(ttl - theirs[one]) > passed + 2:
            if soa and soa[0] == ttl < theirs[one]:
                denied = True
            elif dname and one[1] == dns.rdatatype.CNAME and 0 in (ttl, theirs[one]):
                yield "synthesized"
            else:
                yield f"{title}: TTL {ttl}, not {theirs[one]} of {one}"
    if denied:
        yield "denial"


async def _both(question: Question, port: int, reference: int, began: float, result: Result) -> None:
    theirs = await answer(question, reference, tcp=question.tcp)
    ours = await answer(question, port, tcp=question.tcp)
    cut = [bool(one.flags & dns.flags.TC) for one in (ours, theirs)]
    if any(cut):
        if ours.answer and cut[0]:
            result.different.append((question, "records in a truncated answer"))
        result.reasons["truncated" if cut[0] else "size"] += 1
        if cut[0] and not cut[1]:
            result.different.append((question, "truncated, and Unbound's is not"))
        theirs, ours = await answer(question, reference, tcp=True), await answer(question, port, tcp=True)
    for _ in range(3):
        if (ours.rcode() == dns.rcode.SERVFAIL) == (theirs.rcode() == dns.rcode.SERVFAIL) or question.qtype == "ANY":
            break
        result.reasons["again"] += 1
        await asyncio.sleep(FAILURE_TTL)
        theirs, ours = await answer(question, reference, tcp=True), await answer(question, port, tcp=True)
    result.asked += 1
    result.rcodes[dns.rcode.to_text(theirs.rcode())] += 1
    for found in compare(question, ours, theirs, time.monotonic() - began):
        if found in REASONS:
            result.reasons[found] += 1
        else:
            result.different.append((question, found))


async def _all(count: int, seed: int, port: int, reference: int) -> Result:
    result = Result()
    waiting = iter(questions(count, seed))
    began = time.monotonic()

    async def client() -> None:
        for question in waiting:
            await _both(question, port, reference, began, result)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return result


def run(count: int, seed: int, served: Zones, port: int) -> Result:
    """Ask `count` questions of our resolver on `port` and of the Unbound that it forwards to."""
    return asyncio.run(_all(count, seed, port, served.unbound))


def settings_for(served: Zones) -> dict[str, Any]:
    """What our resolver is told that forwards to the reference."""
    upstreams = (Endpoint("127.0.0.1", served.unbound),)
    return {"upstreams": upstreams, "upstream_timeout": 5.0, "failure_ttl": FAILURE_TTL, "query_log": False}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make equality", description=__doc__)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=4414)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="schoolgate-equality-") as text:
        folder = Path(text)
        (folder / "state").mkdir()
        (folder / "zones").mkdir()
        with zones(folder / "zones") as served:
            began = time.monotonic()
            with worker(folder / "state", lambda _: snapshot(), **settings_for(served)) as ours:
                result = run(told.n, told.seed, served, ours.port)
    print(f"{result.asked:,} questions in {time.monotonic() - began:.0f} s: {dict(result.rcodes)}")
    for key, reason in REASONS.items():
        print(f"  {result.reasons[key]:>6,}  {reason}")
    print(f"  {len(result.different):>6,}  other differences")
    for question, found in result.different[:40]:
        print(f"\n{question}\n  {found}")
    return 1 if result.different else 0


if __name__ == "__main__":
    sys.exit(main())
