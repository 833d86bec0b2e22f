"""Verdict to records, TTL and extended error; and the answer as the client gets it.

An `Answer` is what follows the question in a message, wherever it came from: an upstream reply, or our own words. It
is spliced behind the client's header and question, so it fits every case and id of the same question. Never decides
anything. RFC 2308 (negative answers), RFC 8914 (extended errors), RFC 8482 (ANY).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from blocklists import names, reasons
from blocklists.clients import parse_address
from blocklists.policy import FOREVER, AnswerStyle, Policy, ReasonKind, Verdict
from resolver.message import wire
from resolver.message.wire import Query

BLOCK_TTL = 10  # seconds a blocked answer lives in other caches
LIFTED_TTL = 60  # the longest TTL of an answer that only a grant lets through
ANY_TTL = 60
PADDED_TO = 468  # octets, RFC 8467 §4.1
_OPT_HEAD, _OPTION_HEAD = 11, 4  # octets before an OPT record's options, and before an option's data
STALE_TTL = 30  # RFC 8767 §4
STALE_FOR = 86_400  # seconds after its time that an answer may still be given when no upstream answers

EDE = 15  # option code
EDE_STALE, EDE_FORGED, EDE_NOT_READY, EDE_BLOCKED, EDE_CENSORED = 3, 4, 14, 15, 16
EDE_PROHIBITED, EDE_STALE_NXDOMAIN, EDE_NOT_RECURSIVE = 18, 19, 20
EDE_NO_AUTHORITY, EDE_NETWORK = 22, 23
MAX_EXTRA_TEXT = 160  # octets of UTF-8

_RECORD = struct.Struct("!HHHIH")  # owner pointer, type, class, TTL, length
_QUESTION_POINTER = 0xC000 | wire.HEAD
# MNAME and RNAME of the SOA in a blocked answer: names that exist nowhere (RFC 6761 §6.4).
_SOA_NAMES = names.to_wire("schoolgate.invalid") + names.to_wire("nobody.invalid")
_SOA_TIMES = struct.Struct("!IIIII")
_HINFO_RDATA = b"\x07RFC8482\x00"


@dataclass(slots=True)
class Answer:
    """What follows the question. Made once, then only read; shared by every client that may have it."""

    rcode: int
    answers: int
    authority: int
    body: bytes
    ttls: tuple[tuple[int, int], ...]  # (offset in body, TTL when stored)
    targets: tuple[bytes, ...]  # lower-cased wire names that must be judged too
    ad: bool  # what an upstream that can be believed has validated
    stored: float  # TTLs count down from here; FOREVER: they do not, the answer is our own
    expires: float
    ede: bytes = b""  # a whole EDNS option, or nothing
    aliases: int = 0  # the first so many of `targets` are CNAME and DNAME ones
    private: bool = False  # one of its addresses is a private network's
    usable_until: float = 0.0  # stale, when no upstream answers (RFC 8767)
    structured: tuple[bytes, ...] = ()  # the same as structured errors, longest first; for those that ask for them


def extended_error(code: int, text: str = "") -> bytes:
    """Return the EDNS option with this extended error; the text is cut at a character's end."""
    data = text.encode()
    if len(data) > MAX_EXTRA_TEXT:
        data = data[:MAX_EXTRA_TEXT].decode(errors="ignore").encode()
    return wire.option(EDE, code.to_bytes(2, "big") + data)


def failure(rcode: int, code: int | None = None, text: str = "", expires: float = 0.0) -> Answer:
    """Return an answer without records, with an extended error when `code` is given."""
    return Answer(
        rcode, 0, 0, b"", (), (), False, FOREVER, expires, b"" if code is None else extended_error(code, text)
    )


def blocked(query: Query, verdict: Verdict, policy: Policy) -> Answer:
    """Return the answer to a question that `verdict` blocks or synthesizes, in the style that it names."""
    until = verdict.valid_until
    if forged := _in_its_place(query.qtype, verdict, policy):
        body = b"".join(_record(_QUESTION_POINTER, query.qtype, BLOCK_TTL, rdata) for rdata in forged)
        size = len(body) // len(forged)
        ttls = tuple((at * size + 6, BLOCK_TTL) for at in range(len(forged)))
        ede = extended_error(EDE_FORGED, reasons.text(verdict, policy))
        return Answer(0, len(forged), 0, body, ttls, (), False, FOREVER, until, ede)
    code = EDE_CENSORED if verdict.reason.kind is ReasonKind.LOCKED else EDE_BLOCKED
    ede = extended_error(code, reasons.text(verdict, policy))
    structured = tuple(wire.option(EDE, code.to_bytes(2, "big") + one) for one in reasons.structured(verdict, policy))
    if verdict.style is AnswerStyle.REFUSED:
        return Answer(wire.REFUSED, 0, 0, b"", (), (), False, FOREVER, until, ede, structured=structured)
    rcode = wire.NXDOMAIN if verdict.style is AnswerStyle.NXDOMAIN else 0
    body = _record(_owner(query, verdict), wire.SOA, BLOCK_TTL, soa(policy))
    return Answer(rcode, 0, 1, body, ((6, BLOCK_TTL),), (), False, FOREVER, until, ede, structured=structured)


