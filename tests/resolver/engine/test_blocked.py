"""What the engine says in place of a blocked name, in every style and to every type."""

from __future__ import annotations

from dataclasses import replace

import dns.flags
import dns.rcode
import pytest

from blocklists.policy import AnswerStyle
from tests.resolver.laboratory import Laboratory, make_snapshot_of
from tests.resolver.messages import codes, texts
from tests.support import CATEGORIES, grant


def style(name: str) -> dict[str, object]:
    return {"categories": tuple(_styled(one, name) for one in CATEGORIES)}


def _styled(category: object, name: str) -> object:
    return replace(category, style=AnswerStyle(name))  # type: ignore[type-var]


def test_a_blocked_name_is_denied_with_our_soa_and_the_way_to_ask() -> None:
    found = Laboratory().ask("www.Facebook.com", use_edns=0)
    assert found is not None
    assert found.rcode() == dns.rcode.NXDOMAIN
    soa = found.authority[0]
    assert (str(soa.name).lower(), soa.ttl, soa[0].minimum) == ("facebook.com.", 10, 10)
    assert codes(found) == [15]
    assert texts(found) == ["Social media: how to ask: https://filter.district.example/why"]
    assert str(found.question[0].name) == "www.Facebook.com."


def test_a_locked_name_is_censored_and_no_way_to_ask_is_promised() -> None:
    found = Laboratory().ask("porn.example", use_edns=0)
    assert found is not None
    assert codes(found) == [16]
    assert "ask" not in texts(found)[0]


def test_without_edns_there_is_no_opt_in_the_answer() -> None:
    found = Laboratory().ask("facebook.com")
    assert found is not None
    assert (found.opt, found.rcode()) == (None, dns.rcode.NXDOMAIN)


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "records"),
    [
        ("nxdomain", "A", "NXDOMAIN", 0),
        ("nodata", "A", "NOERROR", 0),
        ("null", "A", "NOERROR", 1),
        ("null", "AAAA", "NOERROR", 1),
        ("null", "MX", "NOERROR", 0),
        ("refused", "A", "REFUSED", 0),
    ],
)
def test_every_style_of_a_block(name: str, qtype: str, rcode: str, records: int) -> None:
    found = Laboratory(make_snapshot_of(**style(name))).ask("facebook.com", qtype, use_edns=0)
    assert found is not None
    assert (dns.rcode.to_text(found.rcode()), len(found.answer)) == (rcode, records)
    assert len(found.authority) == (0 if records or name == "refused" else 1)
    assert codes(found) == [4 if records else 15]
    if records:
        assert (str(found.answer[0][0]), found.answer[0].ttl) == ({"A": "0.0.0.0", "AAAA": "::"}[qtype], 10)


@pytest.mark.parametrize(("qtype", "do"), [("A", False), ("AAAA", True), ("HTTPS", False), ("ANY", True), ("DS", True)])
def test_every_type_of_a_blocked_name_is_blocked_with_do_too(qtype: str, do: bool) -> None:
    found = Laboratory().ask("facebook.com", qtype, use_edns=0, want_dnssec=do)
    assert found is not None
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert not found.flags & dns.flags.AD


@pytest.mark.parametrize("name", ["use-application-dns.net", "mask.icloud.com", "x.onion", "_dns.resolver.arpa"])
def test_bypass_signals_are_answered_and_never_forwarded(name: str) -> None:
    laboratory = Laboratory()
    found = laboratory.ask(name, use_edns=0)
    assert found is not None
    assert laboratory.sent == []
    assert found.rcode() == (dns.rcode.NOERROR if "resolver" in name else dns.rcode.NXDOMAIN)


def test_a_block_with_an_exception_below_is_nodata() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(1, "edu.facebook.com"),)))
    blocked = laboratory.ask("facebook.com")
    assert blocked is not None
    assert (blocked.rcode(), len(blocked.authority)) == (dns.rcode.NOERROR, 1)
    assert laboratory.ask("edu.facebook.com") is None


def test_any_of_an_allowed_name_is_one_hinfo() -> None:
    found = Laboratory().ask("example.com", "ANY")
    assert found is not None
    assert [str(one[0]) for one in found.answer] == ['"RFC8482" ""']
