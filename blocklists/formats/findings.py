"""What a list says, line by line: a name, an exception from this same list, or a line that DNS cannot carry.

Every format yields these three and nothing else. `Cleaner` is the only way from a list's bytes to a name: a plain
ASCII name passes one regular expression; anything else goes through `names.normalise`. A name here always means the
name and everything below it, whatever the list's own format says of what lies below: a blocked site stays blocked at
`www.` too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from blocklists import names
from blocklists.names import BadName

MAX_LINE = 4096  # bytes; a name has at most 253, the rest is comment and syntax
MAX_TOKEN = 1024  # bytes: 253 characters of any script are fewer
SHOWN = 120  # characters of a rejected line

# What may stand in a line as a name and needs no further look: lower-case labels and a last label that is no number.
# Atomic and possessive, so that a hostile line costs one pass. Labels that begin `xn--` are taken the slow way.
PLAIN_NAME = rb"(?>(?!xn--)[a-z0-9_][a-z0-9_-]{0,62}+(?<!-)\.)++(?!xn--)[a-z][a-z0-9-]{0,62}+(?<!-)"
_PLAIN = re.compile(PLAIN_NAME + rb"\Z")


class BadList(ValueError):
    """Bytes that are not a list at all: a web page, an archive cut short, a format nobody can tell."""


@dataclass(frozen=True, slots=True)
class Found:
    """A listed name, canonical; it stands for itself and everything below it."""

    name: str


@dataclass(frozen=True, slots=True)
class Excepted:
    """A name that this list leaves out, with everything below it. It never allows what another list holds."""

    name: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was not understood or that DNS cannot carry, and why. `line` counts from 1; 0 is the list itself."""

    line: int
    text: str
    reason: str


Finding = Found | Excepted | Rejected


def rejected(number: int, line: bytes, reason: str) -> Rejected:
    """Return the rejection of `line`, with as much of its text as a page can show."""
    text = line[: 4 * SHOWN].decode("utf-8", "replace").strip()[:SHOWN]
    return Rejected(number, "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text), reason)


def clean(token: bytes) -> str:
    """Return the canonical name that a list may block; raise `BadName` for addresses, suffixes and what is no name."""
    plain = token.lower().removesuffix(b".")
    if len(plain) <= names.MAX_NAME and _PLAIN.match(plain):
        return guarded(plain.decode("ascii"))
    if len(token) > MAX_TOKEN:
        raise BadName("", "this is longer than any name")
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        raise BadName("", "this is not UTF-8 text") from None
    if "/" in text or "://" in text:
        raise BadName(text, "this is a web address; DNS carries names only")
    return guarded(names.normalise(text))


def guarded(name: str) -> str:
    """Return `name` unless a registry's customers live below it (`com`, `co.uk`): then raise `BadName`.

    Suffixes of the private section (`blogspot.com`) are the site of one company, which a list may well mean.
    """
    if "." not in name:
        raise BadName(name, "this is a whole top-level domain or a single word; a list names sites")
    exact, wildcards, not_suffixes = registry_suffixes()
    if name in exact or (name.partition(".")[2] in wildcards and name not in not_suffixes):
        raise BadName(name, f"{name} is a public suffix: everybody's sites lie below it")
    return name


@lru_cache(maxsize=1)
def registry_suffixes() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the suffixes of the public suffix list's registry (ICANN) section: exact ones, parents of wildcards,
    and the names that a wildcard would cover but the list exempts.

    A look-up has to cost nanoseconds (each of a million names passes), so the rules are taken once from the library's
    own reading of its bundled copy.
    """
    rules: frozenset[str] = PublicSuffixList(only_icann=True)._publicsuffix
    return (
        frozenset(rule.removeprefix("*.") for rule in rules if rule[0] != "!"),  # a wildcard's root is one too
        frozenset(rule[2:] for rule in rules if rule.startswith("*.")),
        frozenset(rule[1:] for rule in rules if rule.startswith("!")),
    )
