"""An upstream that leads back to us, on the engine: how it is found, what is answered meanwhile, how it comes back."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from deploy.endpoints import parse_forward
from resolver.children import Post, Role
from resolver.engine.loops import FRESH, Loops
from resolver.message import wire
from resolver.message.wire import read_query
from resolver.processes import report
from tests.resolver.laboratory import CONFIG, NOW, STRANGER, Laboratory, make_snapshot_of
from tests.resolver.messages import SOA, ask, codes, read, reply, texts
from tests.resolver.sockets import Upstream, worker

EVERY = 600.0


def laboratory(**config: object) -> Laboratory:
    return Laboratory(loop_check=EVERY, **config)


def probes(lab: Laboratory) -> dict[int, bytes]:
    """By upstream, the questions whether it leads back that were sent; they are taken out."""
    found = {one[1]: one for one in lab.sent if b"\7in-addr" in one[2].lower() or b"\4corp" in one[2].lower()}
    lab.sent = [one for one in lab.sent if one not in found.values()]
    lab.probes = {server: one[0] for server, one in found.items()}  # type: ignore[attr-defined]
    return {server: one[2] for server, one in found.items()}


def come_back(lab: Laboratory, server: int, message: bytes) -> None:
    """The question comes back to us as a client's, and our answer makes its way to where it was asked."""
    (answer,) = lab.feed(b"\x12\x34" + message[2:], client=STRANGER)
    lab.raw_upstream(answer, lab.probes[server])  # type: ignore[attr-defined]


def answer_in_order(lab: Laboratory, server: int, message: bytes) -> None:
    soa = SOA.replace("example.com. 3600", "in-addr.arpa. 3600", 1)
    lab.raw_upstream(reply(message, authority=(soa,), rcode="NXDOMAIN"), lab.probes[server])  # type: ignore[attr-defined]


def test_each_upstream_is_asked_at_the_start_and_then_now_and_again() -> None:
    lab = laboratory()
    lab.tick(0)
    first = probes(lab)
    assert set(first) == {0, 1}
    assert len({read_query(one).name for one in first.values()}) == 2
    for server, message in first.items():
        answer_in_order(lab, server, message)
    lab.tick(EVERY - 1)
    assert (lab.sent, probes(lab)) == ([], {})
    lab.tick(2)
    again = probes(lab)
    assert set(again) == {0, 1} and not set(again.values()) & set(first.values())
    assert [one[0] for one in lab.engine.upstreams(lab.now)] == ["answers", "answers"]


def test_an_upstream_that_leads_back_is_left_out_and_taken_in_again_when_it_no_longer_does() -> None:
    lab = laboratory()
    lab.tick(0)
    found = probes(lab)
    come_back(lab, 0, found[0])
    answer_in_order(lab, 1, found[1])
    assert [one[0] for one in lab.engine.upstreams(lab.now)] == ["loops", "answers"]
    for number in range(5):
        lab.ask(f"n{number}.example.com")
    assert {one[1] for one in lab.sent} == {1}
    lab.sent.clear()
    lab.tick(31)
    found = probes(lab)
    assert set(found) == {0}
    answer_in_order(lab, 0, found[0])
    assert lab.engine.upstreams(lab.now)[0][0] == "answers"


def test_when_every_upstream_leads_back_questions_fail_at_once_and_say_why() -> None:
    lab = laboratory()
    lab.tick(0)
    for server, message in probes(lab).items():
        come_back(lab, server, message)
    for _ in range(3):
        failed = lab.ask("example.com", use_edns=0)
        assert failed is not None and failed.rcode() == dns.rcode.SERVFAIL
        assert (codes(failed), texts(failed)) == ([22], ["127.0.0.1: it leads back to this resolver"])
    assert lab.sent == []
    assert lab.engine.counters.inflight == 0


def test_an_old_answer_is_given_meanwhile() -> None:
    lab = laboratory()
    lab.resolve("example.com", "example.com. 60 A 192.0.2.1")
    lab.tick(61)
    for server, message in probes(lab).items():
        come_back(lab, server, message)
    stale = lab.ask("example.com", use_edns=0)
    assert stale is not None and (str(stale.answer[0][0]), codes(stale)) == ("192.0.2.1", [3])


def test_silence_is_a_reason_to_look_soon() -> None:
    lab = Laboratory(loop_check=EVERY, upstreams=Laboratory().engine._config.upstreams[:1])
    lab.tick(0)
    for server, message in probes(lab).items():
        answer_in_order(lab, server, message)
    lab.tick(60)
    for number in range(3):  # the questions come back and are joined to themselves, so nobody answers
        lab.ask(f"n{number}.example.com")
        lab.tick(10)
        lab.tick(10)
    found = probes(lab)
    assert set(found) == {0}
    come_back(lab, 0, found[0])
    assert lab.engine.upstreams(lab.now)[0][0] == "loops"


