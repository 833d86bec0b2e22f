"""Names that an answer leads to are judged as the asked one is."""

from __future__ import annotations

import dns.rcode
import pytest

from tests.resolver.laboratory import STAFF, Laboratory, make_snapshot_of
from tests.support import grant

CHAIN = ("tool.example. 300 CNAME scontent.fbcdn.net.", "scontent.fbcdn.net. 300 A 192.0.2.1")


def test_an_alias_to_a_blocked_name_is_blocked_for_its_reason() -> None:
    laboratory = Laboratory()
    found = laboratory.resolve("tool.example", *CHAIN)
    assert (found.rcode(), found.answer) == (dns.rcode.NOERROR, [])  # NXDOMAIN would deny what lies below
    assert str(found.authority[0].name) == "tool.example."
    assert laboratory.log[-1].entry == "fbcdn.net"
    staff = laboratory.ask("tool.example", client=STAFF)
    assert staff is not None
    assert len(staff.answer) == 2


@pytest.mark.parametrize(
    ("entries", "opened"),
    [
        (("facebook.com",), False),
        (("facebook.com", "~fbcdn.net"), True),
        (("facebook.com", "fbcdn.net"), True),
    ],
)
def test_a_grant_opens_a_target_only_when_it_says_so(entries: tuple[str, ...], opened: bool) -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, *entries),)))
    found = laboratory.resolve("facebook.com", "facebook.com. 300 CNAME x.fbcdn.net.", "x.fbcdn.net. 300 A 192.0.2.1")
    assert bool(found.answer) is opened
    direct = laboratory.ask("x.fbcdn.net")
    assert (direct is None) is (opened and "fbcdn.net" in entries)


def test_via_never_passes_a_locked_category() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com", "~porn.example"),)))
    found = laboratory.resolve("facebook.com", "facebook.com. 300 CNAME porn.example.", "porn.example. 9 A 192.0.2.1")
    assert found.answer == []


def test_an_open_name_whose_target_only_a_grant_opens_lives_a_minute() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "fbcdn.net"),)))
    assert laboratory.resolve("tool.example", *CHAIN).answer[0].ttl == 60


@pytest.mark.parametrize("data", ["0 www.facebook.com.", "1 www.facebook.com. alpn=h2"])
def test_a_service_binding_to_a_blocked_name_is_blocked(data: str) -> None:
    laboratory = Laboratory()
    assert laboratory.ask("tool.example", "HTTPS") is None
    found = laboratory.answer(f"tool.example. 300 HTTPS {data}")
    assert (found.answer, len(found.authority)) == ([], 1)


def test_a_dname_to_a_blocked_name_is_blocked() -> None:
    found = Laboratory().resolve(
        "www.tool.example",
        "tool.example. 300 DNAME facebook.com.",
        "www.tool.example. 300 CNAME www.facebook.com.",
        "www.facebook.com. 300 A 192.0.2.1",
    )
    assert found.answer == []
