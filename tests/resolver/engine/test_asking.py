"""The miss path: coalescing, tries, failover, what a bad upstream can and cannot do. Nothing here has a socket."""

from __future__ import annotations

import dns.flags
import dns.rcode
import pytest

from resolver.chance import Chance
from resolver.config import Endpoint, SecureEndpoint
from resolver.engine.asking import random_case
from tests.resolver.laboratory import STAFF, STUDENT, Laboratory
from tests.resolver.messages import ask, codes, read, reply, texts

ONE = (Endpoint("127.0.0.1", 5301),)


def test_many_askers_of_one_question_are_one_question_upstream() -> None:
    laboratory = Laboratory()
    laboratory.feed(*(ask("example.com", id=number) for number in range(20)))
    laboratory.feed(ask("Example.com", id=99), client=STAFF)
    assert len(laboratory.sent) == 1
    laboratory.answer("example.com. 300 A 192.0.2.1")
    assert [int.from_bytes(data[:2], "big") for data in laboratory.late] == [*range(20), 99]
    assert laboratory.engine.counters.coalesced == 20
    assert laboratory.engine.counters.inflight == 0


def test_silence_is_tried_again_at_the_next_upstream_and_then_told() -> None:
    laboratory = Laboratory(upstream_timeout=1.0, upstream_tries=3)
    laboratory.ask("example.com", use_edns=0)
    laboratory.tick(0.2)
    assert len(laboratory.sent) == 1
    laboratory.tick(0.1)
    laboratory.tick(0.6)
    assert [server for _, server, _, _ in laboratory.sent] == [0, 1, 0]
    laboratory.tick(0.9)
    assert laboratory.late == []
    laboratory.tick(0.1)
    found = read(laboratory.late[0])
    assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [22])
    assert laboratory.engine.counters.inflight == 0


def test_a_failure_is_kept_for_a_moment_only() -> None:
    laboratory = Laboratory(upstreams=ONE, upstream_tries=1, failure_ttl=5)
    laboratory.ask("example.com")
    laboratory.tick(2)
    assert laboratory.ask("example.com").rcode() == dns.rcode.SERVFAIL  # type: ignore[union-attr]
    laboratory.now += 5
    assert laboratory.ask("example.com") is None


def test_a_late_answer_to_an_earlier_try_is_as_good() -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    laboratory.tick(2)
    first = laboratory.sent[0]
    laboratory.raw_upstream(reply(first[2], "example.com. 300 A 192.0.2.1"), first[0])
    assert read(laboratory.late[0]).answer


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTAUTH"])
def test_an_upstream_that_fails_is_passed_over(rcode: str) -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com", use_edns=0)
    laboratory.raw_upstream(reply(laboratory.sent[0][2], rcode=rcode), laboratory.sent[0][0])
    assert [server for _, server, _, _ in laboratory.sent] == [0, 1]
    laboratory.sent.pop(0)
    assert laboratory.answer("example.com. 300 A 192.0.2.1").answer


def test_when_all_answers_are_errors_the_client_is_told_of_a_network_error() -> None:
    laboratory = Laboratory(upstream_tries=2)
    laboratory.ask("example.com", use_edns=0)
    for _ in range(2):
        serial, _, message, _ = laboratory.sent.pop(0)
        laboratory.raw_upstream(reply(message, rcode="SERVFAIL"), serial)
    assert codes(read(laboratory.late[0])) == [23]


@pytest.mark.parametrize(
    ("title", "damaged"),
    [
        ("garbage behind the question", lambda data, query: data[:29] + b"\xff" * 40),
        ("cut", lambda data, query: data[:40]),
        ("only a header", lambda data, query: data[:12]),
        ("another name", lambda data, query: reply(ask("evil.test"), "evil.test. 300 A 192.0.2.66")),
        ("another type", lambda data, query: reply(ask("example.com", "AAAA"), "example.com. 300 AAAA 2001:db8::1")),
        ("the query itself", lambda data, query: query),
        ("a pointer loop", lambda data, query: data[:29] + b"\xc0\x1d" + data[31:]),
        ("an alias loop", lambda data, query: reply(query, "example.com. 60 CNAME example.com.")),
        ("a referral", lambda data, query: reply(query, authority=("example.com. 60 NS ns.evil.test.",))),
    ],
)
def test_what_an_upstream_sends_amiss_is_never_given_or_kept(title: str, damaged: object) -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    serial, _, message, _ = laboratory.sent.pop(0)
    good = reply(message, "example.com. 300 A 192.0.2.1")
    laboratory.raw_upstream(damaged(good, message), serial)  # type: ignore[operator]
    assert laboratory.late == []
    assert len(laboratory.engine._judge.cache) == 0
    assert laboratory.answer("example.com. 300 A 192.0.2.1").answer


