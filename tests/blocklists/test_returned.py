"""What comes back, as `explain` is told and tells it. The resolver judges alike: tests/resolver/test_scenarios.py."""

from __future__ import annotations

import pytest

from blocklists import reasons
from blocklists.policy import Policy, Verdict
from blocklists.returned import Returned, explain, given
from blocklists.rules import Rules
from tests.blocklists.test_decisions import snapshot_of

PLAIN = {"ask": "a.example", "lists": {"social-media": ["facebook.com"]}}


def explained(
    returned: Returned | None, name: str = "a.example", rtype: str = "A"
) -> tuple[Verdict, list[str], Policy]:
    snapshot = snapshot_of(PLAIN)
    rules: Rules = snapshot.rules("edison/students")
    found = explain(name, rules, snapshot.policy, 0, "A", lambda asked: returned)
    return found.verdict, [f"{one.number} {one.found}{' !' * one.decided}" for one in found.steps], snapshot.policy


def test_an_answer_is_told_as_addresses_and_names_in_their_order() -> None:
    assert given(["192.0.2.1", "2001:db8::1"]) == Returned()
    assert given(["Edge.FaceBook.com.", "https://b.example/x", "10.0.0.1"]) == Returned(
        ("edge.facebook.com", "b.example"), 2, True
    )
    assert given(["b.example", "[fd00::1]"], "HTTPS") == Returned(("b.example",), 0, True)


@pytest.mark.parametrize("text", ["10.0.0.256", "1.2.3", "a..b", ""])
def test_what_is_neither_an_address_nor_a_name_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is neither an address nor a name"):
        given([text])


def test_a_blocked_target_decides_and_is_named_with_its_list() -> None:
    verdict, steps, policy = explained(Returned(("cdn.example", "edge.facebook.com"), 2))
    assert (verdict.action, verdict.style, verdict.reason.entry) == ("block", "nodata", "facebook.com")
    assert steps[-2:] == [
        "8 no rule forbids it",
        "9 it leads to cdn.example: no rule forbids it; "
        "it leads to edge.facebook.com: facebook.com is in list social-media (social-media) !",
    ]
    assert reasons.told(verdict, policy) == f"Social media: how to ask: {policy.portal}/why"


def test_a_private_address_decides_for_a_public_name() -> None:
    verdict, steps, policy = explained(Returned(private=True))
    assert (verdict.reason.kind, verdict.reason.entry) == ("rebinding", "a.example")
    assert steps[-1] == "9 the answer for a.example holds a private address, and a.example is a public name !"
    assert reasons.told(verdict, policy).startswith("Private address: ")


def test_what_is_not_known_or_holds_nothing_leaves_the_decision_on_the_name() -> None:
    for returned, words in (
        (None, "9 upstream's answer for a.example is not known"),
        (Returned(), "9 the answer for a.example holds nothing that is blocked"),
    ):
        verdict, steps, policy = explained(returned)
        assert (verdict.action, steps[-2:]) == ("allow", ["8 no rule forbids it !", words])
        assert reasons.told(verdict, policy) == ""


def test_nobody_is_asked_about_a_blocked_name() -> None:
    verdict, steps, _ = explained(Returned(("b.example",), 1), "www.facebook.com")
    assert (verdict.reason.kind, steps[-1][0]) == ("category", "7")
