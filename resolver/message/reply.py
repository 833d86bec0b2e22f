"""The walk over an upstream reply: which records lie on the chain from the question, where their TTLs are, and where
the chain leads.

The usual reply is kept as the bytes it came in, cut behind the last record we want: whatever follows the question is
spliced behind the client's own question, which is as long, so compression pointers stay right. When a record in the
middle must go, names are decompressed and the message is rebuilt. ADDITIONAL is never kept. Never judges a name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from blocklists.private import is_private
from resolver.message.wire import (
    AAAA,
    ANY,
    CNAME,
    DNAME,
    HEAD,
    HTTPS,
    IN,
    NS,
    NSEC,
    NSEC3,
    NXDOMAIN,
    OPT,
    RA,
    RRSIG,
    SOA,
    SVCB,
    TC,
    A,
    WireError,
    is_at_or_below,
    read_name,
)
from resolver.message.wire import AD as AD_FLAG

MAX_CHAIN = 16  # CNAME steps from the question

_COUNTS = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_ADDRESS_LENGTHS = {A: 4, AAAA: 16}
_ROOT = b"\0"
_ALIASES = (CNAME, DNAME)
_BINDINGS = (HTTPS, SVCB)
_LEADING = frozenset((*_ALIASES, *_BINDINGS, ANY, RRSIG))  # types that name others, or whose answers have other types
# Types whose data holds names that may be compressed, as octets before the names and how many names
# (RFC 1035 §3.3; RFC 3597 §4 adds the rest, which old servers compressed).
_NAMES_IN = {
    2: (0, 1), 3: (0, 1), 4: (0, 1), 5: (0, 1), 6: (0, 2), 7: (0, 1), 8: (0, 1), 9: (0, 1), 12: (0, 1), 14: (0, 2),
    15: (2, 1), 17: (0, 2), 18: (2, 1), 21: (2, 1), 26: (2, 2), 33: (6, 1), 36: (2, 1), 39: (0, 1), 64: (2, 1),
    65: (2, 1),
}  # fmt: skip


@dataclass(slots=True)
class Reply:
    """What of an upstream's reply may be passed on. Offsets count from the end of the question."""

    rcode: int
    truncated: bool
    ad: bool
    answers: int
    authority: int
    body: bytes
    ttls: tuple[tuple[int, int], ...]
    targets: tuple[bytes, ...]  # lower-cased wire names that the chain and its records lead to
    negative_ttl: int | None  # RFC 2308 §5; None for a positive answer, or a negative one without a SOA
    aliases: int  # the first so many of `targets` are CNAME and DNAME ones
    private: bool  # one of its addresses is a private network's
    lame: bool  # neither an answer nor a denial: a referral, records of others only, both at once, an extended error


# owner (lower-cased), type, TTL, offset of the record, of its TTL, of its data, of its end
_Record = tuple[bytes, int, int, int, int, int, int]


def read_reply(data: bytes, name: bytes, qtype: int, do: bool) -> Reply:
    """Return what `data` answers to the question for the lower-cased wire `name`. Raises `WireError` when the question
    is another one or the bytes cannot be read."""
    if len(data) < HEAD:
        raise WireError("shorter than a header")
    _, flags, questions, answer_count, authority_count, additional_count = _COUNTS.unpack_from(data)
    start = HEAD + len(name) + 4
    if not flags & 0x8000 or flags & 0x7800 or questions != 1:
        raise WireError("not an answer to one question")
    if data[HEAD : start - 4].lower() != name or data[start - 4 : start] != qtype.to_bytes(2, "big") + b"\0\1":
        raise WireError("an answer to another question")
    rcode = flags & 15
    ad = bool(flags & AD_FLAG)
    if flags & TC:
        return Reply(rcode, True, ad, 0, 0, b"", (), (), None, 0, False, False)
    answers, at = read_records(data, start, answer_count, name)
    authority, at = read_records(data, at, authority_count, name) if authority_count else ([], at)
    kept, targets, aliases, last, terminal = _chain(data, answers, name, qtype)
    negative = rcode == NXDOMAIN or not terminal
    private = qtype in _ADDRESS_LENGTHS and _any_private(data, kept, qtype)
    proofs, soa_ttl = _proofs(data, authority, last, do, negative) if authority else ([], None)
    lame = terminal and rcode == NXDOMAIN
    if not kept and not proofs:
        lame = bool(answers) or not flags & RA or any(record[1] == NS for record in authority)
        lame = lame or _extended_rcode(data, at, additional_count) != 0
    body, ttls = _body(data, start, answers, authority, kept, proofs, name)
    if soa_ttl is not None:
        ttls = tuple((offset, min(ttl, soa_ttl)) for offset, ttl in ttls)
    return Reply(rcode, False, ad, len(kept), len(proofs), body, ttls, targets, soa_ttl, aliases, private, lame)