def test_whoever_of_several_workers_is_asked_knows_it_too() -> None:
    one, other = laboratory(), laboratory()
    one.tick(0)
    (answer,) = other.feed(b"\x12\x34" + probes(one)[1][2:], client=STRANGER)
    assert [state for state, _, _ in other.engine.upstreams(NOW)] == ["not asked yet", "loops"]
    one.raw_upstream(answer, one.probes[1])  # type: ignore[attr-defined]
    assert one.engine.upstreams(NOW)[1][0] == "loops"


def test_the_servers_of_a_forwarded_zone_are_asked_below_it() -> None:
    lab = laboratory(forward=parse_forward({"corp.district.example": ["10.0.0.10"], "lab.example": ["127.0.0.1:5301"]}))
    lab.tick(0)
    found = probes(lab)
    names = {
        server: read(message).question[0].name.to_text().lower().partition(".")[2] for server, message in found.items()
    }
    assert names == {0: "in-addr.arpa.", 1: "in-addr.arpa.", 2: "corp.district.example."}
    come_back(lab, 2, found[2])
    failed = lab.ask("dc1.corp.district.example", use_edns=0)
    assert failed is not None and texts(failed) == ["10.0.0.10: it leads back to this resolver"]
    assert lab.ask("www.example.com") is None


def test_nobody_else_can_make_such_a_name_and_an_old_one_means_nothing() -> None:
    loops = Loops(b"secret" * 8)
    name = loops.name(3, b"", NOW)
    assert name is not None
    assert (loops.server(name, NOW + FRESH), loops.server(name, NOW + FRESH + 1)) == (3, None)
    assert Loops(b"other" * 8).server(name, NOW) is None
    for at in range(3, 40):
        changed = name[:at] + (b"0" if name[at : at + 1] != b"0" else b"1") + name[at + 1 :]
        assert loops.server(changed, NOW) is None
    for odd in (b"\0", b"\x2esg" + b"z" * 44 + b"\0", b"\x2esg" + "é".encode() * 22 + b"\0", b"\x03www\0"):
        assert loops.server(odd, NOW) is None
    assert loops.name(0, b"\x3f" + b"a" * 63 + (b"\x3f" + b"b" * 63) * 2 + b"\x3e" + b"c" * 62 + b"\0", NOW) is None


@pytest.mark.parametrize("qtype", ["A", "ANY"])
def test_such_a_name_of_another_type_is_a_question_like_any_other(qtype: str) -> None:
    lab = laboratory()
    name = Loops(b"seed" * 8).name(0, b"", lab.now)
    assert name is not None
    lab.feed(ask(".".join(label for label in _labels(name)), qtype))
    assert lab.engine.upstreams(lab.now)[0][0] == "not asked yet"


def _labels(name: bytes) -> list[str]:
    found = []
    at = 0
    while name[at]:
        found.append(name[at + 1 : at + 1 + name[at]].decode())
        at += 1 + name[at]
    return found


def test_a_probe_that_nobody_answers_is_over_after_its_time() -> None:
    lab = laboratory()
    lab.tick(0)
    probes(lab)
    lab.tick(10)
    asking = lab.engine._asking
    assert (asking._tries, asking._questions) == ({}, {})
    assert wire.TXT == 16


def test_a_relay_that_sends_our_questions_back_to_us_is_found_on_real_sockets(tmp_path: Path) -> None:
    where: list[int] = []

    def relay(query: bytes, tcp: bool) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, contextlib.suppress(TimeoutError):
            client.settimeout(0.5)
            client.sendto(query, ("127.0.0.1", where[0]))
            return [client.recv(4096)]
        return []

    upstream = Upstream(relay)
    snapshot = make_snapshot_of()
    config = {"upstreams": (upstream.endpoint,), "loop_check": EVERY}
    with worker(tmp_path, lambda current: snapshot, **config) as running:  # type: ignore[arg-type]
        where.append(running.port)
        for _ in range(30):
            if running.hear("status")["upstreams"][0][0] == "loops":
                break
        failed = running.ask(dns.message.make_query("example.com", "A", use_edns=0))
        assert texts(failed) == ["127.0.0.1: it leads back to this resolver"]
    upstream.close()


def test_an_operator_is_told_by_name_of_an_upstream_that_leads_back_or_has_trouble() -> None:
    first, second = Post(Role.WORKER, 0), Post(Role.WORKER, 1)
    first.upstreams = [("answers", 12, ""), ("silent", 0, "its certificate is not accepted: it has expired")]
    second.upstreams = [("loops", 7, ""), ("not asked yet", 0, "")]
    found = report.upstreams(CONFIG, [first, second])
    assert [(one["state"], one["ms"]) for one in found] == [("loops", 7), ("silent", 0)]
    assert report.troubles(CONFIG, [first, second]) == {
        "upstream 1": "127.0.0.1:5301: it leads back to this resolver, and is left out: let it forward elsewhere",
        "upstream 2": "127.0.0.1:5302: its certificate is not accepted: it has expired",
    }
    first.upstreams = second.upstreams = []
    assert set(report.troubles(CONFIG, [first, second]).values()) == {""}
