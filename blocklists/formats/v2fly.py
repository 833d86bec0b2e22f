"""The text of v2fly's domain-list-community: one file per service or category, files including files.

`domain:name`, a bare name and `full:name` list a name; `keyword:` and `regexp:` match parts of names, which DNS
cannot carry. Attributes (`@ads`) choose what an `include:file @ads @-cn` takes; `&file` names another file that takes
the entry too, and is that file's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from blocklists.formats.findings import Finding, Rejected, rejected
from blocklists.formats.plain import listed, unreadable

Include = Callable[[str], Iterable[bytes] | None]
"""Gives the lines of a file of the same collection by its name, or None when there is none."""

MAX_DEPTH = 16
MAX_FILES = 2_000  # read in one run, repetitions counted
MAX_LINES = 5_000_000  # of all of them together
_FILE = re.compile(r"[A-Za-z0-9!._-]{1,100}\Z")
_PARTS = frozenset((b"keyword", b"regexp", b"regex"))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The attributes that an entry must have and must not have."""

    present: frozenset[bytes] = frozenset()
    absent: frozenset[bytes] = frozenset()

    def takes(self, attributes: frozenset[bytes]) -> bool:
        return self.present <= attributes and not self.absent & attributes


def v2fly(lines: Iterable[bytes], include: Include | None = None, name: str = "") -> Iterator[Finding]:
    """Entries of one file (called `name`) and of those that it includes, which are numbered by the including line."""
    return _Reader(include).file(lines, (name,), (_Wanted(),))


class _Reader:
    """One run: it counts the files, so that files that include each other twice over cannot grow without end."""

    def __init__(self, include: Include | None) -> None:
        self._include = include
        self._files = 0
        self._lines = 0

    def file(self, lines: Iterable[bytes], inside: tuple[str, ...], wanted: tuple[_Wanted, ...]) -> Iterator[Finding]:
        for number, line in enumerate(lines, 1):
            self._lines += 1
            if self._lines > MAX_LINES:
                yield rejected(number, line, "the files have too many lines together; the rest is not read")
                return
            if (fault := unreadable(line)) is not None:
                yield rejected(number, line, fault)
                continue
            tokens = line.partition(b"#")[0].split()
            if not tokens:
                continue
            kind, colon, value = tokens[0].partition(b":")
            marks = tokens[1:]
            if any(mark[:1] not in (b"@", b"&") or len(mark) == 1 for mark in marks):
                yield rejected(number, line, "after an entry only @attributes and &files may follow")
            elif kind == b"include" and colon:
                yield from self._included(number, line, value, marks, inside, wanted)
            else:
                attributes = frozenset(mark[1:] for mark in marks if mark[:1] == b"@")
                if all(one.takes(attributes) for one in wanted):
                    yield self._entry(number, line, kind if colon else b"domain", value if colon else tokens[0])

    def _entry(self, number: int, line: bytes, kind: bytes, value: bytes) -> Finding:
        if kind in _PARTS:
            return rejected(number, line, f"DNS cannot carry {kind.decode()}: it matches parts of names")
        if kind not in (b"domain", b"full"):
            return rejected(number, line, "an entry begins with domain:, full: or include:, or is a bare name")
        return listed(number, line, value)

    def _included(
        self,
        number: int,
        line: bytes,
        value: bytes,
        marks: list[bytes],
        inside: tuple[str, ...],
        wanted: tuple[_Wanted, ...],
    ) -> Iterator[Finding]:
        name = value.decode("ascii", "replace")
        if not _FILE.match(name):
            yield rejected(number, line, "this is not the name of a file of the collection")
            return
        if name in inside or len(inside) > MAX_DEPTH:
            yield rejected(number, line, "the files include each other in a circle, or too deeply")
            return
        self._files += 1
        found = self._include(name) if self._include is not None and self._files <= MAX_FILES else None
        if found is None:
            many = self._files > MAX_FILES
            yield rejected(number, line, "too many files are included" if many else f"there is no file {name!r} here")
            return
        attributes = [mark[1:] for mark in marks if mark[:1] == b"@"]
        more = _Wanted(
            frozenset(one for one in attributes if one[:1] != b"-"),
            frozenset(one[1:] for one in attributes if one[:1] == b"-"),
        )
        for finding in self.file(found, (*inside, name), (*wanted, more)):
            if isinstance(finding, Rejected):
                finding = Rejected(number, finding.text, f"in {name}, line {finding.line}: {finding.reason}")
            yield finding
