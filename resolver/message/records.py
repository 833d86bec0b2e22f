"""The records of an answer one by one, names whole; and a body written from such records.

For the answers that are changed on their way: the usual one is spliced as the bytes it came in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resolver.message import reply, wire
from resolver.message.answers import Answer


@dataclass(frozen=True, slots=True)
class Record:
    """One record of class IN. `owner` is a lower-cased wire name; names within `rdata` are whole."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes


def of(answer: Answer, name: bytes) -> list[Record]:
    """Return the records of `answer` to the question for the lower-cased wire `name`, ANSWER before AUTHORITY, each
    with its TTL when stored."""
    data = bytes(wire.HEAD) + name + bytes(4) + answer.body
    found, _ = reply.read_records(data, wire.HEAD + len(name) + 4, answer.answers + answer.authority, name)
    return [
        Record(owner, rtype, ttl, reply.decompressed(data, rtype, rdata, end))
        for (owner, rtype, _, _, _, rdata, end), (_, ttl) in zip(found, answer.ttls, strict=True)
    ]


def written(records: Iterable[Record], name: bytes) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """Return the body that holds `records` behind a question for `name`, and where the TTLs are in it."""
    parts: list[bytes] = []
    ttls: list[tuple[int, int]] = []
    size = 0
    for record in records:
        owner = b"\xc0\x0c" if record.owner == name else record.owner
        head = record.rtype.to_bytes(2, "big") + b"\0\1" + record.ttl.to_bytes(4, "big")
        ttls.append((size + len(owner) + 4, record.ttl))
        part = owner + head + len(record.rdata).to_bytes(2, "big") + record.rdata
        parts.append(part)
        size += len(part)
    return b"".join(parts), tuple(ttls)
