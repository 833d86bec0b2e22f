"""Hostile HTTPS and SVCB answers through a whole engine. What a client gets is read by dnspython: no `ech` is in it, no
private address, no hint of a name that is answered as another one, and no blocked target.
"""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from dataclasses import replace

import dns.exception
import dns.message
import dns.rdtypes.svcbbase
from dns.rdtypes.svcbbase import ParamKey

from blocklists import names
from blocklists.policy import Answering
from resolver.message import wire
from tests.fuzz.fuzz_wire import damage
from tests.resolver.laboratory import Laboratory, make_snapshot_of
from tests.resolver.messages import ask
from tests.support import group

REWRITTEN, BLOCKED = "www.bing.com", "edge.facebook.com"
TARGETS = (".", ".", "svc.test", "a.svc.test", REWRITTEN, BLOCKED)
PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7")))
VALUES = {
    ParamKey.MANDATORY: (b"\0\x01", b"\0\x04\0\x05", b"\0\x05", b""),
    ParamKey.ALPN: (b"\x02h2", b"\x02h3\x02h2", b"\x09h"),
    ParamKey.NO_DEFAULT_ALPN: (b"",),
    ParamKey.PORT: (b"\x01\xbb", b"\x01"),
    ParamKey.IPV4HINT: (b"\xc6\x33\x64\x01", b"\x0a\0\0\x01", b"\xc6\x33\x64\x01\xc0\xa8\0\x01", b"\x0a\0\0"),
    ParamKey.ECH: (b"\0\x02\xfe\x0d", b""),
    ParamKey.IPV6HINT: (bytes.fromhex("20010db8") + bytes(12), b"\xfd" + bytes(15), b"\xfd"),
    7: (b"/dns-query{?dns}",),
    65_280: (b"x" * 40,),
}


def rdata(rng: random.Random, target: str) -> bytes:
    keys = rng.sample(list(VALUES), rng.randrange(len(VALUES)))
    if rng.randrange(8):
        keys.sort()
    if keys and not rng.randrange(12):
        keys.append(keys[-1])
    values = [(key, rng.choice(VALUES[key])) for key in keys]
    params = b"".join(int(key).to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for key, value in values)
    name = b"\0" if target == "." else names.to_wire(target)
    whole = rng.choice((0, 1, 1, 1, 2)).to_bytes(2, "big") + name + params
    return damage(rng, whole) if not rng.randrange(3) else whole


def answer(rng: random.Random, query: bytes, qtype: int) -> bytes:
    """Upstream's reply: some records, now and then behind an alias, now and then damaged as a whole."""
    end = query.index(b"\0", 12) + 5
    records = [rdata(rng, rng.choice(TARGETS)) for _ in range(rng.randint(1, 3))]
    head = qtype.to_bytes(2, "big") + b"\0\1" + (300).to_bytes(4, "big")
    body = b"".join(b"\xc0\x0c" + head + len(one).to_bytes(2, "big") + one for one in records)
    data = query[:2] + b"\x81\x80\0\1" + len(records).to_bytes(2, "big") + bytes(4) + query[12:end] + body
    return data[:end] + damage(rng, data[end:]) if not rng.randrange(8) else data


def run(count: int, seed: int = 0) -> Counter[str]:
    """Let `count` hostile answers come; raise whatever is undeclared or slips through."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    everybody = replace(group(networks=("10.0.0.0/8",)), safe_search=True)
    laboratory = Laboratory(make_snapshot_of(groups=(everybody,), answering=Answering(strip_ech=True)))
    for number in range(count):
        qtype = rng.choice((wire.HTTPS, wire.SVCB))
        name = f"n{number}.test"
        told = laboratory.feed(ask(name, wire_name(qtype), use_edns=0, id=number & 0xFFFF), tcp=True)
        while laboratory.sent:
            serial, _, query, _ = laboratory.sent.pop()
            laboratory.raw_upstream(answer(rng, query, qtype), serial)
        while not (told := told or laboratory.late):
            laboratory.tick(2.0)
            laboratory.sent.clear()
        found[_checked(told[0], qtype)] += 1
        laboratory.late.clear()
        laboratory.log.clear()
        laboratory.now += 1.0
    return found


def wire_name(qtype: int) -> str:
    return "HTTPS" if qtype == wire.HTTPS else "SVCB"


def _checked(data: bytes, qtype: int) -> str:
    """What a client got, in a word; an assertion for what must not be there."""
    try:
        message = dns.message.from_wire(data)
    except dns.exception.DNSException:
        return "answer with odd record data"
    bindings = [one for rrset in message.answer if rrset.rdtype == qtype for one in rrset]
    for one in bindings:
        assert isinstance(one, dns.rdtypes.svcbbase.SVCBBase)
        target = str(one.target).lower().rstrip(".")
        assert target != BLOCKED, data
        assert ParamKey.ECH not in one.params, data
        for key in (ParamKey.IPV4HINT, ParamKey.IPV6HINT):
            hints = getattr(one.params.get(key), "addresses", ())
            assert not hints or target != REWRITTEN, data
            addresses = [ipaddress.ip_address(text) for text in hints]
            assert not any(address in network for address in addresses for network in PRIVATE), data
        if one.priority == 0:
            assert not one.params, data
        mandatory = one.params.get(ParamKey.MANDATORY)
        assert mandatory is None or all(key in one.params for key in mandatory.keys), data
    return f"{message.rcode().name}, {'records' if bindings else 'none'}"
