"""dnsmasq configuration: `address=/name/`, `server=/name/`, `local=/name/`, with one or more names.

An address that leads nowhere, or none, blocks. `server=/name/#` sends a name to the usual servers: an exception. What
gives a name another address or another server is no block, and is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from blocklists.formats.findings import PLAIN_NAME, Finding, Found, guarded, rejected
from blocklists.formats.plain import is_nowhere, listed, under, unreadable
from blocklists.names import MAX_NAME, BadName

_FAST = re.compile(
    rb"(?:address=/("
    + PLAIN_NAME
    + rb")/(?:0\.0\.0\.0|#|::|127\.0\.0\.1)?|(?:local|server)=/("
    + PLAIN_NAME
    + rb")/)\Z"
)
_OPTION = re.compile(rb"(address|server|local)\s*=\s*/(.+)/([^/]*)\Z")


def dnsmasq(lines: Iterable[bytes]) -> Iterator[Finding]:
    """Options of a dnsmasq configuration that block names or except them."""
    fast = _FAST.match
    for number, line in enumerate(lines, 1):
        if (plain := fast(line)) and len(name := plain[1] or plain[2]) <= MAX_NAME:
            try:
                yield Found(guarded(name.decode("ascii")))
            except BadName as bad:
                yield rejected(number, line, bad.reason)
        elif (fault := unreadable(line)) is not None:
            yield rejected(number, line, fault)
        else:
            yield from _line(number, line)


def _line(number: int, line: bytes) -> Iterator[Finding]:
    text = re.sub(rb"(?:^|\s)#.*\Z", b"", line).strip()  # after a slash, # is a value
    if not text:
        return
    option = _OPTION.match(text)
    if option is None:
        yield rejected(number, line, "only address=/name/, server=/name/ and local=/name/ are about names to block")
        return
    kind, joined, target = option[1], option[2], option[3].strip()
    excepted = kind == b"server" and target == b"#"
    if kind == b"address" and target not in (b"", b"#") and not is_nowhere(target):
        yield rejected(number, line, "this gives names an address; only 0.0.0.0, 127.0.0.1, :: and ::1 block them")
        return
    if kind != b"address" and target and not excepted:
        yield rejected(number, line, "this sends names to another server, which does not block them")
        return
    for name in joined.split(b"/"):
        if name == b"#":
            yield rejected(number, line, "# stands for every name there is")
        else:
            yield listed(number, line, under(name), excepted=excepted)
