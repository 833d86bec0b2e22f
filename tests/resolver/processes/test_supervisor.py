"""A node's processes: replaced when they die, swapped together or not at all, and never orphaned."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.node import QUERY, Node, none_alive


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


@pytest.fixture
def node(tmp_path: Path, portal: FakePortal) -> Iterator[Node]:
    made = Node(tmp_path / "state", portal)
    yield made
    children = made.pids("")
    made.stop()
    none_alive(children)


def test_an_offer_is_swapped_into_every_worker_and_acknowledged(node: Node, portal: FakePortal) -> None:
    node.start()
    for version in (1, 2, 3):
        offer = portal.publish(version)
        until(lambda offer=offer: portal.acked(offer))
        assert node.served() == {version}
    assert portal.nacks == []


def test_the_real_worker_does_the_same_and_answers(tmp_path: Path, portal: FakePortal) -> None:
    node = Node(tmp_path / "state", portal, worker="real").start()
    try:
        offer = portal.publish(1, base_of("instagram.com"))
        until(lambda: portal.acked(offer))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(QUERY, ("127.0.0.1", node.port))
            assert client.recv(512)[3] & 15 == 3  # NXDOMAIN
        until(lambda: node.status()["query_log"]["written"] == 1)
        assert node.status()["blocked"] == 1
        from resolver.log.logwriter import read

        (record,) = read(node.state)
        assert (record.version, record.name, record.entry) == (1, b"\x03www\x09instagram\x03com\0", "instagram.com")
        assert record.client != socket.inet_aton("127.0.0.1")
        following = portal.publish(2, base_of("instagram.com"))
        until(lambda: portal.acked(following))
        workers = node.pids("worker")
        assert len(workers) == 2
        until(lambda: [mapped_policies(pid) for pid in workers] == [{f"{following.digest}.flat"}] * 2)
    finally:
        assert node.stop() == 0


def mapped_policies(pid: int) -> set[str]:
    """Names of the flat files that a process has mapped; those that were removed meanwhile are said to be deleted."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.rpartition("/")[2] for line in lines if ".flat" in line}


def test_changes_under_load_lose_no_query(tmp_path: Path, portal: FakePortal) -> None:
    node = Node(tmp_path / "state", portal, worker="real").start()
    try:
        offer = portal.publish(1, base_of("instagram.com"))
        until(lambda: portal.acked(offer))
        over = threading.Event()
        lost: list[int] = []
        asked = threading.Thread(target=_keep_asking, args=(node.port, over, lost))
        asked.start()
        for version in range(2, 32):
            offer = portal.publish(version, base_of("instagram.com", f"site{version // 10}.com"))
            until(lambda offer=offer: portal.acked(offer))
        over.set()
        asked.join()
        assert lost[0] > 100 and lost[1:] == []
    finally:
        node.stop()


def _keep_asking(port: int, over: threading.Event, lost: list[int]) -> None:
    """Ask for a blocked name again and again, from many ports; `lost` is how often, then the numbers unanswered."""
    count = 0
    missed = []
    while not over.is_set():
        count += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(QUERY, ("127.0.0.1", port))
            try:
                if client.recv(512)[3] & 15 != 3:  # NXDOMAIN
                    missed.append(count)
            except TimeoutError:
                missed.append(count)
    lost[:] = [count, *missed]


def _bind_both(udp: socket.socket, tcp: socket.socket) -> int:
    """Bind both to one port that is free for TCP; UDP ports are fewer in use, so that one follows."""
    tcp.bind(("127.0.0.1", 0))
    port: int = tcp.getsockname()[1]
    udp.bind(("127.0.0.1", port))
    return port


