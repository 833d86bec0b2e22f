"""The node's side of delivery: whatever happens on the way, what is acknowledged is served, and what is refused is not.

The subscription runs in this process against a real portal on loopback; the test plays the supervisor.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from resolver import durable
from resolver.children import receive, send
from resolver.delivery import subscription
from resolver.delivery.enrolment import EnrolmentFailed, enrol
from resolver.delivery.policy_store import PolicyStore
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.upstreams.test_tls import Authority


class Supervised:
    """A subscription in a thread. The supervisor swaps whatever it is asked to, unless `refuse` says why not."""

    def __init__(self, state: Path, ca: Path | None = None) -> None:
        self.state, self._ca = state, ca
        self.swaps: list[dict[str, Any]] = []
        self.said: list[dict[str, Any]] = []
        self.refuse = ""
        self.silent = False
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs = theirs
        self._lifeline, self._alive = os.pipe()
        self.failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._follow), threading.Thread(target=self._supervise)]
        for thread in self._threads:
            thread.start()

    def _follow(self) -> None:
        try:
            subscription.run(self.state, self._theirs, self._lifeline, self._ca)
        except BaseException as error:
            self.failure = error

    def _supervise(self) -> None:
        while (message := receive(self.channel)) is not None:
            if message.get("do") != "swap":
                self.said.append(message)
                continue
            self.swaps.append(message)
            if self.silent:
                continue
            about = {"version": message["version"], "digest": message["digest"]}
            if self.refuse and not message["back"]:
                send(self.channel, {"did": "refused", **about, "reason": self.refuse})
            else:
                send(self.channel, {"did": "swapped", **about, "workers": 2})

    def portal_state(self) -> str:
        return self.said[-1]["portal"] if self.said else ""

    def end(self) -> None:
        os.close(self._alive)
        self._threads[0].join()
        self._theirs.close()
        self._threads[1].join()
        self.channel.close()
        os.close(self._lifeline)
        assert self.failure is None


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


@pytest.fixture
def state(tmp_path: Path, portal: FakePortal) -> Path:
    enrol(portal.url, portal.token, "edison", ["edison"], tmp_path / "state")
    PolicyStore(tmp_path / "state").create()
    return tmp_path / "state"


@pytest.fixture
def running(state: Path) -> Iterator[Supervised]:
    made = Supervised(state)
    yield made
    made.end()


def test_an_offer_is_kept_then_swapped_then_acknowledged(portal: FakePortal, running: Supervised) -> None:
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    assert running.swaps == [{"do": "swap", "version": 1, "digest": offer.digest, "base": offer.base, "back": False}]
    held = PolicyStore(running.state).held()
    assert held is not None and held.digest == offer.digest
    assert running.portal_state() == "connected"


def test_a_new_policy_over_the_same_base_fetches_the_policy_alone(portal: FakePortal, running: Supervised) -> None:
    first = portal.publish(1)
    until(lambda: portal.acked(first))
    second = portal.publish(2)
    until(lambda: portal.acked(second))
    assert portal.fetched == [first.digest, first.base, second.digest]


def test_a_restored_portal_gets_the_newest_policy_back_when_it_asks(portal: FakePortal, state: Path) -> None:
    offer, data = portal.district.publish(1)
    PolicyStore(state).accept(offer, data, portal.district.source, portal.district.pin)
    portal.recall = offer.digest
    running = Supervised(state)
    try:
        ((digest, packed, signed),) = until(lambda: portal.given_back)
    finally:
        running.end()
    assert (digest, signed) == (offer.digest, offer.signature)
    assert zstandard.ZstdDecompressor().decompress(packed) == data


def test_only_the_newest_of_waiting_offers_counts(portal: FakePortal, running: Supervised) -> None:
    running.silent = True
    first = portal.publish(1)
    until(lambda: running.swaps)
    for version in (2, 3, 4):
        newest = portal.publish(version)
        until(lambda newest=newest: portal.offer is newest)
    running.silent = False
    send(running.channel, {"did": "swapped", "version": 1, "digest": first.digest, "workers": 2})
    until(lambda: portal.acked(newest))
    assert running.swaps[-1]["version"] == 4


BAD = {
    "signed by another": (lambda d, o, data: District().sign(data, o.version, o.base)[0], "not signed"),
    "no such object": (lambda d, o, data: o.model_copy(update={"digest": "e" * 64}), "does not have it"),
    "another district": (lambda d, o, data: d.publish(o.version, district="4415")[0], "4415"),
    "older": (lambda d, o, data: d.publish(1, audit_head="old")[0], "older than 2"),
    "the same again, but different": (lambda d, o, data: d.publish(2, audit_head="twin")[0], "ALARM"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_offer_is_a_nack_with_the_reason_and_the_next_good_one_is_taken(
    name: str, portal: FakePortal, running: Supervised
) -> None:
    good = portal.publish(2)
    until(lambda: portal.acked(good))
    twist, reason = BAD[name]
    bad = twist(portal.district, *portal.district.publish(3))
    portal.give(bad)
    (nack,) = until(lambda: portal.nacks)
    assert reason in nack["reason"] and nack["digest"] == bad.digest
    held = PolicyStore(running.state).held()
    assert held is not None and held.digest == good.digest
    until(lambda: reason in running.said[-1]["error"])
    better = portal.publish(4)
    until(lambda: portal.acked(better))
    until(lambda: running.said[-1]["error"] == "")


def test_an_offer_refused_for_a_full_disk_is_taken_once_there_is_room(
    portal: FakePortal, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "AGAIN_AFTER", 0.05)
    full = True
    real = durable.write

    def write(path: Path, data: bytes, mode: int = 0o600) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data, mode)

    monkeypatch.setattr(durable, "write", write)
    running = Supervised(state)
    try:
        offer = portal.publish(1)
        until(lambda: len(portal.nacks) >= 2)
        assert "No space left" in portal.nacks[0]["reason"] and not portal.acked(offer)
        full = False
        until(lambda: portal.acked(offer))
    finally:
        running.end()


def test_a_base_that_is_damaged_on_the_way_is_a_nack(portal: FakePortal, running: Supervised) -> None:
    offer, _ = portal.district.publish(1, base_of("tiktok.com"))
    whole = portal.district.objects[offer.base]
    portal.district.objects[offer.base] = whole[:-1] + bytes([whole[-1] ^ 1])
    portal.give(offer)
    (nack,) = until(lambda: portal.nacks)
    assert "damaged" in nack["reason"]
    assert PolicyStore(running.state).held() is None


def test_what_workers_refuse_is_a_nack_and_the_old_one_is_current_again(
    portal: FakePortal, running: Supervised
) -> None:
    good = portal.publish(1)
    until(lambda: portal.acked(good))
    running.refuse = "worker 0: no memory"
    bad = portal.publish(2)
    (nack,) = until(lambda: portal.nacks)
    assert (nack["digest"], nack["reason"]) == (bad.digest, "worker 0: no memory")
    held = PolicyStore(running.state).held()
    assert held is not None and held.digest == good.digest
    assert running.swaps[-1]["digest"] == good.digest and running.swaps[-1]["back"]


def test_an_ack_that_was_lost_is_sent_again(portal: FakePortal, running: Supervised) -> None:
    portal.refuse_acks = 2
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    assert portal.refuse_acks == 0


def test_after_a_restart_what_is_held_is_swapped_and_acknowledged_again(portal: FakePortal, state: Path) -> None:
    offer, data = portal.district.publish(1)
    PolicyStore(state).accept(offer, data, portal.district.source, portal.district.pin)
    running = Supervised(state)
    try:
        until(lambda: portal.acked(offer))
        assert [one["version"] for one in running.swaps] == [1]
        until(lambda: portal.last_ids == ["1"])
    finally:
        running.end()


def test_the_portal_gone_and_back_is_told_once_each_and_followed_again(portal: FakePortal, running: Supervised) -> None:
    first = portal.publish(1)
    until(lambda: portal.acked(first))
    portal.stop()
    until(lambda: running.portal_state().startswith("not reachable"))
    again = FakePortal(portal.district, portal.port)
    try:
        second = again.publish(2)
        until(lambda: again.acked(second))
        assert again.last_ids[-1] == "1"
        until(lambda: running.portal_state() == "connected")
        states = [one["portal"] for one in running.said]
        assert len(states) < 12
    finally:
        again.stop()


def test_a_stream_without_a_byte_is_dropped_and_opened_again(
    portal: FakePortal, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "SILENCE_LIMIT", 0.2)  # this portal's heartbeat is every 0.5 s
    running = Supervised(state)
    try:
        until(lambda: len(portal.last_ids) >= 3)
        assert any("ReadTimeout" in one["portal"] for one in running.said)
    finally:
        running.end()


def test_a_node_that_was_cut_off_says_so_and_keeps_asking(portal: FakePortal, running: Supervised) -> None:
    until(lambda: running.portal_state() == "connected")
    portal.credential = "another"
    portal.stop()
    again = FakePortal(portal.district, portal.port, credential="another")
    try:
        until(lambda: "refuses this node: 401: unknown credential" in running.portal_state())
        again.credential = "secret"
        offer = again.publish(1)
        until(lambda: again.acked(offer))
    finally:
        again.stop()


def test_health_reaches_the_portal_as_the_supervisor_tells_it(portal: FakePortal, running: Supervised) -> None:
    health = {
        "version": 3,
        "digest": "a" * 64,
        "workers": 2,
        "workers_ready": 1,
        "queries": 10,
        "blocked": 4,
        "listening": ["127.0.0.1:53"],
        "last_error": "worker 1 was ended by SIGKILL",
    }
    send(running.channel, {"did": "status", **health})
    (status,) = until(lambda: portal.statuses)
    assert {key: status[key] for key in health} == health
    assert status["clock"] > 1.7e9


def test_how_far_the_newest_version_has_come_is_told_on_in_the_portal_s_words(
    portal: FakePortal, running: Supervised
) -> None:
    health = {"version": None, "digest": None, "workers": 1, "workers_ready": 0, "queries": 0, "blocked": 0}
    missing = [{"name": "Edison Middle", "silent": 185}, {"name": "Tesla", "silent": None}]
    portal.reach = {"version": 7, "acked": 5, "expected": 8, "missing": missing}
    send(running.channel, {"did": "status", **health, "listening": []})
    told = until(lambda: [one for one in running.said if one["reach"]])
    assert told[0]["reach"] == (
        "version 7 in force on 5 of 8 resolvers; "
        "waiting for Edison Middle, last seen 3 min ago; Tesla, never seen; 1 more"
    )
    assert told[0]["reach_at"] > 1.7e9


def test_waits_double_up_to_a_limit_and_are_partly_random() -> None:
    waits = [[subscription._wait(tries) for _ in range(50)] for tries in range(40)]
    assert all(0.1 <= wait <= 0.2 for wait in waits[0])
    assert all(7.5 <= wait <= 15 for wait in waits[-1])
    assert len(set(waits[-1])) > 1


def test_a_portal_behind_a_private_authority_is_believed_by_who_pins_it_and_by_nobody_else(tmp_path: Path) -> None:
    ours, another = Authority(tmp_path, "ours"), Authority(tmp_path, "another")
    portal = FakePortal(District(), tls=ours.sign("127.0.0.1"))
    state = tmp_path / "state"
    try:
        for ca in (None, another.file):
            with pytest.raises(EnrolmentFailed, match="certificate"):
                enrol(portal.url, portal.token, "edison", [], state, ca)
            assert not (state / "identity.json").exists()
        enrol(portal.url, portal.token, "edison", [], state, ours.file)
        PolicyStore(state).create()
        offer = portal.publish(1)
        stranger = Supervised(state, another.file)
        until(lambda: "certificate" in stranger.portal_state())
        stranger.end()
        assert portal.open_streams == 0 and portal.acks == [] and stranger.swaps == []
        friend = Supervised(state, ours.file)
        until(lambda: portal.acked(offer))
        friend.end()
    finally:
        portal.stop()