def test_a_truncated_reply_is_asked_again_over_tcp_at_the_same_upstream() -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    serial, server, message, stream = laboratory.sent.pop(0)
    laboratory.raw_upstream(reply(message, flags=int(dns.flags.TC)), serial)
    again = laboratory.sent[0]
    assert (stream, again[1], again[3]) == (False, server, True)
    assert laboratory.answer("example.com. 300 A 192.0.2.1").answer


def test_a_reply_in_another_case_is_not_believed_but_settled_over_tcp() -> None:
    laboratory = Laboratory()
    laboratory.ask("a-name-with-many-letters.example.com")
    serial, _, message, _ = laboratory.sent.pop(0)
    flipped = message[:12] + message[12:-15].swapcase() + message[-15:]
    laboratory.raw_upstream(reply(flipped, "a-name-with-many-letters.example.com. 300 A 192.0.2.66"), serial)
    assert (laboratory.late, laboratory.sent[0][3]) == ([], True)


def test_what_answers_no_question_is_stray() -> None:
    laboratory = Laboratory()
    laboratory.raw_upstream(reply(ask("example.com"), "example.com. 300 A 192.0.2.66"), 4711)
    assert (laboratory.late, laboratory.engine.counters.stray) == ([], 1)


def test_a_full_table_turns_the_newcomer_away_and_nobody_else() -> None:
    laboratory = Laboratory(max_inflight=3)
    laboratory.resolve("hit.example", "hit.example. 300 A 192.0.2.1")
    for number in range(3):
        assert laboratory.ask(f"n{number}.example") is None
    found = laboratory.ask("n4.example", use_edns=0)
    assert found is not None
    assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [23])
    assert laboratory.ask("hit.example") is not None
    assert laboratory.ask("facebook.com") is not None
    laboratory.answer("n0.example. 300 A 192.0.2.1")
    assert laboratory.ask("n5.example") is None


def test_without_an_upstream_a_question_fails_and_a_block_does_not() -> None:
    laboratory = Laboratory(upstreams=())
    assert laboratory.ask("example.com").rcode() == dns.rcode.SERVFAIL  # type: ignore[union-attr]
    assert laboratory.ask("facebook.com").rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]


def test_an_upstream_that_keeps_failing_rests_and_comes_back() -> None:
    laboratory = Laboratory(upstream_timeout=1.0)
    for number in range(3):
        laboratory.ask(f"n{number}.example")
        laboratory.sent.clear()
    laboratory.tick(1.0)
    laboratory.sent.clear()
    laboratory.ask("next.example")
    assert laboratory.sent.pop()[1] == 1
    laboratory.now += 31
    laboratory.ask("probe.example")
    laboratory.ask("other.example")
    assert [server for _, server, _, _ in laboratory.sent] == [1, 0, 1]  # the probe is a copy, and one is enough
    laboratory.now += 0.3
    laboratory.answer("probe.example. 300 A 192.0.2.1")
    serial, _, message, _ = laboratory.sent.pop(0)
    laboratory.raw_upstream(reply(message, "probe.example. 300 A 192.0.2.1"), serial)
    laboratory.ask("back.example")
    assert laboratory.engine.counters.stray == 0
    assert laboratory.engine._asking._servers[0].failures == 0


def test_with_every_upstream_resting_a_question_is_tried_once_each() -> None:
    laboratory = Laboratory(upstreams=ONE, upstream_timeout=1.0, upstream_tries=3, failure_ttl=0)
    laboratory.ask("first.example")
    for _ in range(3):
        laboratory.tick(1.0)
    assert len(laboratory.sent) == 3
    laboratory.sent.clear()
    laboratory.ask("second.example")
    laboratory.tick(1.0)
    assert len(laboratory.sent) == 1
    assert read(laboratory.late[-1]).rcode() == dns.rcode.SERVFAIL


