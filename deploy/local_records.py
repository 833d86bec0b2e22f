"""Local records as an administrator writes them, one a line: `NAME [TTL] TYPE DATA`, as in a zone file.

print.district.example A 10.20.0.9
www.district.example 60 CNAME site.hosting.example
10.20.0.9 PTR print.district.example           (an address stands for its name in the reverse zone)
_sip._tcp.district.example SRV 0 5 5060 pbx.district.example
portal.district.example HTTPS 1 . alpn="h2"
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

from blocklists import names
from resolver.config import LocalRecord
from resolver.message import wire
from resolver.message.local import LocalRecords

DEFAULT_TTL = 300
MAX_TTL = 604_800
_CLASS = "IN"
_LINE = re.compile(r"(?P<name>\S+)\s+(?:(?P<ttl>\d+)\s+)?(?:IN\s+)?(?P<type>[A-Za-z]+)\s+(?P<data>\S.*)", re.DOTALL)


def parse_record(text: str) -> LocalRecord:
    """Return the record that `text` writes. Raises `ValueError` with a sentence that quotes it."""
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:100]!r}: write NAME [TTL] TYPE DATA, for example print.district.example A 10.20.0.9")
    kind = match["type"].upper()
    if kind not in _TYPES:
        raise ValueError(f"{text[:100]!r}: a local record is one of {', '.join(_TYPES)}, not {kind}")
    ttl = int(match["ttl"] or DEFAULT_TTL)
    if ttl > MAX_TTL:
        raise ValueError(f"{text[:100]!r}: a time to live is at most {MAX_TTL} seconds")
    rtype, read = _TYPES[kind]
    try:
        name = _reverse(match["name"]) if kind == "PTR" else match["name"]
        return LocalRecord(names.to_wire(names.normalise(name)), rtype, ttl, read(match["data"].strip()))
    except names.BadName as error:
        raise ValueError(f"{text[:100]!r}: {error.text!r}: {error.reason}") from None
    except ValueError as error:
        raise ValueError(f"{text[:100]!r}: {error}") from None


def parse_records(texts: Iterable[str]) -> tuple[LocalRecord, ...]:
    """Return all records. Raises `ValueError` when one cannot be read, or they cannot stand together."""
    found = tuple(map(parse_record, texts))
    LocalRecords(found)
    return found


def title_of(rtype: int) -> str:
    """Return the name of a type that a local record may have."""
    return next(title for title, (number, _) in _TYPES.items() if number == rtype)


def _reverse(text: str) -> str:
    try:
        return ipaddress.ip_address(text).reverse_pointer
    except ValueError:
        return text


def _address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], title: str) -> Callable[[str], bytes]:
    def read(data: str) -> bytes:
        try:
            if "%" not in data:
                return kind(data).packed
        except ValueError:
            pass
        raise ValueError(f"{data!r} is not an {title} address") from None

    return read


def _name(data: str) -> bytes:
    return names.to_wire(names.normalise(data))


def _other(kind: str) -> Callable[[str], bytes]:
    def read(data: str) -> bytes:
        import dns.exception  # heavy: only where such records are
        import dns.name
        import dns.rdata

        try:
            found = dns.rdata.from_text(_CLASS, kind, data, origin=dns.name.root, relativize=False)
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(str(error) or "it cannot be read") from None
        return found.to_wire() or b""

    return read


_TYPES: dict[str, tuple[int, Callable[[str], bytes]]] = {
    "A": (wire.A, _address(ipaddress.IPv4Address, "IPv4")),
    "AAAA": (wire.AAAA, _address(ipaddress.IPv6Address, "IPv6")),
    "CNAME": (wire.CNAME, _name),
    "PTR": (wire.PTR, _name),
    "TXT": (wire.TXT, _other("TXT")),
    "SRV": (wire.SRV, _other("SRV")),
    "HTTPS": (wire.HTTPS, _other("HTTPS")),
}
