"""Sockets and framing: pipelining, slow writers, limits, idle clients, and replies from the address that was asked."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import pytest

from blocklists.policy import Audience
from resolver.clients.listeners import Connection, TcpListener, UdpListener
from resolver.engine.seam import Datagram
from resolver.poller import READ, Poller
from tests.resolver.messages import ask, reply
from tests.resolver.processes.test_worker import snapshot
from tests.resolver.sockets import Upstream, tcp_socket, udp_socket, worker
from tests.support import group


def framed(*messages: bytes) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in messages)


class Echo:
    """A TCP listener that says everything back; `held` messages wait until the test lets them go."""

    def __init__(self, **limits: float) -> None:
        self.now = 1000.0
        self.poller = Poller()
        self.socket = tcp_socket()
        self.held: list[tuple[Connection, bytes]] = []
        self.hold = False
        settings = {"limit": 10, "per_client": 5, "idle": 10.0, **limits}
        self.listener = TcpListener(self.socket, self.poller.crowd, self.ask, lambda: self.now, **settings)  # type: ignore[arg-type]
        self.poller.crowd.watch(self.socket.fileno(), READ, self.listener.accept)

    def ask(self, connection: Connection, messages: list[Datagram]) -> None:
        if self.hold:
            self.held += [(connection, data) for data, _ in messages]
        else:
            connection.replies([(data, peer) for data, peer in messages])

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.socket.getsockname(), timeout=10)
        self.run()
        return client

    def run(self, seconds: float = 0.05) -> None:
        while self.poller.wait(seconds):
            pass

    def close(self) -> None:
        self.listener.close()
        self.socket.close()
        self.poller.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def is_closed(client: socket.socket) -> bool:
    client.settimeout(5)
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_messages_in_one_write_are_taken_one_by_one(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(framed(b"one", b"two", b"three"))
        echo.run()
        assert receive(client, 17) == framed(b"one", b"two", b"three")


def test_a_message_in_many_writes_is_one_message(echo: Echo) -> None:
    with echo.connect() as client:
        for octet in framed(b"slow"):
            client.sendall(bytes((octet,)))
            echo.run(0.01)
        assert receive(client, 6) == framed(b"slow")


def test_many_more_messages_than_may_wait_are_all_answered(echo: Echo) -> None:
    messages = [f"m{number}".encode() for number in range(500)]
    with echo.connect() as client:
        client.sendall(framed(*messages))
        echo.run()
        assert receive(client, len(framed(*messages))) == framed(*messages)


def test_replies_come_in_any_order_and_reading_stops_when_too_many_wait(echo: Echo) -> None:
    echo.hold = True
    with echo.connect() as client:
        client.sendall(framed(*[f"m{number:03}".encode() for number in range(100)]))
        echo.run()
        assert len(echo.held) == 64
        while echo.held:
            connection, data = echo.held.pop()
            connection.reply(data)
            echo.run(0)
        echo.run()
        answers = receive(client, 600)
    assert {answers[at + 2 : at + 6] for at in range(0, 600, 6)} == {f"m{number:03}".encode() for number in range(100)}


def test_an_idle_client_is_closed_and_octets_that_make_no_message_do_not_help(echo: Echo) -> None:
    with echo.connect() as client:
        for _ in range(3):
            echo.now += 4
            client.sendall(b"\1")
            echo.run()
            echo.listener.sweep(echo.now)
        assert len(echo.listener) == 0
        assert is_closed(client)


def test_a_whole_message_starts_the_idle_time_again(echo: Echo) -> None:
    with echo.connect() as client:
        for _ in range(5):
            echo.now += 9
            client.sendall(framed(b"x"))
            echo.run()
            echo.listener.sweep(echo.now)
        assert len(echo.listener) == 1


def test_a_clock_that_is_set_back_closes_nobody(echo: Echo) -> None:
    with echo.connect():
        echo.now -= 5000
        echo.listener.sweep(echo.now)
        assert len(echo.listener) == 1


def test_one_client_beyond_its_limit_is_turned_away(echo: Echo) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(echo.connect()) for _ in range(6)]
        assert len(echo.listener) == 5
        assert is_closed(clients[5])
        clients[0].close()
        echo.run()
        stack.enter_context(echo.connect())
        assert len(echo.listener) == 5


def test_without_file_descriptors_the_listener_looks_away_until_the_next_sweep(echo: Echo) -> None:
    class Exhausted:
        def accept(self) -> None:
            raise OSError(24, "too many open files")

        def fileno(self) -> int:
            return echo.socket.fileno()

    echo.listener.socket = Exhausted()  # type: ignore[assignment]
    with socket.create_connection(echo.socket.getsockname(), timeout=10):
        echo.run()
        assert echo.poller.wait(0) == 0
        echo.listener.socket = echo.socket
        echo.listener.sweep(echo.now)
        echo.run()
        assert len(echo.listener) == 1


def test_a_client_that_breaks_off_is_forgotten(echo: Echo) -> None:
    echo.hold = True
    client = echo.connect()
    client.sendall(framed(b"bye"))
    echo.run()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    echo.run()
    assert len(echo.listener) == 0


def test_the_total_is_limited() -> None:
    echo = Echo(limit=2)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(echo.connect()) for _ in range(3)]
        assert len(echo.listener) == 2
        assert is_closed(clients[2])
    echo.close()


def test_a_client_that_does_not_read_is_let_go(echo: Echo) -> None:
    with echo.connect() as client:
        client.settimeout(0.2)
        message = framed(b"x" * 60_000)
        with contextlib.suppress(OSError):
            for _ in range(400):
                client.sendall(message)
                echo.run(0)
        echo.run()
        unsent = [len(one._unsent) for one in echo.listener._connections]
        assert sum(unsent) <= 512 * 1024


def test_a_client_that_stops_sending_still_gets_its_answers(echo: Echo) -> None:
    echo.hold = True
    with echo.connect() as client:
        client.sendall(framed(b"last"))
        client.shutdown(socket.SHUT_WR)
        echo.run()
        connection, data = echo.held.pop()
        connection.reply(data)
        assert receive(client, 7) == framed(b"last")
        assert len(echo.listener) == 0


def test_a_reply_for_a_client_that_is_gone_is_nothing(echo: Echo) -> None:
    echo.hold = True
    client = echo.connect()
    client.sendall(framed(b"bye"))
    echo.run()
    client.close()
    connection, data = echo.held.pop()
    connection.close()
    connection.reply(data)
    assert len(echo.listener) == 0


def test_udp_takes_at_most_a_batch_and_never_blocks() -> None:
    bound = udp_socket()
    listener = UdpListener(bound)
    with udp_socket() as client:
        assert listener.take() == []
        for number in range(100):
            client.sendto(b"%d" % number, bound.getsockname())
        batch = listener.take()
        assert [data for data, _ in batch] == [b"%d" % number for number in range(64)]
        listener.send(batch)
        assert client.recv(100) == b"0"
        assert len(listener.take()) == 36
        listener.send([(b"x", ("127.0.0.1", 0))])
        assert listener.lost == 1
    bound.close()


@pytest.mark.parametrize(("family", "hosts"), [("0.0.0.0", ["127.0.0.1", "127.0.0.9"]), ("::", ["::1", "127.0.0.9"])])
def test_a_wildcard_socket_replies_from_the_address_that_was_asked(family: str, hosts: list[str]) -> None:
    bound = socket.socket(socket.AF_INET6 if ":" in family else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in family:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    bound.bind((family, 0))
    port = bound.getsockname()[1]
    listener = UdpListener(bound)
    assert listener.asked is None
    for host in hosts:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((host, port))  # connected: a reply from elsewhere would not be received
            client.send(b"?")
            [(data, peer)] = listener.take()
            assert (data, peer[0][1].removeprefix("::ffff:"), peer[1]) == (b"?", host, client.getsockname()[1])
            listener.send([(b"!", peer)])
            assert client.recv(10) == b"!"
    bound.close()


def test_the_address_that_was_asked_chooses_the_group(tmp_path: Path) -> None:
    staff = group("line", audience=Audience.STAFF, asked=("127.0.0.9",), blocks=())
    upstream = Upstream(lambda query, tcp: [reply(query, "facebook.com. 300 A 192.0.2.1")])
    settings = {"address": "0.0.0.0", "where": "127.0.0.1", "upstreams": (upstream.endpoint,)}
    with worker(tmp_path, lambda _: snapshot(groups=(staff,)), **settings) as made:  # type: ignore[arg-type]
        query = dns.message.make_query("facebook.com", "A")
        for tcp in (False, True):
            for _ in range(3):
                assert made.ask(query, tcp=tcp, where="127.0.0.9").answer
                assert not made.ask(query, tcp=tcp, where="127.0.0.8").answer
    upstream.close()


def test_a_truncated_answer_comes_whole_over_tcp_and_pipelined(tmp_path: Path) -> None:
    records = [f"{'x' * 200}{number}" for number in range(20)]

    def script(query: bytes, tcp: bool) -> list[bytes]:
        name = dns.message.from_wire(query).question[0].name
        if not tcp:
            return [reply(query, flags=int(dns.flags.TC))]
        return [reply(query, *(f"{name} 300 TXT {one}" for one in records))]

    upstream = Upstream(script)
    with worker(tmp_path, lambda _: snapshot(), upstreams=(upstream.endpoint,)) as made:
        query = dns.message.make_query("big.example", "TXT", use_edns=0)
        assert made.ask(query).flags & dns.flags.TC
        assert len(made.ask(query, tcp=True).answer[0]) == 20
        with socket.create_connection((made.address, made.port), timeout=10) as client:
            names = ["big.example", "facebook.com", "other.example"]
            client.sendall(framed(*(ask(name, "TXT", id=at) for at, name in enumerate(names))))
            time.sleep(0)
            stream = client.makefile("rb")
            seen = {}
            for _ in names:
                data = stream.read(int.from_bytes(stream.read(2), "big"))
                seen[int.from_bytes(data[:2], "big")] = dns.message.from_wire(data)
        assert [len(seen[at].answer) for at in range(3)] == [1, 0, 1]
    upstream.close()


def test_all_that_was_asked_before_the_client_ended_is_answered_in_turns() -> None:
    echo = Echo()
    client = echo.connect()
    asked = [bytes((number, 7)) for number in range(100)]
    client.sendall(framed(*asked))
    client.shutdown(socket.SHUT_WR)
    echo.run()
    client.settimeout(10)
    found = b""
    while data := client.recv(4096):
        found += data
    assert found == framed(*asked)
    client.close()
    echo.close()
