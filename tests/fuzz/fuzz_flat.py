"""Bytes against the reader of flat policies: `BadFlat`, or the very file that was made.

Two ways in, as for the base. A damaged file must be refused, unless the damage changed nothing. Damage to head, policy
or tables under a *right* digest (a mistake of the maker) must be refused or give a snapshot that answers; records and
trie are not damaged so, for the digest is what keeps such a file out.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter
from pathlib import Path

from blocklists.decide import decide, explain
from blocklists.flat import _HEAD, BadFlat, Flat, flatten
from blocklists.policy_codec import dump
from blocklists.snapshot import BadSnapshot, flat_snapshot, open_snapshot
from tests import support
from tests.fuzz.fuzz_snapshot import ASKED, BASE, MOMENTS
from tests.fuzz.mutation import damaged, damaged_json, feed

POLICY = support.make_rich_policy(BASE)
DATA = dump(POLICY)
DIGEST = hashlib.sha256(DATA).hexdigest()
GOOD = flatten(POLICY, DIGEST)
READ = open_snapshot(DATA, BASE)


def _sections() -> list[bytes]:
    at, found = _HEAD.size, []
    for size in _HEAD.unpack_from(GOOD)[2:]:
        found.append(GOOD[at : at + size])
        at += size + -size % 8
    return found


REST, TABLES, *OTHERS = _sections()


def structure(rng: random.Random) -> bytes:
    """A file with a right digest, and damage in head, policy or tables."""
    rest, tables, head = REST, TABLES, None
    match rng.randrange(5):
        case 0:
            rest = damaged_json(rng, rest)
        case 1:
            tables = damaged(rng, tables)
        case 2 | 3:
            tables = damaged_json(rng, tables)
        case _:
            head = damaged(rng, GOOD[: _HEAD.size])
    sections = (rest, tables, *OTHERS)
    head = head or _HEAD.pack(GOOD[:8], bytes.fromhex(DIGEST), *map(len, sections))
    body = head + b"".join(part + bytes(-len(part) % 8) for part in sections)
    return body + hashlib.sha256(body).digest()


def read_structure(data: bytes) -> str:
    try:
        snapshot = flat_snapshot(Flat(memoryview(data), DIGEST), DIGEST, BASE)
    except (BadFlat, BadSnapshot) as error:
        assert len(str(error)) < 3000
        return "structure refused"
    for rules in snapshot.by_group.values():
        for now in MOMENTS:
            for name in ASKED:
                assert explain(name, rules, now, frozenset({1})).verdict == decide(name, rules, now, frozenset({1}))
    return "structure read"


def run(count: int, seed: int = 0) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.flat"

        def read_file(data: bytes) -> str:
            path.write_bytes(data)
            try:
                snapshot = flat_snapshot(Flat.open(path, DIGEST), DIGEST, BASE)
            except BadFlat:
                return "file refused"
            assert data == GOOD
            for group, rules in READ.by_group.items():
                for name in ASKED:
                    assert decide(name, snapshot.rules(group), 7.5) == decide(name, rules, 7.5)
            return "file read"

        half = count // 2
        found = feed(half, lambda rng: damaged(rng, GOOD), read_file, seed)
        return found + feed(count - half, structure, read_structure, seed)