def test_a_hint_moves_on_to_another_upstream_and_is_ignored_without_one() -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    laboratory._take(laboratory.engine.unreachable([laboratory.sent[0][0]], laboratory.now))
    assert [server for _, server, _, _ in laboratory.sent] == [0, 1]
    alone = Laboratory(upstreams=ONE)
    alone.ask("example.com")
    alone._take(alone.engine.unreachable([alone.sent[0][0]], alone.now))
    assert (len(alone.sent), alone.late) == (1, [])
    assert alone.engine._asking._servers[0].failures == 1
    assert alone.answer("example.com. 300 A 192.0.2.1").answer


def test_a_clock_that_is_set_back_does_not_strand_questions() -> None:
    laboratory = Laboratory(upstreams=ONE, upstream_tries=1, upstream_timeout=1.0)
    laboratory.ask("example.com")
    laboratory.tick(-7200)
    laboratory.tick(1.0)
    assert len(laboratory.late) == 1


def test_the_record_of_a_miss_has_its_latency() -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com", client=STUDENT)
    laboratory.now += 0.25
    laboratory.answer("example.com. 300 A 192.0.2.1")
    assert 249_000 <= laboratory.log[-1].latency <= 251_000


def test_random_case_keeps_the_name() -> None:
    name = b"\x03www\x07example\x03com\0"
    chance = Chance()
    cases = {random_case(name, chance.draw()) for _ in range(50)}
    assert len(cases) > 5
    assert {one.lower() for one in cases} == {name}


def test_nothing_is_due_once_every_question_is_answered() -> None:
    laboratory = Laboratory(upstreams=ONE)
    laboratory.ask("a.example")
    laboratory.ask("b.example")
    assert laboratory.engine.next_deadline() == laboratory.now + 1.5
    laboratory.answer("a.example. 300 A 192.0.2.1")
    assert laboratory.engine.next_deadline() == laboratory.now + 1.5
    laboratory.answer("b.example. 300 A 192.0.2.1")
    assert laboratory.engine.next_deadline() is None


def test_an_upstream_may_fail_for_ever() -> None:
    laboratory = Laboratory(upstreams=ONE, failure_ttl=0, upstream_tries=1)
    for number in range(1500):
        laboratory.ask(f"n{number}.example")
        laboratory.tick(40)
    assert read(laboratory.late[-1]).rcode() == dns.rcode.SERVFAIL


def test_a_zone_that_fails_is_not_its_upstreams_fault() -> None:
    laboratory = Laboratory(upstream_tries=1)
    for number in range(5):
        laboratory.ask(f"n{number}.example")
        serial, server, message, _ = laboratory.sent.pop(0)
        laboratory.raw_upstream(reply(message, rcode="SERVFAIL"), serial)
        assert server == 0


def ask_and_answer(laboratory: Laboratory, name: str, took: dict[int, float]) -> list[int]:
    """Ask for `name`; every upstream that was asked answers after its own time. Return whom was asked, in order."""
    laboratory.ask(name)
    asked = [server for _, server, _, _ in laboratory.sent]
    began = laboratory.now
    for serial, server, message, _ in sorted(laboratory.sent, key=lambda send: took[send[1]]):
        laboratory.now = began + took[server]
        laboratory.raw_upstream(reply(message, f"{name}. 300 A 192.0.2.1"), serial)
    laboratory.sent.clear()
    return asked


def test_the_fastest_upstream_is_asked_first_and_the_other_is_measured_with_copies() -> None:
    laboratory = Laboratory()
    took = {0: 0.08, 1: 0.01}
    assert ask_and_answer(laboratory, "first.example", took) == [0]
    laboratory.now += 11
    assert ask_and_answer(laboratory, "second.example", took) == [0, 1]
    assert ask_and_answer(laboratory, "third.example", took) == [1]
    took = {0: 0.001, 1: 0.2}  # the network changed
    for number in range(40):
        laboratory.now += 11
        ask_and_answer(laboratory, f"later{number}.example", took)
    assert ask_and_answer(laboratory, "last.example", took)[0] == 0
    assert laboratory.engine.counters.stray == 0


