"""The plain formats, one or more names to a line: hosts, domains, wildcard.

Comments begin with `#` anywhere, or with `!`, `;` or `//` at the start of a line or after a space.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from blocklists.formats.findings import (
    MAX_LINE,
    PLAIN_NAME,
    Excepted,
    Finding,
    Found,
    Rejected,
    clean,
    guarded,
    rejected,
)
from blocklists.names import MAX_NAME, BadName

# The whole of nearly every line of a hosts file and of a domain list.
_HOSTS_LINE = re.compile(rb"(?:0\.0\.0\.0|127\.0\.0\.1)[ \t]++(" + PLAIN_NAME + rb")[ \t]*+\Z")
_NAME_LINE = re.compile(rb"(?:\*\.)?(" + PLAIN_NAME + rb")\Z")
_COMMENT = re.compile(rb"(?:#|(?:^|\s)(?:[!;]|//)).*", re.DOTALL)

# What a computer's own hosts file says of the computer itself.
_LOCAL = frozenset(
    b"localhost localhost.localdomain localhost4 localhost6 local broadcasthost ip6-localhost ip6-loopback"
    b" ip6-localnet ip6-mcastprefix ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0".split()
)
TOO_LONG = f"this line is longer than {MAX_LINE} bytes"


def hosts(lines: Iterable[bytes]) -> Iterator[Finding]:
    """Lines of a hosts file: an address that leads nowhere, then names."""
    fast = _HOSTS_LINE.match
    for number, line in enumerate(lines, 1):
        if (plain := fast(line)) and len(name := plain[1]) <= MAX_NAME and b"localhost" not in name:
            try:
                yield Found(guarded(name.decode("ascii")))
            except BadName as bad:
                yield rejected(number, line, bad.reason)
        else:
            yield from hosts_line(number, line)


def hosts_line(number: int, line: bytes) -> Iterator[Finding]:
    """What one line says, whatever it looks like."""
    tokens = without_comment(line).split()
    if (fault := unreadable(line)) is not None:
        yield rejected(number, line, fault)
    elif not tokens:
        return
    elif not is_address(tokens[0]):
        yield rejected(number, line, "this does not begin with an address, as a line of a hosts file does")
    elif len(tokens) == 1:
        yield rejected(number, line, "this is an address without a name")
    else:
        wanted = [token for token in tokens[1:] if token.lower() not in _LOCAL]
        if wanted and not is_nowhere(tokens[0]):
            yield rejected(number, line, "this gives names an address; only 0.0.0.0, 127.0.0.1, :: and ::1 block them")
            return
        for token in wanted:
            yield listed(number, line, token)


def domains(lines: Iterable[bytes]) -> Iterator[Finding]:
    """One name to a line."""
    return _names(lines, wildcard=False)


def wildcard(lines: Iterable[bytes]) -> Iterator[Finding]:
    """One name to a line, with or without `*.` or `.` before it: both mean the name and everything below it."""
    return _names(lines, wildcard=True)


def _names(lines: Iterable[bytes], *, wildcard: bool) -> Iterator[Finding]:
    fast = _NAME_LINE.match
    for number, line in enumerate(lines, 1):
        plain = fast(line)
        if plain and len(name := plain[1]) <= MAX_NAME and (wildcard or line[:1] != b"*"):
            try:
                yield Found(guarded(name.decode("ascii")))
            except BadName as bad:
                yield rejected(number, line, bad.reason)
        elif (fault := unreadable(line)) is not None:
            yield rejected(number, line, fault)
        elif tokens := without_comment(line).split():
            yield from _name_line(number, line, tokens, wildcard)


def _name_line(number: int, line: bytes, tokens: list[bytes], wildcard: bool) -> Iterator[Finding]:
    token = tokens[0]
    if len(tokens) > 1:
        hint = "; is this a hosts file?" if is_address(token) else ""
        yield rejected(number, line, f"there is more than one word here{hint}")
    elif token.startswith((b"||", b"@@")):
        yield rejected(number, line, "this is a filter rule; is this an adblock list?")
    elif not wildcard and token.startswith((b"*", b".")):
        yield rejected(number, line, "this is a wildcard; is this a wildcard list?")
    else:
        yield listed(number, line, under(token) if wildcard else token)


def under(token: bytes) -> bytes:
    """Return `token` without the `*.` or `.` that stands for everything below it."""
    return token[2:] if token.startswith(b"*.") else token.removeprefix(b".")


def listed(number: int, line: bytes, token: bytes, *, excepted: bool = False) -> Found | Excepted | Rejected:
    """Return what `token`, the name in `line`, says: a name, an exception when `excepted`, or why it is neither."""
    try:
        name = clean(token)
    except BadName as bad:
        return rejected(number, line, bad.reason)
    return Excepted(name) if excepted else Found(name)


def unreadable(line: bytes) -> str | None:
    """Return why no format reads this line, or None."""
    if len(line) > MAX_LINE:
        return TOO_LONG
    return "there is a NUL byte in this line" if b"\0" in line else None


def without_comment(line: bytes) -> bytes:
    return _COMMENT.sub(b"", line, count=1)


def is_address(token: bytes) -> bool:
    try:
        ipaddress.ip_address(token.partition(b"%")[0].decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one
        return False
    return True


def is_nowhere(token: bytes) -> bool:
    """True for the addresses that lists write to say "nowhere": unspecified and loopback."""
    try:
        address = ipaddress.ip_address(token.decode("ascii"))
    except ValueError:
        return False
    return address.is_unspecified or address.is_loopback
