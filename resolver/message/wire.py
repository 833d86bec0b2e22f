"""DNS messages as bytes: a bounded reader of queries, a walk over upstream replies, and the assembly of ours.

Bytes in, bytes out; no socket, no clock, no recursion. A reader returns a value or raises `WireError`, whatever the
bytes. Names are kept as lower-cased uncompressed wire bytes, so that caches and memos are keyed by bytes, never text.
Sizes are octets, TTLs seconds. RFC 1035 §4, RFC 6891, RFC 3597.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Any

HEAD = 12
MAX_NAME = 255  # RFC 1035 §2.3.4
MAX_HOPS = 64  # compression pointers followed for one name

FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS, BADCOOKIE = 1, 2, 3, 4, 5, 16, 23
A, NS, CNAME, SOA, AAAA, DNAME, OPT, RRSIG, NSEC, NSEC3, SVCB, HTTPS = 1, 2, 5, 6, 28, 39, 41, 46, 47, 50, 64, 65
TKEY, TSIG, IXFR, AXFR, ANY = 249, 250, 251, 252, 255
PTR, HINFO, TXT, SRV = 12, 13, 16, 33
IN = 1

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
DO = 0x8000  # in the OPT record's TTL
COOKIE = 10  # option code, RFC 7873
SUBNET = 8  # RFC 7871
KEEPALIVE = 11  # RFC 7828
PADDING = 12  # RFC 7830
STRUCTURED = 26  # option code of draft-ietf-dnsop-structured-dns-error, which nobody has settled yet

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_TYPE_CLASS = struct.Struct("!HH")
_TTL = struct.Struct("!I")
_OPT = struct.Struct("!BHHBBHH")  # root, type, size, extended rcode, version, flags, length
_OPTION = struct.Struct("!HH")

EDNS_FLAG, DO_FLAG, CD_FLAG = 1, 2, 4

_WHOLE_COOKIE = b"\0\x1c\0\x0a\0\x18"  # data length, code and length of a record with one such option
_CLIENT_COOKIE = b"\0\x0c\0\x0a\0\x08"


class WireError(ValueError):
    """Bytes that are no DNS message we answer normally.

    `rcode` is what the sender is told; None: nothing, drop it. `edns`: the sender sent a readable OPT. `question` is
    its question when that much could be read, else empty.
    """

    def __init__(self, message: str, rcode: int | None = None, *, edns: bool = False, question: bytes = b"") -> None:
        super().__init__(message)
        self.rcode = rcode
        self.edns = edns
        self.question = question


@dataclass(slots=True)
class Query:
    """One question as it was asked. Made once, then only read."""

    flags: int
    question: bytes  # as it was asked, case kept: QNAME, QTYPE, QCLASS; empty: only a cookie is asked for
    name: bytes  # lower-cased wire QNAME
    qtype: int
    qclass: int
    edns: bool
    size: int  # what the sender can take over UDP: 512 without EDNS, never less
    do: bool
    plain: bool  # no EDNS option but a cookie at the very end: without it, the same bytes will come again
    cookie: bytes
    structured: bool = False  # the sender understands structured errors
    subnet: bytes = b""  # the client subnet's option data; only forwarders' is looked at
    keepalive: bool = False  # the sender would like to know how long a connection may be idle
    padded: bool = False  # the sender hides the length of its questions, and wants ours hidden
    who: Any = None  # whom it is asked for, when that is not the sender
    extra: bool = False  # it has a record other than OPT in its additional section
    _key: bytes = field(default=b"", init=False)

    @property
    def key(self) -> bytes:
        """The canonical key: QNAME, QTYPE, QCLASS, and one octet with DO and CD."""
        if not self._key:
            bits = (DO_FLAG if self.do else 0) | (CD_FLAG if self.flags & CD else 0)
            self._key = self.name + self.question[-4:] + bytes((bits,))
        return self._key


def read_query(data: bytes) -> Query:
    """Return the query in `data`, checked in the order of the message table: length and QR, opcode, TC, counts,
    question, OPT. Raises `WireError`."""
    if len(data) < HEAD:
        raise WireError("shorter than a header")
    _, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & QR:
        raise WireError("an answer, not a query")
    if flags & 0x7800:
        raise WireError("an opcode other than QUERY", NOTIMP)
    if flags & TC:
        raise WireError("a truncated query", FORMERR)
    if questions > 1 or answers or authority or additional > 2:
        raise WireError("section counts that no query has", FORMERR)
    if not questions:
        return _read_cookie_only(data, flags, additional)
    end = _plain_name_end(data)
    if end + 4 > len(data):
        raise WireError("the question ends early", FORMERR)
    question = data[HEAD : end + 4]
    name = data[HEAD:end].lower()
    qtype, qclass = _TYPE_CLASS.unpack_from(data, end)
    query = Query(flags, question, name, qtype, qclass, False, 512, False, True, b"")
    _read_additional(data, end + 4, additional, query)
    return query


def _read_cookie_only(data: bytes, flags: int, additional: int) -> Query:
    """Return a query without a question, which must have a cookie (RFC 7873 §5.4)."""
    query = Query(flags, b"", b"", 0, IN, False, 512, False, True, b"")
    _read_additional(data, HEAD, additional, query)
    if not query.cookie:
        raise WireError("no question and no cookie", FORMERR, edns=query.edns)
    return query


def without_cookie(rest: bytes) -> bytes | None:
    """Return what follows a query's id with the cookie taken out, when its last record ends with nothing but one (8 or
    24 octets, which is all that there is); else None. The bytes need not be a query yet."""
    if rest[-30:-24] == _WHOLE_COOKIE:
        return rest[:-30] + b"\0\0"
    if rest[-14:-8] == _CLIENT_COOKIE:
        return rest[:-14] + b"\0\0"
    return None


def _plain_name_end(data: bytes) -> int:
    """Where the uncompressed name at the question's place ends. A pointer there has nothing before it to point to."""
    at = HEAD
    limit = min(len(data), HEAD + MAX_NAME)
    while at < limit:
        length = data[at]
        if length == 0:
            return at + 1
        if length > 63:
            raise WireError("a label that is too long, or a pointer in the question", FORMERR)
        at += 1 + length
    raise WireError("the name is too long or ends early", FORMERR)


