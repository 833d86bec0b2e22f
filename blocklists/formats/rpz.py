"""Response policy zones (draft-vixie-dnsop-dns-rpz): a zone file whose records say what to do with a name.

`CNAME .` (NXDOMAIN), `CNAME *.` (NODATA) and `CNAME rpz-drop.` block; `CNAME rpz-passthru.` excepts; addresses that
lead nowhere block. Other local data rewrites, and triggers by address or name server are not about names: rejected.

Owners are relative to the zone: `facebook.com` in zone `rpz.example.` stands for facebook.com. The zone's name is the
owner of its SOA, or `$ORIGIN`; a file without either has only relative owners, and an absolute one is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from blocklists.formats.findings import PLAIN_NAME, Excepted, Finding, Found, guarded, rejected
from blocklists.formats.plain import is_nowhere, listed, under, unreadable
from blocklists.names import MAX_NAME, BadName

_FAST = re.compile(
    rb"(?:\*\.)?(" + PLAIN_NAME + rb")[ \t]++(?:(?:[0-9]{1,9}|IN)[ \t]++){0,2}CNAME[ \t]++\*?\.[ \t]*+\Z"
)
_TTL = re.compile(rb"(?:[0-9]++[smhdw]?+)++\Z", re.IGNORECASE)
_TYPE = re.compile(rb"[A-Z][A-Z0-9-]*\Z")
_QUOTED = re.compile(rb'"[^"]*"')
_TRIGGERS = (b"rpz-ip", b"rpz-nsip", b"rpz-client-ip", b"rpz-nsdname")
_APEX = b"@"  # stands for the zone's name as long as the file has not told it
_MAX_OPEN = 64  # lines in one pair of parentheses; a SOA needs seven


def rpz(lines: Iterable[bytes]) -> Iterator[Finding]:
    """Records of a response policy zone."""
    zone = _Zone()
    fast = _FAST.match
    last = ""
    for number, line in enumerate(lines, 1):
        if zone.is_flat and (plain := fast(line)) and len(name := plain[1]) <= MAX_NAME and b"rpz-" not in name:
            zone.owner = name + b"." + zone.origin
            text = name.decode("ascii")
            if text == last:  # `*.name` after `name`: said already
                continue
            last = text
            try:
                yield Found(guarded(text))
            except BadName as bad:
                yield rejected(number, line, bad.reason)
        elif (fault := unreadable(line)) is not None:
            yield rejected(number, line, fault)
        else:
            for finding in zone.line(number, line):
                if isinstance(finding, Found):
                    if finding.name == last:
                        continue
                    last = finding.name
                yield finding
    yield from zone.end()


class _Zone:
    """Where the reader stands in a zone file: origin, last owner, open parentheses. One line at a time."""

    def __init__(self) -> None:
        self.origin = _APEX
        self.apex = _APEX
        self.owner = b""
        self._open = 0  # lines since an unclosed parenthesis
        self._joined = b""
        self._began = 0

    @property
    def is_flat(self) -> bool:
        """True while owners need no origin to be understood: the usual file."""
        return self.origin == self.apex and not self._open

    def line(self, number: int, line: bytes) -> Iterator[Finding]:
        text = _without_comment(line)
        if self._open:
            text = self._joined + b" " + text.strip()
            number = self._began
        bare = _QUOTED.sub(b"", text)
        if bare.count(b"(") > bare.count(b")"):
            if not self._open:
                self._began = number
            self._open += 1
            self._joined = text
            if self._open > _MAX_OPEN or unreadable(text) is not None:
                yield from self.end()
            return
        self._open = 0
        tokens = text.replace(b"(", b" ").replace(b")", b" ").split()
        if not tokens:
            return
        if tokens[0].startswith(b"$"):
            yield from self._directive(number, text, tokens)
            return
        if text[:1] not in b" \t":
            self.owner = self._absolute(tokens.pop(0))
        while tokens and (_TTL.match(tokens[0]) or tokens[0].upper() in (b"IN", b"CH", b"HS")):
            tokens.pop(0)
        if not tokens or not self.owner or not _TYPE.match(kind := tokens[0].upper()):
            yield rejected(number, text, "this is not a record of a zone: owner, type, value")
            return
        yield from self._record(number, text, kind, tokens[1:])

    def end(self) -> Iterator[Finding]:
        """What is left to say when no line follows, or when the lines within parentheses have become too many."""
        if self._open:
            self._open = 0
            yield rejected(self._began, self._joined, "a parenthesis opens here and is not closed")

    def _directive(self, number: int, text: bytes, tokens: list[bytes]) -> Iterator[Finding]:
        kind = tokens[0].upper()
        if kind == b"$ORIGIN" and len(tokens) == 2:
            self.origin = self._absolute(tokens[1])
            if self.apex == _APEX and tokens[1].endswith(b"."):
                self.apex = self.origin
        elif kind != b"$TTL":
            yield rejected(number, text, "of the $ directives only $TTL and $ORIGIN are read")

    def _absolute(self, owner: bytes) -> bytes:
        """Return the owner from the root down without its final dot; `@` ends one whose zone has no name yet."""
        if owner == b"@":
            return self.origin
        if owner.endswith(b"."):
            return owner[:-1].lower()
        return owner.lower() + b"." + self.origin

    def _record(self, number: int, text: bytes, kind: bytes, value: list[bytes]) -> Iterator[Finding]:
        if kind == b"SOA":
            if self.origin == _APEX and not self.owner.endswith(_APEX):
                self.origin = self.owner
            self.apex = self.owner
            return
        if self.owner == self.apex:
            if kind not in (b"NS", b"TXT"):
                yield rejected(number, text, "this record is about the zone itself")
            return
        apex = b"." + self.apex
        if not self.owner.endswith(apex):
            yield rejected(number, text, "this owner is outside the zone, or the zone has not said its name ($ORIGIN)")
            return
        name = self.owner.removesuffix(apex)
        if name.rpartition(b".")[2] in _TRIGGERS:
            yield rejected(number, text, "this is about addresses or name servers, not about a name")
            return
        action = self._action(name, kind, value)
        if isinstance(action, str):
            yield rejected(number, text, action)
        else:
            yield listed(number, text, under(name), excepted=action is Excepted)

    def _action(self, name: bytes, kind: bytes, value: list[bytes]) -> type[Found] | type[Excepted] | str:
        """Return what the record does with its name, or why it is neither a block nor an exception."""
        target = value[0].lower() if len(value) == 1 else b""
        if kind in (b"A", b"AAAA") and is_nowhere(target):
            return Found
        if kind != b"CNAME":
            return "local data gives another answer; that is not a block"
        if target in (b".", b"*.", b"rpz-drop."):
            return Found
        if target == b"rpz-passthru." or target == name + b".":  # the second is how it was once written
            return Excepted
        return "this CNAME leads somewhere else; that is not a block"


def _without_comment(line: bytes) -> bytes:
    if line.lstrip().startswith(b"#"):  # no comment in a zone file, but meant as one where it stands
        return b""
    if b";" not in line:
        return line
    parts = line.split(b'"')  # every second part is within quotes
    for at in range(0, len(parts), 2):
        before, semicolon, _ = parts[at].partition(b";")
        if semicolon:
            return b'"'.join((*parts[:at], before))
    return line
