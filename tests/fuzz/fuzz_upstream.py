"""Hostile replies to the questions of a whole engine with two upstreams: every exchange may fail, none may go wrong.

What each question gets is checked: one answer, readable, for its own name; records only from the reply's own chain; and
nothing waits, and no table grows, when all is told.
"""

from __future__ import annotations

import random
from collections import Counter

import dns.exception
import dns.message

from tests.fuzz.fuzz_wire import damage
from tests.resolver.laboratory import Laboratory
from tests.resolver.messages import SOA, ask, reply

NAMES = 500  # asked for in turn, so that answers come from the cache too
RCODES = ("NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH")
EVIL = "bank.test"  # never asked for: the cache must not hold it


def hostile(rng: random.Random, query: bytes, name: str) -> bytes:
    """Return a reply to `query`, more or less damaged behind its question."""
    cdn = f"a{rng.randrange(9)}.cdn.test."
    records = rng.choice(
        (
            (f"{name}. 300 A 192.0.2.1",),
            (f"{name}. 300 CNAME {cdn}", f"{cdn} 60 A 192.0.2.1", f"{EVIL}. 60 A 192.0.2.66"),
            (f"{name}. 300 CNAME {cdn}", f"{cdn} 300 CNAME {name}."),
            (),
        )
    )
    authority = rng.choice(((), (SOA,), (f"{EVIL}. 60 NS ns.{EVIL}.",)))
    data = reply(query, *records, authority=authority, rcode=rng.choice(RCODES), flags=rng.choice((0, 0, 0, 0x200)))
    kind = rng.randrange(4)
    if kind == 0:
        return data
    end = 12 + len(query[12:].split(b"\0", 1)[0]) + 5
    if kind == 1:
        return data[:end] + damage(rng, data[end:])
    return data[:2] + damage(rng, data[2:end]) + data[end:] if kind == 2 else damage(rng, data)


def run(count: int, seed: int = 0) -> Counter[str]:
    """Let `count` hostile replies come; raise whatever is undeclared or wrong."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    laboratory = Laboratory(upstream_tries=3)
    fed = asked = 0
    while fed < count:
        name = f"n{rng.randrange(NAMES)}.example.com"
        number = asked & 0xFFFF
        asked += 1
        at_once = laboratory.feed(ask(name, id=number, use_edns=0))
        while laboratory.sent:
            serial, _, query, _ = laboratory.sent.pop()
            if rng.randrange(20):
                laboratory.raw_upstream(hostile(rng, query, name) if rng.randrange(50) else rng.randbytes(40), serial)
                fed += 1
            laboratory.now += rng.choice((0.01, 0.5, 2.0))
            laboratory.tick(0.0)
        told = [*at_once, *laboratory.late]
        while not told:  # silence: what waits is given up in time
            laboratory.tick(2.0)
            laboratory.sent.clear()
            told = laboratory.late
        assert len(told) == 1, (name, told)
        found[_checked(told[0], number, name)] += 1
        laboratory.late.clear()
        laboratory.log.clear()
        laboratory.sent.clear()
        laboratory.now += rng.choice((0.0, 3.0, 400.0))
    asking = laboratory.engine._asking
    assert (asking.waiting, len(asking._questions), len(asking._tries)) == (0, 0, 0)
    assert len(laboratory.engine._judge.cache) <= NAMES
    return found


def _checked(data: bytes, number: int, name: str) -> str:
    """What a client got, in a word; anything but an answer to its own question is an error."""
    assert data[:2] == number.to_bytes(2, "big"), data
    try:
        message = dns.message.from_wire(data)
    except dns.exception.DNSException:
        return "answer with odd record data"  # a damaged record of the right owner and type is passed on as it is
    assert str(message.question[0].name) == f"{name}.", data
    assert not any(str(one.name).lower().startswith(EVIL) for one in message.answer), data
    return f"{message.rcode().name}, {'records' if message.answer else 'none'}"
