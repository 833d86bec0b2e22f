"""HTTPS and SVCB answers as one group may have them: without `ech` where the policy says so, and without address hints
that the answer to an address question would not give (RFC 9460 §2.2 and §7.3).

A record whose parameters cannot be read is left out; an answer that was changed loses the signatures over it.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from blocklists.private import is_private
from resolver.message import records, wire
from resolver.message.answers import Answer
from resolver.message.wire import WireError

TYPES = (wire.HTTPS, wire.SVCB)
MANDATORY, IPV4HINT, ECH, IPV6HINT = 0, 4, 5, 6  # SvcParamKeys
_ADDRESS = {IPV4HINT: 4, IPV6HINT: 16}  # octets of one address in a hint
_PARAM = struct.Struct("!HH")
_ROOT = b"\0"


def cleaned(
    answer: Answer, name: bytes, qtype: int, *, strip_ech: bool, hintless: frozenset[bytes], private: bool
) -> Answer:
    """Return `answer` to the question for the lower-cased wire `name`, cleaned. Hints of targets in `hintless` (they
    are answered as other names) go, and hints that hold private addresses unless `private` allows them."""
    kept: list[tuple[bool, records.Record]] = []
    changed = False
    for number, record in enumerate(records.of(answer, name)):
        answers = number < answer.answers
        if answers and record.rtype == qtype:
            try:
                rdata = _cleaned(record, strip_ech, hintless, private)
            except WireError:
                changed = True
                continue
            changed = changed or rdata != record.rdata
            record = replace(record, rdata=rdata)
        kept.append((answers, record))
    if not changed:
        return answer
    signed = qtype.to_bytes(2, "big")
    kept = [one for one in kept if one[1].rtype != wire.RRSIG or one[1].rdata[:2] != signed]
    body, ttls = records.written([record for _, record in kept], name)
    count = sum(answers for answers, _ in kept)
    return replace(answer, answers=count, authority=len(kept) - count, body=body, ttls=ttls, ad=False)


def _cleaned(record: records.Record, strip_ech: bool, hintless: frozenset[bytes], private: bool) -> bytes:
    target, at = wire.read_name(record.rdata, 2)
    head = record.rdata[:at]
    if head[:2] == b"\0\0":  # AliasMode: parameters mean nothing there
        return head
    params = _params(record.rdata, at)
    dropped = {ECH} if strip_ech else set()
    target = record.owner if target == _ROOT else target.lower()
    for key, size in _ADDRESS.items():
        hint = params.get(key, b"")
        if len(hint) % size:
            raise WireError("a hint that ends within an address")
        addresses = [hint[begin : begin + size] for begin in range(0, len(hint), size)]
        if target in hintless or (not private and any(map(is_private, addresses))):
            dropped.add(key)
    if dropped.isdisjoint(params):
        return record.rdata
    if MANDATORY in params:  # what is not there any more cannot be mandatory
        named = [int.from_bytes(params[MANDATORY][begin : begin + 2], "big") for begin in range(0, len(params[0]), 2)]
        params[MANDATORY] = b"".join(key.to_bytes(2, "big") for key in named if key not in dropped)
        if not params[MANDATORY]:
            dropped.add(MANDATORY)
    kept = (_PARAM.pack(key, len(value)) + value for key, value in params.items() if key not in dropped)
    return head + b"".join(kept)


def _params(rdata: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at < len(rdata):
        if at + 4 > len(rdata):
            raise WireError("a parameter ends early")
        key, length = _PARAM.unpack_from(rdata, at)
        at += 4
        if at + length > len(rdata) or (found and key <= max(found)):
            raise WireError("a parameter that ends early or stands out of order")
        found[key] = rdata[at : at + length]
        at += length
    return found