def read_records(data: bytes, at: int, count: int, name: bytes) -> tuple[list[_Record], int]:
    """Return `count` records from `at`, and where they end. `name` is the lower-cased QNAME. Raises `WireError`."""
    found: list[_Record] = []
    size = len(data)
    for _ in range(count):
        begin = at
        if data[at : at + 2] == b"\xc0\x0c":
            owner = name
            at += 2
        else:
            owner, at = read_name(data, at)
            owner = owner.lower()
        if at + 10 > size:
            raise WireError("a record ends early")
        rtype, rclass, ttl, length = _RECORD.unpack_from(data, at)
        end = at + 10 + length
        if end > size:
            raise WireError("record data ends early")
        if rclass != IN:
            rtype = -1  # of no use to anybody; the chain leaves it out
        if ttl > 0x7FFFFFFF:
            ttl = 0  # RFC 2181 §8
        found.append((owner, rtype, ttl, begin, at + 4, at + 10, end))
        at = end
    return found, at


def _chain(
    data: bytes, answers: list[_Record], name: bytes, qtype: int
) -> tuple[list[_Record], tuple[bytes, ...], int, bytes, bool]:
    """Return the records on the chain, the names it leads to (first those that aliases lead to, and how many they
    are), its last name, and whether that has the wanted type."""
    if not answers:
        return [], (), 0, name, False
    if qtype not in _LEADING:
        for record in answers:
            if record[1] != qtype or record[0] != name:
                break
        else:  # the usual: nothing leads anywhere
            return answers, (), 0, name, True
    aliases: dict[bytes, bytes] = {}
    dnames: dict[bytes, bytes] = {}
    for owner, rtype, _, _, _, rdata, end in answers:
        if rtype in _ALIASES:
            target, stop = read_name(data, rdata)
            if stop != end:
                raise WireError("an alias whose data is no name")
            (aliases if rtype == CNAME else dnames).setdefault(owner, target.lower())
    chain = [name]
    if qtype not in (CNAME, ANY):
        while (following := aliases.get(chain[-1])) is not None and len(chain) <= MAX_CHAIN:
            if following in chain:
                raise WireError("a chain of aliases that comes back to itself")
            chain.append(following)
        if len(chain) > MAX_CHAIN:
            raise WireError("a chain of aliases without an end")
    used = {
        owner for owner in dnames for one in chain if one != owner and is_at_or_below(one, owner)
    } if dnames else frozenset()  # fmt: skip
    targets = dict.fromkeys(chain[1:])
    targets.update(dict.fromkeys(dnames[owner] for owner in used))
    count = len(targets)
    kept: list[_Record] = []
    wanted = (qtype, RRSIG)
    terminal = False
    last = chain[-1]
    for record in answers:
        owner, rtype, _, _, _, rdata, end = record
        if owner in used and rtype in (DNAME, RRSIG):
            kept.append(record)
        elif owner in chain and (rtype in wanted or (rtype == CNAME and owner in aliases)):
            kept.append(record)
            if rtype == qtype and owner == last:
                terminal = True
            if rtype in _BINDINGS:
                target, stop = read_name(data, rdata + 2)
                if stop > end:
                    raise WireError("a service binding that ends early")
                if target != _ROOT:
                    targets[target.lower()] = None
            elif rtype == CNAME and qtype == CNAME:
                targets[aliases[owner]] = None
    return kept, tuple(targets), count, last, terminal


