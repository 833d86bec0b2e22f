"""Queries and upstream replies for tests, made and read with dnspython: an independent reader of what we write."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


def ask(name: str = "example.com", qtype: str = "A", *, id: int = 0x1234, **options: object) -> bytes:
    """The wire of a query; RD set, no EDNS unless `use_edns`, `payload`, `want_dnssec` or `options` say so."""
    flags = options.pop("flags", None)
    message = dns.message.make_query(name, qtype, id=id, **options)  # type: ignore[arg-type]
    if flags is not None:
        message.flags = int(str(flags))
    return message.to_wire()


def read(data: bytes) -> dns.message.Message:
    return dns.message.from_wire(data)


def codes(message: dns.message.Message) -> list[int]:
    """The extended errors of a message."""
    return [int(one.code) for one in message.options if isinstance(one, dns.edns.EDEOption)]


def texts(message: dns.message.Message) -> list[str]:
    return [one.text or "" for one in message.options if isinstance(one, dns.edns.EDEOption)]


def reply(
    query: bytes,
    *answers: str,
    authority: tuple[str, ...] = (),
    additional: tuple[str, ...] = (),
    rcode: str = "NOERROR",
    flags: int = 0,
) -> bytes:
    """An upstream's reply to `query`. A record is `owner TTL type data`."""
    question = dns.message.from_wire(query)
    message = dns.message.make_response(question, recursion_available=True)
    message.flags |= flags
    message.set_rcode(dns.rcode.from_text(rcode))
    for section, records in (
        (message.answer, answers),
        (message.authority, authority),
        (message.additional, additional),
    ):
        for text in records:
            owner, ttl, kind, data = text.split(None, 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, data))
    return message.to_wire(max_size=65535)


SOA = "example.com. 3600 SOA ns.example.com. host.example.com. 1 3600 600 86400 120"
