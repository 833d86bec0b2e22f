"""The district's logo: a PNG image, taken apart and put together again so that only the picture remains.

Never SVG: it can hold scripts and addresses. Of a PNG only the chunks that make the picture are kept; text, profiles
and whatever hides behind the end are left out, and every kept chunk's checksum must hold.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from sqlmodel import Session

from portal import access, audit
from portal.access import Actor
from portal.errors import FieldError, Invalid
from portal.models.rules import Logo

MAX_BYTES = 200_000
MAX_SIDE = 2_000  # pixels
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


class BadImage(ValueError):
    """Bytes that are no PNG we would show. The message is a sentence for the person."""


def clean(data: bytes) -> bytes:
    """Return the same picture without anything else in the file. Raises `BadImage`."""
    if len(data) > MAX_BYTES:
        raise BadImage(f"this has {len(data):,} bytes; a logo has at most {MAX_BYTES:,}")
    if not data.startswith(_SIGNATURE):
        raise BadImage("this is not a PNG image; save the logo as PNG and try again")
    kept = [_SIGNATURE]
    at = len(_SIGNATURE)
    seen: list[bytes] = []
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        end = at + 12 + length
        if end > len(data):
            raise BadImage("this PNG ends in the middle")
        if kind in _KEPT:
            if struct.unpack_from(">I", data, end - 4)[0] != zlib.crc32(kind + body):
                raise BadImage("this PNG is damaged: a checksum does not hold")
            if not seen and (kind != b"IHDR" or length != 13):
                raise BadImage("this PNG does not begin with its size")
            kept.append(data[at:end])
            seen.append(kind)
        if kind == b"IEND":
            break
        at = end
    if not seen or seen[-1] != b"IEND" or b"IDAT" not in seen:
        raise BadImage("this PNG holds no whole picture")
    width, height = struct.unpack_from(">II", kept[1], 8)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadImage(f"this picture is {width} by {height} pixels; a side has at most {MAX_SIDE}")
    return b"".join(kept)


def set_logo(session: Session, actor: Actor, now: float, data: bytes) -> None:
    """Show this picture on every page; no bytes: the product's own again."""
    access.require(access.may_administer(actor), "Only an administrator changes the district's logo.")
    row = session.get(Logo, 1)
    if not data:
        if row is not None:
            session.delete(row)
        digest = ""
    else:
        try:
            png = clean(data)
        except BadImage as error:
            raise Invalid("The logo was not taken.", (FieldError("logo", str(error)),)) from None
        digest = hashlib.sha256(png).hexdigest()
        row = row or Logo(digest="", png=b"")
        row.digest, row.png = digest, png
        session.add(row)
    session.flush()
    audit.record(session, actor, int(now * 1000), "district.logo.update", "district:1", {"digest": digest})
