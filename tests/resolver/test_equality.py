"""Our answers beside Unbound's over signed and unsigned zones; and a blocked name whose zone is really signed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from blocklists.snapshot import Snapshot, make_snapshot
from tests.resolver import equality
from tests.resolver.messages import codes, texts
from tests.resolver.processes.test_worker import HERE
from tests.resolver.sockets import Worker, worker
from tests.resolver.zones import Zones, missing, zones
from tests.support import make_base, make_policy

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
BLOCKED = "blocked.signed.example"


def snapshot() -> Snapshot:
    base = make_base({"social-media": [BLOCKED]})
    return make_snapshot(make_policy(base, groups=(HERE,)), f"{1:064x}", base)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zones]:
    with zones(tmp_path_factory.mktemp("zones")) as made:
        yield made


@pytest.fixture(scope="module")
def ours(served: Zones, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    state = tmp_path_factory.mktemp("state")
    with worker(state, lambda _: snapshot(), **equality.settings_for(served)) as made:
        yield made


def asked(name: str, qtype: str, port: int) -> dns.message.Message:
    question = equality.Question(name, qtype, True, True, False, True, 1232, True)
    return asyncio.run(equality.answer(question, port, tcp=True))


@pytest.mark.slow
def test_a_thousand_mixed_questions_are_answered_as_unbound_answers_them(served: Zones, ours: Worker) -> None:
    result = equality.run(1_000, 4414, served, ours.port)
    assert result.different == []
    assert result.asked == 1_000
    assert set(result.rcodes) == {"NOERROR", "NXDOMAIN", "SERVFAIL"}


@pytest.mark.parametrize(
    ("name", "qtype"),
    [(BLOCKED, "A"), (BLOCKED, "HTTPS"), (BLOCKED, "DNSKEY"), (f"www.{BLOCKED}", "A"), (f"any.{BLOCKED}", "TXT")],
)
def test_a_blocked_name_that_is_really_signed_is_blocked_for_who_asks_for_dnssec(
    served: Zones, ours: Worker, name: str, qtype: str
) -> None:
    signed = asked(name, qtype, served.unbound)
    assert signed.flags & dns.flags.AD
    if qtype != "DNSKEY":
        assert dns.rdatatype.RRSIG in {one.rdtype for one in signed.answer}
    found = asked(name, qtype, ours.port)
    assert (found.rcode(), codes(found), found.answer) == (dns.rcode.NXDOMAIN, [15], [])
    assert [one.rdtype for one in found.authority] == [dns.rdatatype.SOA]
    assert not found.flags & dns.flags.AD
    assert "Social media" in texts(found)[0]


def test_a_signed_alias_to_a_blocked_name_is_blocked_too(served: Zones, ours: Worker) -> None:
    assert asked("toblocked.signed.example", "A", served.unbound).flags & dns.flags.AD
    found = asked("toblocked.signed.example", "A", ours.port)
    assert (found.rcode(), codes(found), found.answer) == (dns.rcode.NOERROR, [15], [])


def test_a_signed_open_name_keeps_its_signatures_and_the_mark_of_having_been_checked(ours: Worker) -> None:
    found = asked("www.signed.example", "A", ours.port)
    assert [one.rdtype for one in found.answer] == [dns.rdatatype.A, dns.rdatatype.RRSIG]
    assert found.flags & dns.flags.AD


def test_an_answer_whose_signature_is_wrong_is_a_servfail_unless_checking_is_disabled(ours: Worker) -> None:
    assert asked("www.bogus.signed.example", "A", ours.port).rcode() == dns.rcode.SERVFAIL
    unchecked = equality.Question("www.bogus.signed.example", "A", True, True, True, False, 1232, True)
    found = asyncio.run(equality.answer(unchecked, ours.port, tcp=True))
    assert (str(found.answer[0][0]), found.flags & dns.flags.AD) == ("9.3.0.66", 0)
