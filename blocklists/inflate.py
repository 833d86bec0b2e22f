"""gzip and zstd as streams that cannot grow beyond a limit, whatever a few kilobytes claim to hold.

Chunks in, chunks out; nothing is buffered but one piece. Errors:

    BadList
      BadEncoding   damaged, or in a coding that is not read here
        CutShort    ends before its end
      TooLarge      inflates beyond the limit
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import zstandard

from blocklists.formats.findings import BadList

GZIP = b"\x1f\x8b"
PIECE = 256 * 1024
# A zstd block of four bytes can hold 128 KiB, and its decoder has no limit on output: so many bytes are fed at once.
_ZSTD_SIP = 256
_ZSTD_WINDOW = 8 << 20  # bytes; what RFC 9659 lets a server use


class BadEncoding(BadList):
    """Compressed bytes that cannot be inflated."""


class CutShort(BadEncoding):
    """Compressed bytes whose end is missing."""


class TooLarge(BadList):
    """More bytes than are wanted."""


def gunzip(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The bytes of a gzip file of one or more members; raises `BadEncoding`, `CutShort` or `TooLarge`."""
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    size = 0
    for chunk in chunks:
        while chunk:
            if inflate.eof:
                if not chunk.strip(b"\0"):  # padding, as tapes have it
                    break
                inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            data = b" "
            while data and not inflate.eof:
                try:
                    data = inflate.decompress(chunk, PIECE)
                except zlib.error as error:
                    raise BadEncoding(f"these gzip data are damaged: {error}") from None
                size += len(data)
                if size > limit:
                    raise TooLarge(f"this inflates to more than {limit:,} bytes")
                if data:
                    yield data
                chunk = inflate.unconsumed_tail
            chunk = inflate.unused_data
    if not inflate.eof:
        raise CutShort("these gzip data are cut short")


def unzstd(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The bytes of a zstd file of one or more frames; raises like `gunzip`."""
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    inflate = decoder.decompressobj()
    size = 0
    for chunk in chunks:
        for at in range(0, len(chunk), _ZSTD_SIP):
            sip = chunk[at : at + _ZSTD_SIP]
            while sip:
                if inflate.eof:
                    inflate = decoder.decompressobj()
                try:
                    data: bytes = inflate.decompress(sip)
                except zstandard.ZstdError as error:
                    raise BadEncoding(f"these zstd data are damaged: {error}") from None
                size += len(data)
                if size > limit:
                    raise TooLarge(f"this inflates to more than {limit:,} bytes")
                if data:
                    yield data
                sip = inflate.unused_data if inflate.eof else b""
    if not inflate.eof:
        raise CutShort("these zstd data are cut short")
