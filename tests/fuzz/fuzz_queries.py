"""`python -m tests.fuzz.run queries N`: N damaged questions through a whole engine, and what that does to memory.

All that this issue's duties read is in the seeds: cookies, client subnets, keepalive, two records behind the question;
every client's limit is on, and now and then a policy is installed or an answer comes from upstream.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import dns.edns

from blocklists import names
from deploy.endpoints import parse_forward
from deploy.local_records import parse_records
from resolver.engine.loops import Loops
from resolver.message.cookies import Cookies
from tests.fuzz.fuzz_wire import damage
from tests.resolver.laboratory import CONFIG, NOW, STAFF, STRANGER, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import ask, reply
from tests.support import grant

BATCH = 32
WARM = 10  # the tenth part of the run, after which memory is read for the first time
RECORDS = (
    "a.district.example CNAME b.district.example",
    "b.district.example A 10.0.0.1",
    'b.district.example HTTPS 1 . alpn="h2" ipv4hint=10.0.0.1',
    "c.district.example CNAME www.example.com",
    "facebook.com A 10.0.0.1",
)
CLIENTS = (STUDENT, STAFF, STRANGER, "fd00::7", "203.0.113.9")


def resident_mb() -> float:
    """Return this process's resident set, MB."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * 4096 / 1e6


def seeds() -> list[bytes]:
    """Well-made questions to damage."""
    whole = Cookies((), CONFIG.cookie_seed).make(b"12345678", b"\x0a\1\0\7", NOW)
    came_back = Loops(CONFIG.cookie_seed).name(0, b"", NOW)
    assert came_back is not None
    return [
        ask("www.facebook.com", use_edns=0),
        ask("www.example.com", "AAAA", use_edns=0, want_dnssec=True, payload=4096),
        ask("x" * 63 + ".example.com", "ANY"),
        ask("www.example.com", use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")]),
        ask("facebook.com", use_edns=0, options=[dns.edns.GenericOption(10, whole)]),
        ask("facebook.com", use_edns=0, options=[dns.edns.ECSOption("10.2.0.0", 16), dns.edns.GenericOption(11, b"")]),
        ask("www.example.com", use_edns=0, options=[dns.edns.GenericOption(65001, b"x" * 30)]),
        ask("a.district.example", use_edns=0),
        ask("b.district.example", "HTTPS"),
        ask("c.district.example", use_edns=0),
        ask("dc1.corp.example.com", "SRV", use_edns=0),
        ask(names.from_wire(came_back), "TXT"),
    ]


def run(count: int, seed: int = 0) -> Counter[str]:
    """Feed `count` questions; raise whatever is undeclared, and when memory has grown by more than 32 MB."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    snapshots = (make_snapshot_of(), make_snapshot_of(version=2, grants=(grant(1, "facebook.com"),)))
    laboratory = Laboratory(
        snapshots[0],
        rate_limit=500,
        rate_burst=1000,
        ecs_from=(f"{STAFF}/32",),
        cache_bytes=1 << 22,
        memo_entries=5_000,
        local=parse_records(RECORDS),
        forward=parse_forward({"corp.example.com": ["192.0.2.1", "192.0.2.2"]}),
        loop_check=60.0,
    )
    start = seeds()
    before = 0.0
    for at in range(0, count, BATCH):
        tcp = rng.random() < 0.2
        client = rng.choice(CLIENTS)
        batch = [damage(rng, rng.choice(start)) for _ in range(min(BATCH, count - at))]
        longest = max(map(len, batch))
        for answer in laboratory.feed(*batch, client=client, tcp=tcp, port=rng.choice((4000, 4000, 4000, 0))):
            assert tcp or len(answer) <= max(1232, longest + 35)
            found["answered"] += 1
        while laboratory.sent and rng.random() < 0.7:
            serial, _, message, _ = laboratory.sent.pop()
            try:
                data = reply(message, f"{'www.example.com.'} {rng.randrange(100)} A 192.0.2.1")
            except Exception:  # dnspython cannot read every name that we pass on
                data = message
            laboratory.raw_upstream(data, serial)
        found["answered late"] += len(laboratory.late)
        del laboratory.sent[:-100]
        laboratory.late.clear()
        laboratory.log.clear()
        laboratory.tick(rng.choice((0.0, 0.0, 0.001, 0.02)))
        if rng.random() < 0.0005:
            laboratory.engine.install(rng.choice(snapshots))
        if not before and at >= count // WARM:
            before = resident_mb()
    after = resident_mb()
    print(f"resident: {before:.1f} MB after a tenth, {after:.1f} MB at the end")
    assert after - before < 32
    found["limited"] = laboratory.engine.counters.limited
    found["dropped"] = laboratory.engine.counters.dropped
    return found
