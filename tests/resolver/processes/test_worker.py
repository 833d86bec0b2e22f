"""A whole worker on real sockets: answers, control, swap, drain, and its end when the supervisor is gone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from blocklists.policy import ReasonKind
from blocklists.snapshot import BadSnapshot, Snapshot, make_snapshot
from resolver.log.querylog import Ring, decode, ring_path
from tests.resolver.messages import ask, codes, reply
from tests.resolver.sockets import Upstream, Worker, worker
from tests.support import grant, group, make_base, make_policy

HERE = group(networks=("127.0.0.0/8", "::1/128"))


def snapshot(version: int = 1, **fields: object) -> Snapshot:
    base = make_base({"social-media": ["facebook.com"], "adult": ["porn.example"]})
    policy = make_policy(base, version=version, **{"groups": (HERE,), **fields})
    return make_snapshot(policy, f"{version:064x}", base)


def answers(query: bytes, tcp: bool) -> list[bytes]:
    name = dns.message.from_wire(query).question[0].name
    if str(name).lower().startswith("silent."):
        return []
    return [reply(query, f"{name} 300 A 192.0.2.1")]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream(answers)
    yield made
    made.close()


@pytest.fixture
def running(tmp_path: Path, upstream: Upstream) -> Iterator[Worker]:
    with worker(tmp_path, lambda _: snapshot(), upstreams=(upstream.endpoint,), upstream_timeout=0.3) as made:
        yield made


@pytest.mark.parametrize("tcp", [False, True])
def test_a_blocked_and_an_open_name_over_both_transports(running: Worker, tcp: bool) -> None:
    blocked = running.ask(dns.message.make_query("www.facebook.com", "A", use_edns=0), tcp=tcp)
    assert (blocked.rcode(), codes(blocked)) == (dns.rcode.NXDOMAIN, [15])
    for _ in range(4):
        found = running.ask(dns.message.make_query("example.com", "A"), tcp=tcp)
        assert str(found.answer[0][0]) == "192.0.2.1"


def test_one_question_upstream_serves_every_transport_and_case(running: Worker, upstream: Upstream) -> None:
    for name, tcp in (("example.com", False), ("EXAMPLE.com", True), ("eXample.com", False)):
        assert running.ask(dns.message.make_query(name, "A"), tcp=tcp).answer
    assert len(upstream.seen) == 1


def test_every_query_leaves_a_record(running: Worker) -> None:
    for name in ("facebook.com", "facebook.com", "facebook.com", "example.com"):
        running.ask(dns.message.make_query(name, "A"))
    running.tell(do="drain")
    assert running.wait() == 0
    found = list(decode(Ring.open(ring_path(running.state, 0)).drain()))
    assert [record.reason for record in found] == [ReasonKind.CATEGORY] * 3 + [ReasonKind.DEFAULT]
    assert {record.client for record in found} == {b"\x7f\0\0\x01"}


def test_without_a_snapshot_a_worker_says_not_ready(tmp_path: Path) -> None:
    with worker(tmp_path, lambda _: None) as made:
        found = made.ask(dns.message.make_query("example.com", "A", use_edns=0))
        assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [14])
        assert made.hear("status")["version"] is None


def test_a_snapshot_that_cannot_be_read_is_reported_and_the_worker_lives(tmp_path: Path) -> None:
    def load(_: Snapshot | None) -> Snapshot:
        raise BadSnapshot("damaged")

    with worker(tmp_path, load) as made:
        assert "damaged" in made.hear("refused")["reason"]
        assert made.ask(dns.message.make_query("example.com", "A")).rcode() == dns.rcode.SERVFAIL


def test_a_swap_is_served_at_once_and_acknowledged(tmp_path: Path, upstream: Upstream) -> None:
    flag = tmp_path / "granted"

    def load(previous: Snapshot | None) -> Snapshot:
        if not flag.exists():
            return snapshot()
        assert previous is not None
        return snapshot(2, grants=(grant(1, "facebook.com"),))

    with worker(tmp_path, load, upstreams=(upstream.endpoint,)) as made:
        query = dns.message.make_query("facebook.com", "A")
        for _ in range(3):
            assert made.ask(query).rcode() == dns.rcode.NXDOMAIN
        flag.touch()
        made.tell(do="swap", version=2, digest=f"{2:064x}")
        assert made.hear("swapped") == {"did": "swapped", "version": 2, "digest": f"{2:064x}"}
        found = made.ask(query)
        assert found.answer[0].ttl == 60
        assert made.hear("status")["version"] == 2


@pytest.mark.parametrize("kind", ["raises", "none", "another digest", "older"])
def test_a_swap_that_fails_is_refused_and_the_old_one_serves_on(tmp_path: Path, kind: str) -> None:
    def load(previous: Snapshot | None) -> Snapshot | None:
        if previous is None:
            return snapshot(5)
        match kind:
            case "raises":
                raise BadSnapshot("the policy is damaged")
            case "none":
                return None
            case "older":
                return snapshot(4)
        return snapshot(7)

    with worker(tmp_path, load) as made:
        made.tell(do="swap", version=6, digest=f"{4 if kind == 'older' else 6:064x}")
        assert made.hear("refused")["reason"]
        assert made.ask(dns.message.make_query("facebook.com", "A")).rcode() == dns.rcode.NXDOMAIN
        assert made.hear("status")["version"] == 5


def test_a_flush_asks_upstream_again(running: Worker, upstream: Upstream) -> None:
    query = dns.message.make_query("www.example.com", "A")
    running.ask(query)
    running.ask(query)
    running.tell(do="flush", name="Example.com", subtree=True)
    assert running.hear("flushed")["entries"] == 1
    running.ask(query)
    assert len(upstream.seen) == 2


@pytest.mark.parametrize("message", [b"[]", b"{", b"{}", b'{"do":"dance"}', b'{"do":"flush","name":"a b"}'])
def test_a_control_message_that_makes_no_sense_is_refused(running: Worker, message: bytes) -> None:
    running.control.send(message)
    assert running.hear("refused")["reason"]
    assert running.ask(dns.message.make_query("facebook.com", "A"))


def test_a_draining_worker_answers_what_is_in_flight(tmp_path: Path) -> None:
    def slowly(query: bytes, tcp: bool) -> list[bytes]:
        time.sleep(0.3)
        return answers(query, tcp)

    slow = Upstream(slowly)
    try:
        with worker(tmp_path, lambda _: snapshot(), upstreams=(slow.endpoint,)) as made:
            made.hear("status")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.sendto(ask("example.com"), (made.address, made.port))
                while not slow.seen:
                    time.sleep(0.005)
                made.tell(do="drain")
                assert dns.message.from_wire(client.recv(4096)).answer
            assert made.wait() == 0
    finally:
        slow.close()


def test_a_draining_worker_does_not_wait_for_ever(tmp_path: Path, upstream: Upstream) -> None:
    settings = {"upstreams": (upstream.endpoint,), "upstream_timeout": 60.0}
    with worker(tmp_path, lambda _: snapshot(), **settings) as made:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(ask("silent.example.com"), (made.address, made.port))
            while not upstream.seen:
                time.sleep(0.005)
        made.tell(do="drain")
        assert made.wait() == 0


def test_a_worker_ends_with_its_supervisor(running: Worker) -> None:
    running.hear("status")
    spare = os.dup(running.lifeline)
    os.close(running.lifeline)
    os.close(spare)
    running.lifeline = os.open(os.devnull, os.O_RDONLY)
    assert running.wait() == 0


def test_an_upstream_that_is_silent_or_gone_is_a_servfail_with_a_reason(tmp_path: Path, upstream: Upstream) -> None:
    settings = {"upstream_timeout": 0.1, "upstream_tries": 2}
    query = dns.message.make_query("silent.example.com", "A", use_edns=0)
    with worker(tmp_path, lambda _: snapshot(), upstreams=(upstream.endpoint,), **settings) as made:
        found = made.ask(query)
        assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [22])
        assert made.ask(dns.message.make_query("facebook.com", "A")).rcode() == dns.rcode.NXDOMAIN
        counters = made.counters()
        assert (counters["upstream_failed"], counters["inflight"], counters["servfail"]) == (2, 0, 1)


def test_counters_tell_what_happened(running: Worker) -> None:
    for name in ("facebook.com", "facebook.com", "example.com", "example.com"):
        running.ask(dns.message.make_query(name, "A"))
    running.ask(dns.message.make_query("facebook.com", "A"), tcp=True)
    counters = running.counters()
    told = {key: counters[key] for key in ("queries", "blocked", "allowed", "cache_hits", "upstream_sent", "tcp")}
    assert told == {"queries": 5, "blocked": 3, "allowed": 2, "cache_hits": 1, "upstream_sent": 1, "tcp": 1}
