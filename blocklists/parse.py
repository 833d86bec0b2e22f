"""A list's bytes to names: one door for every format.

Bytes go in as chunks cut anywhere; `Found`, `Excepted` and `Rejected` come out one by one, in the order of the file, so
memory does not follow the list's size. Never guesses: what DNS cannot carry, or what could mean two things, is rejected
with its line and a reason. What is no list at all (a web page, say) is `BadList`, before any name.

    intake = Intake(parse(chunks))
    source = Source(..., names=intake.names(), exceptions=intake.exceptions)   # filled once the names are through
    intake.parsed()                                                            # what pages and guards want to know
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blocklists.formats.adblock import adblock
from blocklists.formats.archive import collection, inflated, ut1
from blocklists.formats.detect import HEAD, Format, detect, is_tar, refuse_strangers
from blocklists.formats.dnsmasq import dnsmasq
from blocklists.formats.findings import BadList, Excepted, Finding, Found, Rejected
from blocklists.formats.lines import split
from blocklists.formats.plain import domains, hosts, wildcard
from blocklists.formats.rpz import rpz
from blocklists.formats.v2fly import Include, v2fly
from blocklists.inflate import GZIP

EXAMPLES = 100  # rejected lines that are kept to be shown
_CHUNK = 256 * 1024
_COLLECTION_FOLDER = "data"
_COLLECTION_LIMIT = 64 << 20

_LINES: Mapping[Format, Callable[[Iterable[bytes]], Iterator[Finding]]] = {
    Format.HOSTS: hosts,
    Format.DOMAINS: domains,
    Format.WILDCARD: wildcard,
    Format.ADBLOCK: adblock,
    Format.DNSMASQ: dnsmasq,
    Format.RPZ: rpz,
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one reading of a list gave. `found` counts listings, repetitions included."""

    found: int
    excepted: int
    rejected: int
    examples: tuple[Rejected, ...]  # the first of the rejected


def parse(
    chunks: Iterable[bytes],
    format: Format | None = None,
    *,
    include: Include | None = None,
    member: str | None = None,
) -> Iterator[Finding]:
    """Yield what the list says. `format` None: told by its first bytes. A gzip file is inflated, within bounds.

    For v2fly, `include` gives the lines of an included file; or the bytes are the whole collection's archive, and
    `member` the file of it that is meant. Raises `BadList`, usually before the first finding.
    """
    head, rest = _peek(chunks)
    if format is None:
        format = detect(head)
    if format is Format.UT1:
        refuse_strangers(head)
        yield from ut1(rest)
        return
    if format is Format.V2FLY and member is not None:
        refuse_strangers(head)
        files = collection(rest, _COLLECTION_FOLDER, _COLLECTION_LIMIT)
        if member not in files:
            raise BadList(f"there is no file {member!r} in this collection")
        yield from v2fly(split((files[member],)), lambda name: _file(files, name), member)
        return
    if head.startswith(GZIP):
        head, rest = _peek(inflated(rest))
    refuse_strangers(head)
    if is_tar(head):
        raise BadList(f"this is an archive; a {format} list is one file. Is it a ut1 list?")
    if format is Format.V2FLY:
        yield from v2fly(split(rest), include)
    else:
        yield from _LINES[format](split(rest))


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of the file at `path`. Raises `OSError`."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


class Intake:
    """Names on their way out of a parse; the rest of what it said is kept here. One reading, by one reader."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._findings = findings
        self._found = 0
        self._rejected = 0
        self._examples: list[Rejected] = []
        self.exceptions: list[str] = []

    def names(self) -> Iterator[str]:
        """Yield the listed names. Raises `BadList`."""
        for finding in self._findings:
            if type(finding) is Found:
                self._found += 1
                yield finding.name
            elif isinstance(finding, Excepted):
                self.exceptions.append(finding.name)
            elif isinstance(finding, Rejected):
                self._rejected += 1
                if len(self._examples) < EXAMPLES:
                    self._examples.append(finding)

    def parsed(self) -> Parsed:
        """Return what has been met so far: everything, once `names` is through."""
        return Parsed(self._found, len(self.exceptions), self._rejected, tuple(self._examples))


def summarise(findings: Iterable[Finding]) -> Parsed:
    """Return what a whole list says in numbers. Raises `BadList`."""
    intake = Intake(findings)
    for _ in intake.names():
        pass
    return intake.parsed()


def _file(files: Mapping[str, bytes], name: str) -> Iterator[bytes] | None:
    return split((files[name],)) if name in files else None


def _peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes (about `HEAD`, or all that there are) and an iterator over all bytes, these included."""
    source = iter(chunks)
    held: list[bytes] = []
    size = 0
    for chunk in source:
        held.append(chunk)
        size += len(chunk)
        if size >= HEAD:
            break
    return b"".join(held)[:HEAD], _all(held, source)


def _all(held: list[bytes], source: Iterator[bytes]) -> Iterator[bytes]:
    yield from held
    held.clear()
    yield from source
