"""Chunks of bytes to lines, bounded: a line never grows beyond `MAX_LINE`, whatever the file holds.

A longer line comes out cut, one byte over the limit, so that the formats can tell and reject it with its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blocklists.formats.findings import MAX_LINE

_BOM = b"\xef\xbb\xbf"


def split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file whose bytes come in `chunks`, cut anywhere, without the line's end (LF or CRLF).

    A UTF-8 byte order mark is dropped.
    """
    rest = b""
    for chunk in _marked(chunks):
        if b"\n" not in chunk:
            rest = (rest + chunk)[: MAX_LINE + 1] if len(rest) <= MAX_LINE else rest
            continue
        lines = chunk.split(b"\n")
        lines[0] = rest + lines[0]
        rest = lines.pop()[: MAX_LINE + 1]
        for line in lines:
            if line[-1:] == b"\r":
                line = line[:-1]
            yield line if len(line) <= MAX_LINE else line[: MAX_LINE + 1]
    if rest:
        yield rest.removesuffix(b"\r")


def _marked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes without a byte order mark, which the first chunks may cut through."""
    head = b""
    source = iter(chunks)
    for chunk in source:
        head += chunk
        if len(head) >= len(_BOM):
            break
    yield head.removeprefix(_BOM)
    yield from source
