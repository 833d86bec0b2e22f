"""Bytes against the base reader: `BadBase`, or the very file that was asked for.

Two ways in. A damaged file under the old digest must always be refused. Damage before the trie under a *right* digest
(a mistake of the compiler) must be refused or give a base that answers; the trie itself is not damaged so, for marisa
does not survive that, and the digest of the whole file is what keeps such a file out.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter
from pathlib import Path

from blocklists.base import BadBase, Base, ListKind
from blocklists.compile import compile_base
from tests.fuzz.mutation import damaged, damaged_json, feed
from tests.support import open_base, source

GOOD = compile_base(
    [
        source("seed", "social-media", ["facebook.com", "www.x.com", "x.com", "t.co"]),
        source("youtube", "social-media", ["youtube.com", "!accounts.youtube.com"], ListKind.SERVICE),
    ]
)
DIGEST = hashlib.sha256(GOOD).hexdigest()
ASKED = ("", "com", "www.facebook.com", "a.accounts.youtube.com", "t.co", "no.example")
_SIZES = (8, 12, 16)  # where the head counts manifest, values and trie


def _sections(data: bytes) -> list[bytes]:
    at, found = 24, []
    for place in _SIZES:
        size = int.from_bytes(data[place : place + 4], "little")
        found.append(data[at : at + size])
        at += size + -size % 8
    return found


MANIFEST, VALUES, TRIE = _sections(GOOD)


def structure(rng: random.Random) -> bytes:
    """A whole file with damage in head, manifest or values."""
    manifest, values = MANIFEST, VALUES
    match rng.randrange(5):
        case 0:
            manifest = damaged(rng, manifest)
        case 1 | 2:
            manifest = damaged_json(rng, manifest)
        case 3:
            values = damaged(rng, values)
        case _:
            return damaged(rng, GOOD[:24]) + GOOD[24:]
    head = GOOD[:8] + b"".join(len(part).to_bytes(4, "little") for part in (manifest, values, TRIE)) + bytes(4)
    return head + b"".join(part + bytes(-len(part) % 8) for part in (manifest, values, TRIE))


def read_structure(data: bytes) -> str:
    try:
        base = open_base(data)
    except BadBase as error:
        assert len(str(error)) < 3000
        return "structure refused"
    for name in ASKED:
        for listing in base.listings(name):
            assert name.endswith(listing.entry) and base.lists[listing.list]
    return "structure read"


def run(count: int, seed: int = 0) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base"

        def read_file(data: bytes) -> str:
            path.write_bytes(data)
            try:
                base = Base.open(path, DIGEST)
            except BadBase:
                return "file refused"
            assert data == GOOD
            assert base.listings("facebook.com")
            return "file read"

        half = count // 2
        found = feed(half, lambda rng: damaged(rng, GOOD), read_file, seed)
        return found + feed(count - half, structure, read_structure, seed)