def _read_additional(data: bytes, at: int, count: int, query: Query) -> None:
    for _ in range(count):
        owner = at
        at = _skip_name(data, at, query)
        if at + 10 > len(data):
            raise WireError("a record ends early", FORMERR, edns=query.edns, question=query.question)
        rtype, rclass, ttl, length = _RECORD.unpack_from(data, at)
        at += 10
        if at + length > len(data):
            raise WireError("record data ends early", FORMERR, edns=query.edns, question=query.question)
        if rtype == OPT:
            if query.edns or data[owner]:
                raise WireError("two OPT records, or one that is not at the root", FORMERR, question=query.question)
            _read_opt(data, at, length, rclass, ttl, query)
        else:
            query.extra = True
        at += length
    if at != len(data):
        raise WireError("bytes after the last record", FORMERR, edns=query.edns, question=query.question)


def _read_opt(data: bytes, at: int, length: int, size: int, ttl: int, query: Query) -> None:
    query.edns = True
    query.size = max(512, size)
    query.do = bool(ttl & DO)
    if ttl >> 16 & 0xFF:
        raise WireError("an EDNS version above ours", BADVERS, edns=True, question=query.question)
    end = at + length
    if length:
        query.plain = end == len(data) and not query.extra and without_cookie(data[at - 2 :]) == b"\0\0"
    while at < end:
        if at + 4 > end:
            raise WireError("an EDNS option ends early", FORMERR, edns=True, question=query.question)
        code, size = _OPTION.unpack_from(data, at)
        at += 4
        if at + size > end:
            raise WireError("EDNS option data ends early", FORMERR, edns=True, question=query.question)
        if code == COOKIE:
            if size != 8 and not 16 <= size <= 40:
                raise WireError("a cookie of a length that none has", FORMERR, edns=True, question=query.question)
            query.cookie = data[at : at + size]
        elif code == KEEPALIVE:
            query.keepalive = not size
        elif code == PADDING:
            query.padded = True
        elif code == SUBNET:
            query.subnet = data[at : at + size]
        elif code == STRUCTURED:
            query.structured = True
        at += size


def subnet_address(data: bytes) -> str | None:
    """Return the address in a client subnet option's data, its missing octets zero; None when a client wants no
    subnet used (/0). Raises `WireError` (RFC 7871 §6, §7.1.2)."""
    if len(data) < 4:
        raise WireError("a client subnet ends early", FORMERR)
    family, prefix, scope = int.from_bytes(data[:2], "big"), data[2], data[3]
    kind, size = (socket.AF_INET, 4) if family == 1 else (socket.AF_INET6, 16)
    if family not in (1, 2) or prefix > size * 8 or scope or len(data) != 4 + (prefix + 7) // 8:
        raise WireError("a client subnet that cannot be", FORMERR)
    return socket.inet_ntop(kind, data[4:].ljust(size, b"\0")) if prefix else None


def _skip_name(data: bytes, at: int, query: Query) -> int:
    while at < len(data):
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            break
        at += 1 + length
    raise WireError("a record's name cannot be read", FORMERR, edns=query.edns, question=query.question)


