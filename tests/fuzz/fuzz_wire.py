"""`python -m tests.fuzz.fuzz_wire N [SEED]`: N hostile queries and replies against the readers and a whole engine.

Ends with the number of inputs of each outcome, or with the input that raised something undeclared.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

from resolver.message.reply import read_reply
from resolver.message.wire import WireError, read_query
from tests.resolver.laboratory import Laboratory
from tests.resolver.messages import SOA, ask, reply

NAME = b"\x03www\x07example\x03com\0"


def seeds() -> list[bytes]:
    """Well-made messages to damage."""
    query = ask("www.example.com", use_edns=0)
    chain = ("www.example.com. 300 CNAME a.cdn.test.", "a.cdn.test. 60 A 192.0.2.1")
    return [
        query,
        ask("www.facebook.com", "AAAA", use_edns=0, want_dnssec=True, payload=4096),
        ask("x" * 63 + ".example.com", "ANY"),
        reply(query, *chain),
        reply(query, "bank.test. 5 A 192.0.2.6", *chain, authority=("example.com. 60 NS a.test.",)),
        reply(query, authority=(SOA,), rcode="NXDOMAIN"),
        reply(query, "www.example.com. 5 HTTPS 0 svc.test."),
        reply(query, "example.com. 300 DNAME other.test.", "www.example.com. 300 CNAME www.other.test."),
    ]


def damage(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with a few bytes changed, cut, doubled or made to point somewhere."""
    out = bytearray(data)
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(6):
            case 0:
                out[at : at + 1] = bytes((rng.randrange(256),))
            case 1:
                del out[at:]
            case 2:
                out[at:at] = out[at : at + rng.randint(1, 30)]
            case 3:
                out[at : at + 2] = (0xC000 | rng.randrange(len(out) + 20)).to_bytes(2, "big")
            case 4:
                out[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\0\x01", b"\x3f\x3f"))
            case _:
                out += rng.randbytes(rng.randint(1, 40))
    return bytes(out[:65_535])


def run(count: int, seed: int = 0) -> Counter[str]:
    """Feed `count` inputs; raise whatever is undeclared."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    laboratory = Laboratory()
    start = seeds()
    for number in range(count):
        data = damage(rng, rng.choice(start)) if number % 10 else rng.randbytes(rng.randrange(200))
        for title, reader in (
            ("query", lambda data=data: read_query(data)),
            ("reply", lambda data=data: read_reply(data, NAME, 1, True)),
        ):
            try:
                reader()
                found[f"{title} read"] += 1
            except WireError:
                found[f"{title} refused"] += 1
        for answer in laboratory.feed(data):
            assert len(answer) <= max(1232, len(data) + 11)
            found["engine answered"] += 1
        if laboratory.sent and number % 2:  # what stands behind a good seed's question, behind the one that waits
            question = laboratory.sent[-1][2][12:-11]
            data = data[:12] + question + data[12 + len(NAME) + 4 :]
        laboratory.feed_upstream(data)
        found["upstream answered"] += len(laboratory.late)
        laboratory.late.clear()
        laboratory.log.clear()
        laboratory.tick(0.01)
    return found


if __name__ == "__main__":
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for title, times in sorted(run(inputs, int(sys.argv[2]) if len(sys.argv) > 2 else 0).items()):
        print(f"{title:20} {times}")
