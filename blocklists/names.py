"""The only normaliser of domain names.

Text goes in from people, lists and settings; a canonical *name* comes out: lower-case A-labels joined by dots, without
the final dot (`www.facebook.com`). Wire names become the same text, with RFC 4343 `\\DDD` escapes for bytes that no
policy name can hold, so that splitting at dots is always right and such a label never equals a policy label.

Never touches the network: the public suffix list is the copy bundled with its library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import idna
from publicsuffixlist import PublicSuffixList

MAX_NAME = 253  # characters of text; 255 octets on the wire (RFC 1035 §2.3.4)
MAX_LABEL = 63
MAX_TYPED = 4096  # a pasted URL can be long; beyond this nobody typed it

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-_"
_PLAIN_BYTES = frozenset(_PLAIN)
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # the other full stops that IDNA treats as a dot (UTS #46)


class BadName(ValueError):
    """Text that is no usable domain name. `reason` is a sentence for the person who typed it."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text[:80]!r}: {reason}")
        self.text = text
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Typed:
    """What a person's text was understood to mean: a host name, and whether a page's path was dropped from it."""

    name: str
    had_path: bool


def normalise(text: str) -> str:
    """Return the canonical name for `text`, or raise `BadName`.

    Accepts upper case, a final dot, and IDN labels (IDNA 2008 with the UTS #46 mapping). Refuses addresses, empty or
    over-long labels and everything that a policy name cannot hold.
    """
    name = _DOTS.sub(".", text.strip())
    if name.endswith("."):
        name = name[:-1]
    if not name:
        raise BadName(text, "there is no name here")
    if len(name) > MAX_TYPED:
        raise BadName(text, f"a name has at most {MAX_NAME} characters")
    if _is_address(name):
        raise BadName(text, "this is an IP address; write the name of the site")
    labels = [_normal_label(label, text) for label in name.split(".")]
    name = ".".join(labels)
    if len(name) > MAX_NAME:
        raise BadName(text, f"a name has at most {MAX_NAME} characters")
    if labels[-1].isdigit():
        raise BadName(text, "the last part of a name cannot be a number")
    return name


def _normal_label(label: str, text: str) -> str:
    if not label:
        raise BadName(text, "there is an empty part between two dots")
    if label.isascii():
        label = label.lower()
        if label.startswith("xn--"):
            try:
                idna.decode(label)
            except (idna.IDNAError, UnicodeError, IndexError):
                raise BadName(text, f"{label!r} is not a valid internationalised part") from None
    else:
        try:
            label = idna.encode(label, uts46=True, transitional=False).decode("ascii")
        except (idna.IDNAError, UnicodeError, IndexError):
            raise BadName(text, f"{label!r} cannot be part of a name") from None
        if "." in label:
            raise BadName(text, "a character here stands for a dot; write plain dots")
    if len(label) > MAX_LABEL:
        raise BadName(text, f"a part of a name has at most {MAX_LABEL} characters")
    if not _LABEL.match(label):
        raise BadName(text, f"{label!r} has a character that no name can have, or begins or ends with a hyphen")
    return label


def is_canonical(name: str) -> bool:
    """True when `name` is already what `normalise` returns for it, without the cost of IDNA checks on A-labels."""
    return len(name) <= MAX_NAME and bool(name) and all(_LABEL.match(label) for label in name.split("."))


def understand(text: str) -> Typed:
    """Return what `text` (a name or a pasted URL) means, or raise `BadName` with a sentence for the person."""
    typed = text.strip()
    if len(typed) > MAX_TYPED:
        raise BadName(text, "this is too long to be the address of a site")
    if not typed:
        raise BadName(text, "there is no name here")
    if _is_address(typed):
        raise BadName(text, "this is an IP address; write the name of the site")
    had_path = False
    if "/" in typed or "?" in typed or "#" in typed or "@" in typed or ":" in typed:
        url = typed if "://" in typed else f"//{typed}"
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            raise BadName(text, "this looks like a web address, but it cannot be read") from None
        if parts.scheme not in ("", "http", "https"):
            raise BadName(text, f"{parts.scheme}: is not a web address; paste one that begins with https://")
        if not host:
            raise BadName(text, "this web address names no site")
        had_path = parts.path not in ("", "/") or bool(parts.query) or bool(parts.fragment)
        typed = host
    try:
        return Typed(normalise(typed), had_path)
    except BadName as bad:
        raise BadName(text, bad.reason) from None  # the person typed `text`, not the host within it


def grantable(text: str) -> str:
    """Return the canonical name when a grant may open it; raise `BadName` for suffixes, addresses and local names."""
    name = normalise(text)
    if name == "localhost" or name.endswith(".localhost"):
        raise BadName(text, "localhost is each computer's own name; a grant cannot open it")
    if is_public_suffix(name):
        raise BadName(text, f"{name} is a public suffix: a grant here would open every site below it")
    return name


def from_wire(wire: bytes) -> str:
    """Return the text of an uncompressed, already bounded wire name (length octets and labels, with the root)."""
    out: list[str] = []
    at = 0
    while (length := wire[at]) != 0:
        label = wire[at + 1 : at + 1 + length].lower()
        at += 1 + length
        if not label.translate(None, _PLAIN):  # nothing is left of it
            out.append(label.decode("ascii"))
        else:
            out.append("".join(chr(byte) if byte in _PLAIN_BYTES else f"\\{byte:03d}" for byte in label))
    return ".".join(out)


def to_wire(name: str) -> bytes:
    """Return the wire form of a canonical name; the empty name is the root."""
    if not name:
        return b"\0"
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split(".")) + b"\0"


def key(name: str) -> str:
    """Return the trie key of `name`: labels reversed, each ended by a dot (`com.facebook.`)."""
    labels = name.split(".")
    labels.reverse()
    return ".".join(labels) + "."


def from_key(text: str) -> str:
    """Return the name of a trie key; the inverse of `key`."""
    labels = text[:-1].split(".")
    labels.reverse()
    return ".".join(labels)


def ancestors(name: str) -> Iterator[str]:
    """Yield `name` itself, then each name above it, most specific first."""
    yield name
    at = name.find(".")
    while at != -1:
        yield name[at + 1 :]
        at = name.find(".", at + 1)


def is_at_or_below(name: str, above: str) -> bool:
    """True when `name` equals `above` or lies below it, by labels: `notfacebook.com` is not below `facebook.com`."""
    return name == above or (name.endswith(above) and name[-len(above) - 1] == ".")


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=False)


def is_public_suffix(name: str) -> bool:
    """True when anybody can register below `name`: the public suffix list, its private section included."""
    return bool(_suffixes().is_public(name))


def registrable(name: str) -> str | None:
    """Return the registrable domain at or above `name` (`bbc.co.uk`), or None for a public suffix."""
    found: str | None = _suffixes().privatesuffix(name)
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True
