"""How a block is said: the address of the block page, and structured errors to those that ask for them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import dns.edns
import dns.message
import dns.rcode
import pytest

from blocklists.policy import Answering, AnswerStyle
from resolver.message import wire
from tests.resolver.laboratory import Laboratory, make_snapshot_of
from tests.resolver.messages import codes, texts
from tests.support import CATEGORIES, grant

ASKS = dns.edns.GenericOption(wire.STRUCTURED, b"")  # type: ignore[no-untyped-call]
TOLD = Answering(
    ("192.0.2.80", "192.0.2.81", "2001:db8::80"),
    structured=True,
    contact="mailto:help@district.example",
    organisation="Example District",
)


def laboratory(style: AnswerStyle = AnswerStyle.NXDOMAIN, answering: Answering = TOLD, **fields: Any) -> Laboratory:
    categories = tuple(replace(one, style=style) for one in CATEGORIES)
    return Laboratory(make_snapshot_of(categories=categories, answering=answering, **fields))


def ask(lab: Laboratory, name: str, qtype: str = "A", **options: Any) -> dns.message.Message:
    found = lab.ask(name, qtype, **{"use_edns": 0, **options})
    assert found is not None
    return found


def structured(message: dns.message.Message) -> dict[str, object]:
    (text,) = texts(message)
    found: dict[str, object] = json.loads(text)
    assert text == json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return found


@pytest.mark.parametrize(
    ("qtype", "addresses"),
    [("A", ["192.0.2.80", "192.0.2.81"]), ("AAAA", ["2001:db8::80"]), ("HTTPS", []), ("TXT", [])],
)
def test_the_style_page_gives_the_block_pages_addresses_and_says_that_it_forged_them(
    qtype: str, addresses: list[str]
) -> None:
    found = ask(laboratory(AnswerStyle.PAGE), "facebook.com", qtype)
    assert found.rcode() == dns.rcode.NOERROR
    assert sorted(str(one) for rrset in found.answer for one in rrset) == addresses
    assert all(rrset.ttl == 10 for rrset in found.answer)
    assert codes(found) == [4 if addresses else 15]
    assert len(found.authority) == (0 if addresses else 1)


def test_without_an_address_of_that_family_the_block_page_is_no_addresses() -> None:
    found = ask(laboratory(AnswerStyle.PAGE, Answering(("192.0.2.80",))), "facebook.com", "AAAA")
    assert (found.rcode(), found.answer, len(found.authority)) == (dns.rcode.NOERROR, [], 1)


def test_a_structured_error_names_whom_to_ask_and_why() -> None:
    assert structured(ask(laboratory(), "facebook.com", options=[ASKS])) == {
        "c": ["mailto:help@district.example"],
        "j": "Social media: how to ask: https://filter.district.example/why",
        "s": 5,
        "o": "Example District",
        "l": "en",
    }


def test_the_sub_error_of_malware_is_malware() -> None:
    lab = laboratory(lists={"malware": ["bad.example"]})
    found = ask(lab, "bad.example", options=[ASKS])
    assert (structured(found)["s"], codes(found)) == (1, [16])


@pytest.mark.parametrize(
    ("answering", "options"), [(TOLD, []), (replace(TOLD, structured=False), [ASKS])], ids=["unasked", "switched off"]
)
def test_who_did_not_ask_or_may_not_gets_the_sentence(answering: Answering, options: list[Any]) -> None:
    found = ask(laboratory(answering=answering), "facebook.com", options=options)
    assert texts(found) == ["Social media: how to ask: https://filter.district.example/why"]


@pytest.mark.parametrize("style", [AnswerStyle.NULL, AnswerStyle.PAGE])
def test_a_forged_answer_never_carries_a_structured_error(style: AnswerStyle) -> None:
    found = ask(laboratory(style), "facebook.com", options=[ASKS])
    assert (codes(found), texts(found)[0][:1]) == ([4], "S")


def test_a_contact_that_is_a_web_address_is_left_out() -> None:
    lab = laboratory(answering=replace(TOLD, contact="https://desk.district.example"))
    assert structured(ask(lab, "facebook.com", options=[ASKS]))["c"] == []


def test_when_space_is_short_justification_and_then_organisation_go() -> None:
    kept = []
    for length in range(0, 400, 10):
        lab = laboratory(answering=replace(TOLD, organisation="ö" * length))
        found = ask(lab, "facebook.com", options=[ASKS], payload=512)
        assert len(found.to_wire()) <= 512
        kept.append("".join(structured(found)))
    assert list(dict.fromkeys(kept)) == ["cjsl", "cjsol", "csol", "csl"]


def test_an_asker_of_structured_errors_and_another_do_not_get_each_others_answer() -> None:
    lab = laboratory()
    for _ in range(3):
        assert texts(ask(lab, "facebook.com"))[0].startswith("Social media")
        assert structured(ask(lab, "facebook.com", options=[ASKS]))["s"] == 5


@pytest.mark.parametrize("style", AnswerStyle)
def test_above_an_exception_no_style_denies_the_name(style: AnswerStyle) -> None:
    found = ask(laboratory(style, grants=(grant(1, "edu.facebook.com"),)), "facebook.com")
    assert found.rcode() == (dns.rcode.REFUSED if style is AnswerStyle.REFUSED else dns.rcode.NOERROR)
