"""A node cut off from its portal for a day of its own clock, and clocks that jump: the gate goes on, and catches up."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from blocklists.policy import Window
from resolver.delivery import subscription
from resolver.delivery.enrolment import enrol
from tests.flows.upstream import world
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.node import Node
from tests.resolver.wires import Wire, wire
from tests.support import grant

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400


@dataclass
class Far:
    """A node behind a wire, on a clock that the test moves."""

    node: Node
    portal: FakePortal
    wire: Wire
    clock: Path

    def move(self, seconds: int) -> None:
        """Set the node's clock to `seconds` from now, in every process of it at once."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("=d", float(seconds)))

    def rcode(self, name: str) -> str:
        with self.wire.inside():
            answer = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=self.node.port, timeout=20)
        return dns.rcode.to_text(answer.rcode())

    def is_open(self) -> bool:
        said = {self.rcode("instagram.com") for _ in range(4)}  # whichever worker the kernel chooses
        assert len(said) == 1 and said <= {"NOERROR", "NXDOMAIN"}, said
        return said == {"NOERROR"}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    clock = tmp_path / "clock"
    clock.write_bytes(struct.pack("=d", 0.0))
    with ExitStack() as stack:
        between = stack.enter_context(wire())
        with between.inside():
            portal = FakePortal(District())
            stack.callback(portal.stop)
            upstream = free_port()
            stack.enter_context(world(upstream))
            url = f"http://127.0.0.1:{between.reach(portal.port)}"
            node = Node(tmp_path / "state", portal, worker="real", enrolled=False)
            enrol(url, portal.token, "edison", ["edison"], node.state)
            node.upstream = upstream
            node.options = [f"clock:{clock}"]
            stack.callback(node.stop)
            node.start()
        yield Far(node, portal, between, clock)


@pytest.mark.slow
def test_a_node_cut_off_for_a_day_keeps_its_hours_and_catches_up_in_one_step(far: Far) -> None:
    now = int(time.time())
    morning, evening = Window(now - 60, now + 2 * HOUR), Window(now + 5 * HOUR, now + 8 * HOUR)
    grants = (grant(1, "instagram.com", window=morning), grant(2, "instagram.com", window=evening))
    first = far.portal.publish(1, grants=grants, created_at=now - 60)
    until(lambda: far.portal.acked(first))
    assert far.is_open()
    until(lambda: far.node.status().get("portal") == "connected")

    far.wire.cut()
    for version in (2, 3, 4):
        newest = far.portal.publish(version, base_of("tiktok.com"), created_at=now)
    for hour, opened in ((2, False), (5, True), (8, False)):
        far.move(hour * HOUR - 600)  # what the test itself takes is on top
        assert far.is_open() is not opened, f"ten minutes before hour {hour}"
        far.move(hour * HOUR)
        assert far.is_open() is opened, f"at hour {hour}"
    far.move(DAY)
    assert not far.is_open()
    assert subscription.SILENCE_LIMIT == 15.0
    until(lambda: "ReadTimeout" in far.node.status().get("portal", ""), 60, "the half-open stream to be noticed")
    assert far.rcode("tiktok.com") == "NOERROR"  # what was decided meanwhile is not known here
    assert far.node.status()["version"] == 1
    assert not [one for one in far.portal.acks if one["version"] > 1]

    far.portal.fetched.clear()
    far.wire.mend()
    until(lambda: far.portal.acked(newest), 60)
    assert [one["version"] for one in far.portal.acks if one["version"] > 1] == [4]
    assert set(far.portal.fetched) == {newest.digest, newest.base}
    assert far.rcode("tiktok.com") == "NXDOMAIN"
    assert far.rcode("instagram.com") == "NOERROR"


@pytest.mark.slow
def test_a_clock_set_back_a_day_or_forward_a_year_leaves_the_gate_enforcing_and_is_reported(far: Far) -> None:
    now = int(time.time())
    ended, open_now = Window(now - DAY, now - HOUR), Window(now - 2 * HOUR, now + HOUR)
    grants = (grant(1, "instagram.com", window=ended), grant(2, "youtube.com", window=open_now))
    base = base_of("instagram.com", "youtube.com", "tiktok.com")
    far.portal.publish(1, base, grants=grants, created_at=now - 60)
    until(lambda: far.portal.acks)
    for moved, lesson in ((-DAY, "NOERROR"), (YEAR, "NXDOMAIN")):
        far.move(moved)
        far.portal.statuses.clear()
        assert far.rcode("tiktok.com") == "NXDOMAIN"
        assert far.rcode("instagram.com") == "NXDOMAIN", "what had ended when the policy was made stays shut"
        assert far.rcode("youtube.com") == lesson
        clock = until(lambda: [one["clock"] for one in far.portal.statuses], 40, "a heartbeat")[-1]
        assert abs(clock - time.time() - moved) < HOUR  # the portal sees the skew, and tells it from 30 s on
    far.move(0)
    assert far.rcode("youtube.com") == "NOERROR"
    newest = far.portal.publish(2, base, created_at=now)
    until(lambda: far.portal.acked(newest), 40)