def _proofs(
    data: bytes, authority: list[_Record], last: bytes, do: bool, negative: bool
) -> tuple[list[_Record], int | None]:
    """Return the AUTHORITY records worth passing on (the denial's SOA, and what DNSSEC needs), and the negative TTL."""
    kept: list[_Record] = []
    soa_ttl: int | None = None
    for record in authority:
        owner, rtype, ttl, _, _, rdata, end = record
        if rtype == SOA:
            if not negative or not is_at_or_below(last, owner):
                continue
            _, at = read_name(data, rdata)
            _, at = read_name(data, at)
            if at + 20 != end:
                raise WireError("a SOA whose data cannot be read")
            soa_ttl = min(ttl, int.from_bytes(data[end - 4 : end], "big"))
            kept.append(record)
        elif do and rtype in (NSEC, NSEC3, RRSIG):
            kept.append(record)
    return kept, soa_ttl


def _any_private(data: bytes, kept: list[_Record], qtype: int) -> bool:
    """True when one of the addresses asked for is a private network's."""
    found = False
    for _, rtype, _, _, _, rdata, end in kept:
        if rtype == qtype:
            if end - rdata != _ADDRESS_LENGTHS[qtype]:
                raise WireError("an address of the wrong length")
            found = found or is_private(data[rdata:end])
    return found


def _extended_rcode(data: bytes, at: int, count: int) -> int:
    """The upper eight bits of the response code, from the reply's OPT; 0 without one."""
    records, _ = _records_of_any_class(data, at, count)
    return next((ttl >> 24 for rtype, ttl in records if rtype == OPT), 0)


def _records_of_any_class(data: bytes, at: int, count: int) -> tuple[list[tuple[int, int]], int]:
    found: list[tuple[int, int]] = []
    for _ in range(count):
        _, at = read_name(data, at)
        if at + 10 > len(data):
            raise WireError("a record ends early")
        rtype, _, ttl, length = _RECORD.unpack_from(data, at)
        found.append((rtype, ttl))
        at += 10 + length
    return found, at


def _body(
    data: bytes,
    start: int,
    answers: list[_Record],
    authority: list[_Record],
    kept: list[_Record],
    proofs: list[_Record],
    name: bytes,
) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """The kept records as bytes: a cut of the original when they are a whole head of it, rebuilt otherwise."""
    wanted = kept + proofs
    if len(kept) == len(answers) and proofs == authority[: len(proofs)]:
        end = wanted[-1][6] if wanted else start
        return data[start:end], tuple([(record[4] - start, record[2]) for record in wanted])
    parts: list[bytes] = []
    ttls: list[tuple[int, int]] = []
    size = 0
    for owner, rtype, ttl, begin, ttl_at, rdata, end in wanted:
        whole_owner = b"\xc0\x0c" if owner == name else read_name(data, begin)[0]
        rest = decompressed(data, rtype, rdata, end)
        if size > 0xFFFF:
            raise WireError("too long once its names are whole")
        ttls.append((size + len(whole_owner) + 4, ttl))
        parts += [whole_owner, data[ttl_at - 4 : ttl_at + 4], len(rest).to_bytes(2, "big"), rest]
        size += len(whole_owner) + 10 + len(rest)
    return b"".join(parts), tuple(ttls)


def decompressed(data: bytes, rtype: int, at: int, end: int) -> bytes:
    """Return the data of a record at `at` to `end`, the names in it whole. Raises `WireError`."""
    layout = _NAMES_IN.get(rtype)
    if layout is None:
        return data[at:end]
    before, count = layout
    parts = [data[at : at + before]]
    at += before
    for _ in range(count):
        whole, at = read_name(data, at)
        parts.append(whole)
    if at > end:
        raise WireError("record data ends inside a name")
    parts.append(data[at:end])
    return b"".join(parts)
