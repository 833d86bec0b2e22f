"""A logo is a picture and nothing else."""

from __future__ import annotations

import struct
import zlib

import pytest

from portal.database import reading, transaction
from portal.errors import Forbidden, Invalid
from portal.models.rules import Logo
from portal.places import logo
from tests.portal.frontdesk import NOW, Desk


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int = 2, height: int = 2, *extra: bytes) -> bytes:
    rows = b"".join(b"\x00" + b"\x20\x60\xc0" * width for _ in range(height))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    picture = chunk(b"IHDR", size) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + picture


def test_what_is_not_the_picture_is_left_out() -> None:
    assert logo.clean(png(2, 2, chunk(b"tEXt", b"Comment\x00<script>")) + b"<html>hidden") == png()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<svg onload='x'/>", "not a PNG"),
        (png()[:-20], "in the middle|no whole"),
        (png().replace(b"IDAT", b"IDAU"), "no whole"),
        (png()[:50] + b"\x00" + png()[51:], "damaged|no whole|in the middle"),
        (png(3_000, 1), "a side has at most"),
        (png() + b"x" * logo.MAX_BYTES, "at most"),
    ],
)
def test_what_is_no_whole_small_picture_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(logo.BadImage, match=why):
        logo.clean(data)


def test_an_administrator_sets_the_logo_and_takes_it_away(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        logo.set_logo(session, desk.amir, NOW, png())
    with reading(desk.engine) as session:
        row = session.get(Logo, 1)
        assert row is not None and row.png == png()
    with transaction(desk.engine) as session:
        logo.set_logo(session, desk.amir, NOW, b"")
    with reading(desk.engine) as session:
        assert session.get(Logo, 1) is None
    with pytest.raises(Forbidden), transaction(desk.engine) as session:
        logo.set_logo(session, desk.rosa, NOW, png())
    with pytest.raises(Invalid), transaction(desk.engine) as session:
        logo.set_logo(session, desk.amir, NOW, b"GIF89a")