def test_a_dead_upstream_costs_the_first_question_a_third_of_a_second_and_the_next_nothing() -> None:
    laboratory = Laboratory(upstream_timeout=1.5)
    laboratory.ask("first.example")
    laboratory.tick(0.3)
    assert [server for _, server, _, _ in laboratory.sent] == [0, 1]
    laboratory.sent.pop(0)
    laboratory.answer("first.example. 300 A 192.0.2.1")
    laboratory.ask("second.example")
    assert [server for _, server, _, _ in laboratory.sent] == [1]


def test_a_slow_name_does_not_spoil_the_health_of_an_upstream_that_answers_others() -> None:
    laboratory = Laboratory()
    for number in range(6):
        laboratory.ask(f"slow{number}.example")
        laboratory.now += 0.01
        slow = laboratory.sent.pop()
        assert slow[1] == 0
        laboratory.resolve(f"fast{number}.example", f"fast{number}.example. 300 A 192.0.2.1")
        laboratory.tick(0.4)
        laboratory.sent.clear()
    assert laboratory.engine._asking._servers[0].failures == 0


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP"])
def test_an_upstream_that_does_not_know_edns_is_asked_without_it_and_that_is_remembered(rcode: str) -> None:
    laboratory = Laboratory(upstreams=ONE)
    laboratory.ask("example.com")
    serial, server, message, _ = laboratory.sent.pop()
    laboratory.raw_upstream(reply(message, rcode=rcode), serial)
    assert laboratory.sent[0][1] == server
    assert read(laboratory.sent[0][2]).edns == -1
    assert laboratory.answer("example.com. 300 A 192.0.2.1").answer
    laboratory.ask("next.example")
    assert read(laboratory.sent[0][2]).edns == -1
    laboratory.now += 901
    laboratory.ask("later.example")
    assert read(laboratory.sent[-1][2]).edns == 0


def test_an_upstream_that_refuses_the_question_with_and_without_edns_is_passed_over() -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    for _ in range(2):
        serial, _, message, _ = laboratory.sent.pop()
        laboratory.raw_upstream(reply(message, rcode="FORMERR"), serial)
    assert [(server, read(message).edns) for _, server, message, _ in laboratory.sent] == [(1, 0)]


def test_an_error_that_comes_late_does_not_end_the_try_that_runs() -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    laboratory.tick(0.3)
    first = laboratory.sent.pop(0)
    laboratory.raw_upstream(reply(first[2], rcode="REFUSED"), first[0])
    assert (laboratory.late, len(laboratory.sent)) == ([], 1)
    assert laboratory.answer("example.com. 300 A 192.0.2.1").answer


@pytest.mark.parametrize("length", [0, 1, 3, 5, 16])
def test_an_address_of_the_wrong_length_is_an_error_of_that_upstream(length: int) -> None:
    laboratory = Laboratory()
    laboratory.ask("example.com")
    serial, _, message, _ = laboratory.sent.pop(0)
    good = reply(message, "example.com. 300 A 192.0.2.1")
    at = len(message) - 11  # behind the question
    record = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c" + length.to_bytes(2, "big") + bytes(length)
    laboratory.raw_upstream(good[:10] + b"\0\0" + good[12:at] + record, serial)
    assert (laboratory.late, len(laboratory.engine._judge.cache)) == ([], 0)
    assert [server for _, server, _, _ in laboratory.sent] == [1]


@pytest.mark.parametrize(
    "trouble",
    [
        "its certificate is not accepted: it has expired",
        "its certificate is not accepted: it is for another name than dns.test",
        "it cannot be reached: Connection refused",
    ],
)
def test_what_is_wrong_with_an_encrypted_upstream_is_said_to_who_asks(trouble: str) -> None:
    laboratory = Laboratory(upstreams=(SecureEndpoint("192.0.2.1", 853, "dns.test"),))
    laboratory.engine.trouble(0, trouble)
    assert laboratory.ask("example.com", use_edns=0) is None
    for _ in range(9):
        laboratory.tick(1)
    (late,) = laboratory.late
    assert (codes(read(late)), texts(read(late))) == ([22], [f"dns.test: {trouble}"])
    laboratory.engine.trouble(0, "")
    laboratory.late.clear()
    laboratory.tick(60)
    assert laboratory.ask("www.example.com", use_edns=0) is None
    for _ in range(9):
        laboratory.tick(1)
    assert texts(read(laboratory.late[0])) == [""]
