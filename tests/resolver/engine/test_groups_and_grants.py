"""Who is answered by which policy, and what grants and brakes do to the second."""

from __future__ import annotations

import dns.rcode

from blocklists.policy import Action, Audience, ReasonKind, Window
from tests.resolver.laboratory import NOW, STAFF, STRANGER, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import texts
from tests.support import brake, grant, group


def test_each_group_is_answered_by_its_own_policy_and_shares_the_cache() -> None:
    laboratory = Laboratory()
    assert laboratory.ask("facebook.com", client=STUDENT).rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]
    found = laboratory.resolve("facebook.com", "facebook.com. 300 A 192.0.2.1", client=STAFF)
    assert found.rcode() == dns.rcode.NOERROR
    assert laboratory.ask("facebook.com", client=STUDENT).rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]
    assert laboratory.ask("facebook.com", client=STRANGER).rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]


def test_a_mapped_address_is_the_ipv4_client() -> None:
    laboratory = Laboratory()
    assert laboratory.ask("facebook.com", client="::ffff:10.2.0.7") is None


def test_the_asked_address_can_name_the_group() -> None:
    staff = group("line", audience=Audience.STAFF, asked=("192.0.2.53",), blocks=())
    laboratory = Laboratory(make_snapshot_of(groups=(staff,)))
    assert laboratory.ask("facebook.com", client=STRANGER) is None


def test_a_granted_answer_lives_at_most_a_minute_and_names_its_grant() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com"),)))
    found = laboratory.resolve("facebook.com", "facebook.com. 3600 A 192.0.2.1")
    assert found.answer[0].ttl == 60
    record = laboratory.log[-1]
    assert (record.action, record.reason, record.number) == (Action.ALLOW, ReasonKind.GRANT, 7)
    open_answer = laboratory.resolve("example.com", "example.com. 3600 A 192.0.2.1")
    assert open_answer.answer[0].ttl == 3600


def test_a_grant_that_ends_is_over_at_that_second_and_ttls_lead_up_to_it() -> None:
    snapshot = make_snapshot_of(grants=(grant(7, "facebook.com", window=Window(0, int(NOW) + 30)),))
    laboratory = Laboratory(snapshot)
    assert laboratory.resolve("facebook.com", "facebook.com. 3600 A 192.0.2.1").answer[0].ttl == 30
    for _ in range(4):
        laboratory.now += 5
        found = laboratory.ask("facebook.com")
        assert found is not None
        assert found.answer[0].ttl == NOW + 30 - laboratory.now
    laboratory.now = NOW + 30
    assert laboratory.ask("facebook.com").rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]


def test_a_grant_that_starts_opens_at_that_second_and_a_block_before_it_is_short() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com", window=Window(int(NOW) + 5, None)),)))
    for _ in range(3):
        found = laboratory.ask("facebook.com")
        assert found is not None
        assert found.authority[0].ttl == 5
    laboratory.now += 5
    assert laboratory.ask("facebook.com") is None


def test_a_brake_beats_a_grant() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com"),), brakes=(brake(3, "facebook.com"),)))
    assert texts(laboratory.ask("facebook.com", use_edns=0))[0].startswith("Emergency block")  # type: ignore[arg-type]
