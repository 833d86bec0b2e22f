"""The answer that a rewritten name gets: a CNAME to the name that answers in its place, and that one's own answer.

Browsers must not find the real addresses elsewhere: any other type than an address has no data (RFC 9460's hints).
The extended error says that the answer was forged (RFC 8914 §4.5).
"""

from __future__ import annotations

from dataclasses import replace

from blocklists import names, reasons
from blocklists.policy import FOREVER, Policy, Verdict
from resolver.message import answers, records, wire
from resolver.message.answers import Answer
from resolver.message.wire import Query

ADDRESSES = (wire.A, wire.AAAA)
REWRITE_TTL = 60  # seconds that the CNAME lives in other caches


def asked_instead(query: Query, target: bytes) -> Query:
    """Return the question for the wire name `target` that stands for `query` upstream."""
    return replace(query, question=target + query.question[-4:], name=target)


def given(query: Query, target: bytes, answer: Answer, verdict: Verdict, policy: Policy) -> Answer:
    """Return `answer`, which is the one for `target`, as the answer to `query`."""
    if answer.rcode not in (0, wire.NXDOMAIN):
        return answer
    alias = records.Record(query.name, wire.CNAME, REWRITE_TTL, target)
    body, ttls = records.written([alias, *records.of(answer, target)], query.name)
    return replace(
        answer,
        answers=answer.answers + 1,
        body=body,
        ttls=ttls,
        targets=(),
        ad=False,
        ede=answer.ede + answers.extended_error(answers.EDE_FORGED, reasons.text(verdict, policy)),
    )


def without_addresses(query: Query, target: bytes, verdict: Verdict, policy: Policy) -> Answer:
    """Return the answer to a question for another type: the CNAME itself, or no data."""
    ede = answers.extended_error(answers.EDE_FORGED, reasons.text(verdict, policy))
    if query.qtype == wire.CNAME:
        alias = records.Record(query.name, wire.CNAME, REWRITE_TTL, target)
        body, ttls = records.written([alias], query.name)
        return Answer(0, 1, 0, body, ttls, (), False, FOREVER, verdict.valid_until, ede)
    body, ttls = records.written(
        [records.Record(query.name, wire.SOA, answers.BLOCK_TTL, answers.soa(policy))], query.name
    )
    return Answer(0, 0, 1, body, ttls, (), False, FOREVER, verdict.valid_until, ede)


def target_of(verdict: Verdict) -> bytes | None:
    """Return the wire name that answers in place of the judged one, None when it answers itself."""
    return None if verdict.target is None else names.to_wire(verdict.target)
