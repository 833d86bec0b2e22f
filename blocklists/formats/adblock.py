"""The part of adblock syntax that DNS can carry: `||name^` and `@@||name^`.

`$important` and `$all` change nothing for DNS and are accepted; every other modifier narrows a rule to pages, types or
clients that DNS does not see, so the rule is rejected, never widened. Lines of hosts form, which DNS filter lists mix
in, are read as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from blocklists.formats.findings import PLAIN_NAME, Finding, Found, guarded, rejected
from blocklists.formats.plain import hosts_line, is_address, listed, under, unreadable
from blocklists.names import MAX_NAME, BadName

_FAST = re.compile(rb"\|\|(" + PLAIN_NAME + rb")\^\Z")
_RULE = re.compile(rb"(@@)?\|\|([^|^$/]+)(\^?)(\|?)(?:\$(.*))?\Z")
_COSMETIC = re.compile(rb"#@?[?$%]*#|\$\$|\$@\$")
_HARMLESS = frozenset((b"important", b"all"))


def adblock(lines: Iterable[bytes]) -> Iterator[Finding]:
    """Rules of an adblock list, as far as they are about whole names."""
    fast = _FAST.match
    for number, line in enumerate(lines, 1):
        if (plain := fast(line)) and len(name := plain[1]) <= MAX_NAME:
            try:
                yield Found(guarded(name.decode("ascii")))
            except BadName as bad:
                yield rejected(number, line, bad.reason)
        elif (fault := unreadable(line)) is not None:
            yield rejected(number, line, fault)
        else:
            yield from _line(number, line)


def _line(number: int, line: bytes) -> Iterator[Finding]:
    rule = line.strip()
    if not rule or rule.startswith(b"!") or (rule.startswith(b"[") and rule.endswith(b"]")):
        return
    if _COSMETIC.search(rule):
        yield rejected(number, line, "this rule hides parts of pages; DNS carries names only")
        return
    if rule.startswith(b"#"):
        return
    if is_address(rule.split()[0]):
        yield from hosts_line(number, line)
        return
    found = _RULE.match(re.sub(rb"\s+[#!].*\Z", b"", rule))
    if found is None:
        yield rejected(number, line, _why_not(rule))
        return
    exception, name, end, _, modifiers = found.groups()
    for modifier in modifiers.split(b",") if modifiers is not None else ():
        if modifier.strip() not in _HARMLESS:
            shown = modifier[:40].decode("utf-8", "replace")
            yield rejected(number, line, f"DNS cannot carry the modifier {shown!r}")
            return
    if not end:
        yield rejected(number, line, "without a ^ at its end this rule matches parts of names")
        return
    yield listed(number, line, under(name), excepted=exception is not None)


def _why_not(rule: bytes) -> str:
    body = rule.removeprefix(b"@@")
    if (body.startswith(b"/") and body.rpartition(b"$")[0].endswith(b"/")) or (body[:1] == body[-1:] == b"/"):
        return "this is a regular expression; DNS carries names only"
    if b"/" in body or b"://" in body:
        return "this rule is about addresses of pages; DNS carries names only"
    return "this rule matches parts of addresses; a whole name is written ||name^"