def read_name(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the uncompressed name at `at`, case kept, and where it ends there. Raises `WireError`.

    Pointers must point strictly backwards, each before where the last one led, to labels that end before this name
    begins: what it says does not depend on what follows it. Hops and length are bounded.
    """
    parts: list[bytes] = []
    total = 1
    end = -1
    begin = lowest = at
    hops = 0
    size = len(data)
    while True:
        if at >= size:
            raise WireError("a name ends early")
        length = data[at]
        if length == 0:
            parts.append(b"\0")
            return b"".join(parts), end if end >= 0 else at + 1
        if length < 64:
            stop = at + 1 + length
            total += 1 + length
            if stop > size or total > MAX_NAME:
                raise WireError("a name ends early or is too long")
            parts.append(data[at:stop])
            at = stop
        elif length >= 0xC0:
            if at + 1 >= size:
                raise WireError("a pointer ends early")
            target = (length & 0x3F) << 8 | data[at + 1]
            hops += 1
            if target >= lowest or target < HEAD or hops > MAX_HOPS:
                raise WireError("a pointer that does not point backwards")
            if end < 0:
                end = at + 2
                size = begin
            lowest = at = target
        else:
            raise WireError("a label of an unknown kind")


def is_at_or_below(name: bytes, above: bytes) -> bool:
    """True when the lower-cased wire `name` equals `above` or lies below it, by labels."""
    surplus = len(name) - len(above)
    if surplus < 0 or not name.endswith(above):
        return False
    at = 0
    while at < surplus:
        at += 1 + name[at]
    return at == surplus


def opt_record(size: int, do: bool, options: bytes = b"", rcode: int = 0) -> bytes:
    """Return our OPT record: `size` is what we can take, `rcode` the whole extended response code (RFC 6891 §6.1)."""
    return _OPT.pack(0, OPT, size, rcode >> 4, 0, DO if do else 0, len(options)) + options


def option(code: int, data: bytes) -> bytes:
    """Return one EDNS option."""
    return _OPTION.pack(code, len(data)) + data


def header(flags: int, questions: int, answers: int, authority: int, additional: int) -> bytes:
    """Return the ten header octets that follow the id."""
    return _HEADER.pack(0, flags, questions, answers, authority, additional)[2:]


def error_tail(data: bytes, error: WireError, size: int) -> bytes:
    """Return what follows the id in our answer to bytes that `read_query` refused with an rcode. `size` is our own
    EDNS size. The answer is never longer than the query by more than our empty OPT."""
    assert error.rcode is not None
    flags = QR | RA | (int.from_bytes(data[2:4], "big") & 0x7900) | (error.rcode & 15)
    opt = opt_record(size, False, b"", error.rcode) if error.edns else b""
    return header(flags, 1 if error.question else 0, 0, 0, 1 if opt else 0) + error.question + opt


def upstream_query(question: bytes, do: bool, cd: bool, size: int) -> bytes:
    """Return the message that asks upstream, its id zero: RD and AD set, an OPT of ours, nothing of the client's."""
    flags = RD | AD | (CD if cd else 0)
    return b"\0\0" + header(flags, 1, 0, 0, 1) + question + opt_record(size, do)


def without_edns(message: bytes) -> bytes:
    """Return a message that asks upstream without the OPT record that `upstream_query` gave it."""
    return message[:10] + b"\0\0" + message[HEAD : -_OPT.size]


def question_of(message: bytes) -> bytes:
    """Return the question of a message that asks upstream, with EDNS or without."""
    return message[HEAD : -_OPT.size] if message[11] else message[HEAD:]


def aged(data: bytes, age: int) -> bytes:
    """Return a whole reply with every TTL counted down by `age` seconds (RFC 8484 §5.1); one that cannot be read as it
    is."""
    _, _, questions, *counts = _HEADER.unpack_from(data)
    changed = bytearray(data)
    try:
        at = HEAD
        for _ in range(questions):
            at = read_name(data, at)[1] + 4
        for _ in range(sum(counts)):
            at = read_name(data, at)[1]
            rtype, _, ttl, length = _RECORD.unpack_from(data, at)
            if rtype != OPT:
                _TTL.pack_into(changed, at + 4, max(ttl - age, 0))
            at += 10 + length
    except (WireError, struct.error):
        return data
    return bytes(changed)


def patch_ttls(body: bytes, ttls: tuple[tuple[int, int], ...], age: int, cap: int) -> bytes:
    """Return `body` with each (offset, TTL) counted down by `age` and cut to `cap`."""
    patched = bytearray(body)
    for at, ttl in ttls:
        left = ttl - age
        _TTL.pack_into(patched, at, 0 if left < 0 else left if left < cap else cap)
    return bytes(patched)
