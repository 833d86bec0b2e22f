"""Bytes of lists in the database, in packed pieces: what people uploaded, and what several portals share.

An uploaded list stays here, so that every portal of this database and every backup has it. A fetched copy comes here
only where several portals may share the database: each builds from the same copies, whoever fetched them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import zstandard
from sqlalchemy import delete
from sqlmodel import Session, col, select

from portal.models.lists import ListCopy, UploadedList

PIECE = 4 << 20  # bytes, before they are packed

Table = type[UploadedList] | type[ListCopy]


def put(session: Session, table: Table, id: str, chunks: Iterable[bytes]) -> str:
    """Keep these bytes as those of list `id`, in place of others; return their SHA-256 in hex."""
    session.execute(delete(table).where(col(table.id) == id))
    packer = zstandard.ZstdCompressor(level=3)
    digest = hashlib.sha256()
    rows = []
    for number, piece in enumerate(_pieces(chunks)):
        digest.update(piece)
        rows.append(table(id=id, number=number, digest="", body=packer.compress(piece)))
    for row in rows:
        row.digest = digest.hexdigest()
    session.add_all(rows)
    session.flush()
    return digest.hexdigest()


def _pieces(chunks: Iterable[bytes]) -> Iterable[bytes]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= PIECE:
            yield bytes(held[:PIECE])
            del held[:PIECE]
    if held:
        yield bytes(held)


def digest(session: Session, table: Table, id: str) -> str:
    """Return the digest of what is kept for list `id`; empty: nothing is."""
    return session.exec(select(table.digest).where(col(table.id) == id).limit(1)).first() or ""


def write(session: Session, table: Table, id: str, path: Path) -> int:
    """Write what is kept for list `id` to `path`; return its size. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unpacker = zstandard.ZstdDecompressor()
    size = 0
    with path.open("wb") as file:
        for body in session.exec(select(table.body).where(col(table.id) == id).order_by(col(table.number))):
            size += file.write(unpacker.decompress(body, max_output_size=PIECE))
        file.flush()
    return size
