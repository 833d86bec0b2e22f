"""What a file is, by its first bytes: a list of some format, or something that is no list and is refused by name.

A captive portal or an error page in place of a list would be "a list with no names": it has to be an error instead.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from enum import StrEnum

from blocklists.formats.findings import BadList
from blocklists.formats.plain import is_address, without_comment
from blocklists.inflate import GZIP

HEAD = 64 * 1024  # bytes that decide


class Format(StrEnum):
    HOSTS = "hosts"
    DOMAINS = "domains"
    WILDCARD = "wildcard"
    ADBLOCK = "adblock"
    DNSMASQ = "dnsmasq"
    RPZ = "rpz"
    V2FLY = "v2fly"
    UT1 = "ut1"  # a tar, or tar.gz, of folders with a `domains` file each


_PAGE = re.compile(
    rb"\s*(?:<!doctype\s+html|<html|<head|<body|<script|<meta|<title|<center|<!--.*?<html)", re.IGNORECASE | re.DOTALL
)
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{0,300})", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_OTHERS = (
    (b"<", "XML or a web page"),
    (b"{", "JSON"),
    (b"[{", "JSON"),
    (b'["', "JSON"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
)

# The first that a line matches counts for its format; the order settles what two formats could both mean.
_SIGNS = (
    (Format.RPZ, re.compile(rb"\$(?:TTL|ORIGIN)\s|\S*\s+(?:\S+\s+){0,2}(?:CNAME|SOA|NS)\s+\S", re.IGNORECASE)),
    (Format.DNSMASQ, re.compile(rb"(?:address|server|local)\s*=\s*/")),
    (Format.ADBLOCK, re.compile(rb"(?:@@)?\|\||\[Adblock|.*#@?#", re.IGNORECASE)),
    (Format.V2FLY, re.compile(rb"(?:domain|full|include|keyword|regexp):|\S+\s+@")),
    (Format.WILDCARD, re.compile(rb"(?:\*\.|\.)[^\s/]+\Z")),
    (Format.DOMAINS, re.compile(rb"[^\s/:|*=$^]+\.[^\s/:|*=$^]+\Z")),
)


def refuse_strangers(head: bytes) -> None:
    """Return when `head`, the first bytes of a file, may begin a list; raise `BadList` naming what it is instead."""
    if head.startswith(GZIP) or is_tar(head):
        return
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadList("this is UTF-16 text; a list is UTF-8")
    start = head.removeprefix(_BOM).lstrip()
    if _PAGE.match(start[:4096]):
        title = _TITLE.search(start[:HEAD])
        named = ""
        if title is not None and (text := " ".join(html.unescape(title[1].decode("utf-8", "replace")).split())):
            named = f", titled “{text[:80]}”"
        raise BadList(f"this is a web page{named}, not a list; is a sign-in page in the way, or has the list moved?")
    for magic, what in _OTHERS:
        if start.startswith(magic):
            raise BadList(f"this is {what}, not a list")
    if start.count(b"\0") * 20 > len(start):
        raise BadList("this is a binary file, not a list")


def is_tar(head: bytes) -> bool:
    """True for a tar archive that is not compressed (POSIX.1-1988 ustar, and GNU's)."""
    return head[257:262] == b"ustar"


def detect(head: bytes) -> Format:
    """Return the format of a list by its first bytes; raise `BadList` when it is no list or its format is not clear."""
    refuse_strangers(head)
    if head.startswith(GZIP) or is_tar(head):
        return Format.UT1
    lines = head.removeprefix(_BOM)[:HEAD].split(b"\n")
    if len(lines) > 1 and len(head) >= HEAD:
        lines.pop()  # cut through
    votes: Counter[Format] = Counter()
    for line in lines:
        if (sign := _sign(line[:1024])) is not None:
            votes[sign] += 1
    if not votes:
        raise BadList("nothing here looks like a list; say its format if it is one")
    if votes[Format.V2FLY] and votes[Format.V2FLY] + votes[Format.DOMAINS] == votes.total():
        return Format.V2FLY  # bare names are its entries too
    if votes[Format.WILDCARD] and votes[Format.WILDCARD] + votes[Format.DOMAINS] == votes.total():
        return Format.WILDCARD
    found, count = votes.most_common(1)[0]
    if count * 2 < votes.total():
        raise BadList("the lines here are of several formats; say which one it is")
    return found


def _sign(line: bytes) -> Format | None:
    bare = line.strip()
    if bare.startswith((b"!", b"#")) and not bare.startswith((b"##", b"#@#")):
        return None
    for format, sign in _SIGNS[:3]:
        if sign.match(bare):
            return format
    tokens = without_comment(bare).split()
    if not tokens:
        return None
    if len(tokens) > 1 and is_address(tokens[0]):
        return Format.HOSTS
    bare = b" ".join(tokens)
    return next((format for format, sign in _SIGNS[3:] if sign.match(bare)), None)