def test_socket_activation_shares_the_passed_sockets(node: Node, portal: FakePortal) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        port = _bind_both(udp, tcp)
        tcp.listen()
        numbers = (udp.fileno(), tcp.fileno())

        def place() -> None:  # where systemd would put them
            copies = [os.dup(number) for number in numbers]
            for at, number in enumerate(copies):
                os.dup2(number, 3 + at)

        node.start(
            command=["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"', "sh", *node.command()],
            preexec_fn=place,
            pass_fds=(3, 4),
        )
    assert node.port == port
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    assert node.served() == {1}
    (first, *_) = node.pids("worker")
    node.kill(first)
    until(lambda: first not in node.pids("worker") and node.in_force(1)())
    assert node.served() == {1}


def test_a_killed_worker_is_replaced_and_its_queue_is_answered(tmp_path: Path, portal: FakePortal) -> None:
    node = Node(tmp_path / "state", portal, workers=1).start()
    try:
        offer = portal.publish(1)
        until(lambda: portal.acked(offer))
        (pid,) = node.pids("worker")
        node.kill(pid, signal.SIGSTOP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect(("127.0.0.1", node.port))
            client.send(b"?")
            node.kill(pid)
            assert f'"pid": {pid}' not in client.recv(512).decode()
    finally:
        node.stop()


def test_siblings_serve_while_one_worker_cannot_start(node: Node, portal: FakePortal) -> None:
    node.start()
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    (node.state / "die-0").touch()
    (victim,) = node.pids("worker 0")
    node.kill(victim)
    until(lambda: "is away: its sockets are closed" in node.log.read_text())
    assert node.served(40) == {1}
    (node.state / "die-0").unlink()
    until(node.in_force(1))
    until(lambda: len({(node.query() or {}).get("pid") for _ in range(20)}) == 2)


def test_a_worker_that_does_not_swap_in_time_is_replaced_on_the_new_snapshot(node: Node, portal: FakePortal) -> None:
    node.start()
    first = portal.publish(1)
    until(lambda: portal.acked(first))
    (stuck,) = node.pids("worker 1")
    (node.state / "hang-1").touch()
    second = portal.publish(2)
    until(lambda: portal.acked(second))
    assert stuck not in node.pids("worker")
    assert node.served() == {2}


def test_a_worker_s_refusal_is_a_nack_and_every_worker_serves_the_old_one(node: Node, portal: FakePortal) -> None:
    node.start()
    first = portal.publish(1)
    until(lambda: portal.acked(first))
    (node.state / "refuse-0").touch()
    second = portal.publish(2)
    until(lambda: portal.nacks)
    assert portal.nacks[0]["digest"] == second.digest and "a test told me to" in portal.nacks[0]["reason"]
    until(node.in_force(1))
    assert node.served() == {1}
    third = portal.publish(3)
    until(lambda: portal.acked(third))
    assert node.served() == {3}


def test_a_worker_that_cannot_start_holds_up_no_change_for_the_others(node: Node, portal: FakePortal) -> None:
    node.start()
    first = portal.publish(1)
    until(lambda: portal.acked(first))
    (node.state / "die-0").touch()
    (victim,) = node.pids("worker 0")
    node.kill(victim)
    until(lambda: "is away" in node.log.read_text())
    second = portal.publish(2)
    until(lambda: portal.acked(second))
    assert node.served() == {2}
    assert "worker 0 ended with status 3" in node.status()["last_error"]
    (node.state / "die-0").unlink()
    until(node.in_force(2))


def test_terminating_stops_everything(node: Node, portal: FakePortal) -> None:
    node.start()
    children = node.pids("")
    assert len(children) == 4
    assert node.stop() == 0
    assert none_alive(children)
    assert not (node.state / "control.sock").exists()


def test_hang_up_replaces_the_workers_one_by_one(node: Node, portal: FakePortal) -> None:
    node.start()
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    before = set(node.pids("worker"))
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)

    def replaced() -> bool:
        assert node.query() is not None
        return len(before | set(node.pids("worker"))) == 4 and node.in_force(1)()

    until(replaced)
    assert node.served() == {1}


def test_a_killed_supervisor_leaves_no_process_and_comes_back_on_the_last_good_snapshot(
    node: Node, portal: FakePortal
) -> None:
    node.start()
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    portal.stop()
    assert none_alive(node.kill_supervisor())
    node.start()
    assert node.served() == {1}


def test_a_snapshot_that_rotted_while_the_node_was_down_is_not_served(node: Node, portal: FakePortal) -> None:
    node.start()
    for version in (1, 2):
        offer = portal.publish(version)
        until(lambda offer=offer: portal.acked(offer))
    portal.stop()
    node.stop()
    (node.state / "objects" / offer.digest).write_bytes(b"rot")
    node.start()
    assert node.served() == {1}
    assert "serving version 1 instead" in node.status()["last_error"]


@pytest.mark.parametrize("worker", ["fake", "real"])
def test_a_snapshot_that_rots_under_a_running_node_is_noticed_and_fetched_again(
    worker: str, tmp_path: Path, portal: FakePortal
) -> None:
    node = Node(tmp_path / "state", portal, worker=worker).start()
    try:
        for version in (1, 2):
            offer = portal.publish(version)
            until(lambda offer=offer: portal.acked(offer))
        (node.state / "objects" / offer.digest).write_bytes(b"rot")
        portal.acks.clear()
        for pid in node.pids("worker"):
            node.kill(pid)
        until(lambda: portal.acked(offer))
        until(node.in_force(2))
        assert "serving version 1 instead" in node.log.read_text()
    finally:
        node.stop()


@pytest.mark.parametrize("who", ["worker 0", "worker 1", "subscription", "log-writer", "supervisor"])
def test_killed_during_a_swap_the_node_is_back_on_a_whole_snapshot_and_acknowledged(
    who: str, node: Node, portal: FakePortal
) -> None:
    node.start()
    first = portal.publish(1)
    until(lambda: portal.acked(first))
    (node.state / "hang-1").touch()  # holds the swap open until that worker's time is up
    second = portal.publish(2, base_of("instagram.com"))
    until(lambda: node.query() != {} and '"version": 2' in (node.state / "current.json").read_text())
    if who == "supervisor":
        assert none_alive(node.kill_supervisor())
        node.start()
    else:
        for pid in node.pids(who):
            node.kill(pid)
    until(lambda: portal.acked(second))
    until(node.in_force(2))
    assert node.served() == {2}


def test_random_kills_lose_no_version_and_serve_none_but_offered_ones(node: Node, portal: FakePortal) -> None:
    chance = random.Random(6)
    node.start()
    offer = portal.publish(1)
    until(lambda: portal.acked(offer))
    for version in range(2, 22):
        offer = portal.publish(version, base_of("instagram.com", f"site{version % 3}.com"))
        who = chance.choice(["worker 0", "worker 1", "subscription", "subscription", "supervisor"])
        for _ in range(chance.randrange(4)):
            answer = node.query()
            assert answer is None or answer["version"] in {version - 1, version}
        if who == "supervisor":
            none_alive(node.kill_supervisor())
            node.start()
        else:
            for pid in node.pids(who):
                node.kill(pid)
        until(lambda offer=offer: portal.acked(offer), what=f"the ack of {version} after killing {who}")
    until(node.in_force(21))
    assert node.served() == {21}
    assert portal.nacks == []


def test_a_worker_holds_its_own_sockets_and_nothing_else_of_the_supervisor(node: Node) -> None:
    node.start()
    (worker, _) = node.pids("worker")
    links = [str(link.readlink()) for link in Path(f"/proc/{worker}/fd").iterdir()]
    assert not [one for one in links if one.endswith((".lock", "control.sock"))]
    assert sum(one.startswith("socket:") for one in links) == 3  # UDP, TCP, channel