def _in_its_place(qtype: int, verdict: Verdict, policy: Policy) -> list[bytes]:
    """The addresses that the styles `null` and `page` give in place of the blocked name's own; none: NODATA."""
    size = {wire.A: 4, wire.AAAA: 16}.get(qtype)
    if verdict.style is AnswerStyle.NULL and size is not None:
        return [bytes(size)]
    if verdict.style is AnswerStyle.PAGE:
        return [one for text in policy.answering.page if len(one := parse_address(text).packed) == size]
    return []


def soa(policy: Policy) -> bytes:
    """Return the data of the SOA in a denial of our own; its serial is the policy's version."""
    return _SOA_NAMES + _SOA_TIMES.pack(policy.version & 0xFFFFFFFF, 3600, 600, 86400, BLOCK_TTL)


def any_answer() -> Answer:
    """Return the answer to an allowed QTYPE ANY: one HINFO (RFC 8482 §4.2)."""
    body = _record(_QUESTION_POINTER, wire.HINFO, ANY_TTL, _HINFO_RDATA)
    return Answer(0, 1, 0, body, ((6, ANY_TTL),), (), False, FOREVER, FOREVER)


def revived(old: Answer, now: float) -> Answer:
    """Return an answer whose time is over as it may be given for a moment more, because no upstream answers."""
    ede = extended_error(EDE_STALE_NXDOMAIN if old.rcode == wire.NXDOMAIN else EDE_STALE)
    ttls = tuple([(at, STALE_TTL) for at, _ in old.ttls])
    body = wire.patch_ttls(old.body, ttls, 0, STALE_TTL)
    return Answer(
        old.rcode,
        old.answers,
        old.authority,
        body,
        ttls,
        old.targets,
        False,
        FOREVER,
        now + STALE_TTL,
        ede,
        old.aliases,
        old.private,
        old.usable_until,
    )


def _record(owner: int, rtype: int, ttl: int, rdata: bytes) -> bytes:
    return _RECORD.pack(owner, rtype, wire.IN, ttl, len(rdata)) + rdata


def _owner(query: Query, verdict: Verdict) -> int:
    """A pointer to the matched entry within the question; to the whole name when the entry is not above it (the entry
    of a blocked target), since a denial's SOA belongs at or above the name it denies."""
    entry = verdict.reason.entry
    if entry is not None:
        above = names.to_wire(entry)
        if wire.is_at_or_below(query.name, above):
            return _QUESTION_POINTER + len(query.name) - len(above)
    return _QUESTION_POINTER


def assemble(
    query: Query, answer: Answer, body: bytes, limit: int, size: int, options: bytes = b"", block: int = 1
) -> bytes:
    """Return what follows the id in the message that gives `answer` to `query`.

    `body` is the answer's own with its TTLs brought up to date; `limit` is what the client can take, `size` our own
    EDNS size, both in octets; `options` are whole ones. A structured error is given when it was asked for, as long a
    one as fits. What does not fit loses its extended error first, then its records, with TC set. The whole is padded to
    a multiple of `block` octets (RFC 7830).
    """
    flags = wire.QR | wire.RA | (query.flags & (wire.RD | wire.CD)) | answer.rcode & 15
    if answer.ad and (query.do or query.flags & wire.AD):
        flags |= wire.AD
    question = query.question
    ede = answer.ede
    used = wire.HEAD + len(question) + len(body) + _OPT_HEAD + len(options)
    if query.structured and answer.structured:
        ede = next((one for one in answer.structured if used + len(one) <= limit), ede)
    if block > 1:
        used += len(ede) + _OPTION_HEAD
        options += wire.option(wire.PADDING, bytes(max(min(-used % block, limit - used), 0)))
    opt = wire.opt_record(size, query.do, ede + options, answer.rcode) if query.edns else b""
    total = wire.HEAD + len(question) + len(body) + len(opt)
    if total > limit and query.edns and ede:
        total -= len(ede)
        opt = wire.opt_record(size, query.do, options, answer.rcode)
    additional = 1 if query.edns else 0
    if total > limit:
        return wire.header(flags & ~wire.AD | wire.TC, 1, 0, 0, additional) + question + opt
    return (
        wire.header(flags, 1 if question else 0, answer.answers, answer.authority, additional) + question + body + opt
    )
