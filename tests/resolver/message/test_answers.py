"""Extended errors and assembly, read back by dnspython."""

from __future__ import annotations

import pytest

from blocklists.policy import Action, AnswerStyle, Reason, ReasonKind, Verdict
from resolver.message import answers, wire
from resolver.message.wire import read_query
from tests.resolver.messages import ask, codes, read, texts
from tests.support import make_policy


def blocked(reason: Reason, name: str = "www.facebook.com", style: AnswerStyle = AnswerStyle.NXDOMAIN) -> object:
    query = read_query(ask(name, use_edns=0))
    answer = answers.blocked(query, Verdict(Action.BLOCK, reason, style), make_policy(version=9))
    return read(b"\0\0" + answers.assemble(query, answer, answer.body, 1232, 1232))


@pytest.mark.parametrize(
    ("entry", "owner"),
    [
        ("facebook.com", "facebook.com."),
        ("www.facebook.com", "www.facebook.com."),
        ("com", "com."),
        ("fbcdn.net", "www.facebook.com."),
        ("notfacebook.com", "www.facebook.com."),
        ("ook.com", "www.facebook.com."),
        (None, "www.facebook.com."),
    ],
)
def test_the_soa_stands_at_the_matched_entry_and_never_beside_the_name(entry: str | None, owner: str) -> None:
    message = blocked(Reason(ReasonKind.CATEGORY, entry=entry, category="social-media"))
    soa = message.authority[0]  # type: ignore[attr-defined]
    assert (str(soa.name), soa[0].serial, soa[0].minimum, soa.ttl) == (owner, 9, 10, 10)


@pytest.mark.parametrize(
    ("kind", "category", "code", "text"),
    [
        (ReasonKind.CATEGORY, "social-media", 15, "Social media: how to ask: https://filter.district.example/why"),
        (ReasonKind.SERVICE, "social-media", 15, "Social media: how to ask: https://filter.district.example/why"),
        (ReasonKind.LOCKED, "adult", 16, "Adult content: https://filter.district.example/why"),
        (ReasonKind.BRAKE, None, 15, "Emergency block: how to ask: https://filter.district.example/why"),
        (ReasonKind.CUSTOM, None, 15, "District block: how to ask: https://filter.district.example/why"),
        (ReasonKind.BYPASS, None, 15, "Filter bypass: how to ask: https://filter.district.example/why"),
    ],
)
def test_every_reason_has_its_extended_error(kind: ReasonKind, category: str | None, code: int, text: str) -> None:
    message = blocked(Reason(kind, entry="facebook.com", category=category))
    assert (codes(message), texts(message)) == ([code], [text])  # type: ignore[arg-type]


def test_a_long_text_is_cut_at_the_end_of_a_character() -> None:
    data = answers.extended_error(15, "é" * 200)
    assert len(data) <= 4 + 2 + answers.MAX_EXTRA_TEXT
    assert data[6:].decode() == "é" * (answers.MAX_EXTRA_TEXT // 2)


def test_truncation_keeps_question_and_opt_and_nothing_else() -> None:
    query = read_query(ask(use_edns=0, want_dnssec=True, flags=wire.RD | wire.CD))
    answer = answers.Answer(0, 1, 0, bytes(2000), (), (), True, 0.0, 0.0)
    message = read(b"\0\0" + answers.assemble(query, answer, answer.body, 1232, 1232))
    assert message.flags == wire.QR | wire.TC | wire.RD | wire.RA | wire.CD
    assert (len(message.question), message.answer, message.opt is not None) == (1, [], True)
