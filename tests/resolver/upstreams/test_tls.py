"""Upstreams over TLS: certificates, one connection for many questions, and never anything in the clear."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resolver.config import HttpsEndpoint, SecureEndpoint
from resolver.message.wire import upstream_query
from resolver.poller import Poller
from resolver.upstreams.upstream import Upstreams
from tests.resolver.messages import ask, reply
from tests.resolver.sockets import tcp_socket

HOST = "dns.district.example"
MESSAGE = upstream_query(b"\x07eXample\x03com\0\0\x01\0\x01", do=False, cd=False, size=1232)
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)

Serve = Callable[[ssl.SSLSocket, "Server"], None]


class Authority:
    """A certificate authority of the test's own, and the certificates that it signs."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder = folder
        self.later = NOW + DAY
        self.title = title
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        made = self._builder(self.name, self.key, NOW + DAY).add_extension(x509.BasicConstraints(True, 0), True)
        self.file = folder / f"{title}.pem"
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 9 * DAY)
            .not_valid_after(until)
        )

    def sign(self, host: str, until: datetime.datetime = NOW + DAY, *more: str) -> ssl.SSLContext:
        """Return a server's context with a certificate for `host`, and `more` names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem(host, until, *more))
        return context

    def pem(self, host: str, until: datetime.datetime = NOW + DAY, *more: str) -> Path:
        """Return the file with such a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            other = x509.DNSName(host)
        made = self._builder(x509.Name([]), key, until).add_extension(
            x509.SubjectAlternativeName([other, *map(x509.DNSName, more)]), True
        )
        file = self.folder / f"{self.title}-{host}-{until:%Y%m%d}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file


class Server:
    """A TLS server; `connections` counts those whose handshake was finished, `raw` has what came before TLS."""

    def __init__(self, context: ssl.SSLContext, serve: Serve) -> None:
        self.listener = tcp_socket()
        self.listener.settimeout(10)
        self.context = context
        self.serve = serve
        self.connections = 0
        self.questions: list[bytes] = []
        self.firsts: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            one = threading.Thread(target=self._talk, args=(connection,))
            one.start()
            self.threads.append(one)

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            self.firsts.append(connection.recv(1, socket.MSG_PEEK))
            with self.context.wrap_socket(connection, server_side=True) as secured:
                self.connections += 1
                self.serve(secured, self)
        except OSError:
            connection.close()

    def read(self, secured: ssl.SSLSocket) -> bytes:
        """One message; raises `OSError` at the end of the connection."""
        data = b""
        while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
            more = secured.recv(1 if len(data) < 2 else 2 + struct.unpack("!H", data[:2])[0] - len(data))
            if not more:
                raise OSError("closed")
            data += more
        self.questions.append(data[2:])
        return data[2:]

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for one in self.threads:
            one.join()


def answer(secured: ssl.SSLSocket, query: bytes) -> None:
    data = reply(query, "example.com. 300 A 192.0.2.1")
    secured.sendall(struct.pack("!H", len(data)) + data)


def for_ever(secured: ssl.SSLSocket, server: Server) -> None:
    while True:
        answer(secured, server.read(secured))


class Client:
    """Our side: the sockets of a worker towards one upstream."""

    def __init__(self, server: Server, ca: Path, host: str = HOST, path: str | None = None) -> None:
        """`path`: over HTTPS, else over TLS."""
        self.poller = Poller()
        self.told: list[str] = []
        port = server.listener.getsockname()[1]
        secure = SecureEndpoint("127.0.0.1", port, host)
        endpoint = secure if path is None else HttpsEndpoint("127.0.0.1", port, host, path)
        self.upstreams = Upstreams((endpoint,), self.poller, 3.0, ca, lambda _, trouble: self.told.append(trouble))

    def send(self, *serials: int) -> None:
        self.upstreams.send([(serial, 0, MESSAGE, False) for serial in serials], time.time())

    def wait(self, arrived: int = 0, failed: int = 0) -> tuple[list[int], list[int]]:
        """Poll until so many have arrived and failed; return the serials."""
        deadline = time.monotonic() + 10
        ours = self.upstreams
        while (len(ours.arrivals) < arrived or len(ours.failed) < failed) and time.monotonic() < deadline:
            self.poller.wait(0.05)
        return sorted(serial for serial, _ in ours.take()), sorted(ours.take_failed())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "district")


@pytest.fixture
def talk(authority: Authority) -> Iterator[Callable[..., tuple[Server, Client]]]:
    made: list[tuple[Server, Client]] = []

    def factory(serve: Serve = for_ever, context: ssl.SSLContext | None = None, host: str = HOST) -> object:
        server = Server(context or authority.sign(HOST), serve)
        made.append((server, Client(server, authority.file, host)))
        return made[-1]

    yield factory  # type: ignore[misc]
    for server, client in made:
        client.upstreams.close()
        client.poller.close()
        server.close()


Talk = Callable[..., tuple[Server, Client]]


def test_many_questions_share_one_connection_and_are_padded(talk: Talk) -> None:
    server, client = talk()
    client.send(*range(50))
    assert client.wait(50) == (list(range(50)), [])
    client.send(*range(50, 60))
    assert client.wait(10) == (list(range(50, 60)), [])
    assert server.connections == 1
    assert {len(one) % 128 for one in server.questions} == {0}
    assert len({one[:2] for one in server.questions}) == 60


def test_answers_may_come_in_any_order_and_strangers_are_ignored(talk: Talk) -> None:
    def backwards(secured: ssl.SSLSocket, server: Server) -> None:
        queries = [server.read(secured) for _ in range(5)]
        stranger = queries[0][:2] + reply(ask("evil.test"), "evil.test. 300 A 192.0.2.66")[2:]
        secured.sendall(struct.pack("!H", len(stranger)) + stranger + b"\0\x01x")
        for query in reversed(queries):
            answer(secured, query)
        server.read(secured)

    _, client = talk(backwards)
    client.send(*range(5))
    assert client.wait(5) == (list(range(5)), [])


def test_a_certificate_for_an_address_is_good_for_that_address(talk: Talk, authority: Authority) -> None:
    _, client = talk(context=authority.sign("127.0.0.1"), host="127.0.0.1")
    client.send(1)
    assert client.wait(1) == ([1], [])


@pytest.mark.parametrize("title", ["another name", "expired", "another authority"])
def test_a_certificate_that_is_not_accepted_fails_its_questions_and_is_said_once(
    talk: Talk, authority: Authority, title: str, tmp_path: Path
) -> None:
    context = {
        "another name": lambda: authority.sign("evil.test"),
        "expired": lambda: authority.sign(HOST, NOW - DAY),
        "another authority": lambda: Authority(tmp_path, "strange").sign(HOST),
    }[title]()
    server, client = talk(context=context)
    for serial in range(3):
        client.send(serial)
        assert client.wait(failed=1) == ([], [serial])
    assert server.questions == []
    assert set(server.firsts) == {b"\x16"}  # a TLS handshake; nothing came in the clear
    why = {
        "another name": f"it is for another name than {HOST}",
        "expired": "it has expired",
        "another authority": "no authority that is known here has signed it",
    }[title]
    assert client.told == [f"its certificate is not accepted: {why}"]


def test_what_a_closed_connection_left_unanswered_is_asked_on_a_new_one(talk: Talk) -> None:
    def once(secured: ssl.SSLSocket, server: Server) -> None:
        answer(secured, server.read(secured))

    server, client = talk(once)
    for serial in range(3):
        client.send(serial)
        assert client.wait(1) == ([serial], [])
    client.send(7, 8)
    assert client.wait(2) == ([7, 8], [])
    assert server.connections >= 4
    assert client.told == []


@pytest.mark.parametrize(
    ("title", "serve"),
    [
        ("closes at once", lambda secured, server: None),
        ("closes after the question", lambda secured, server: server.read(secured)),
        ("half a message", lambda secured, server: (server.read(secured), secured.sendall(b"\0\x40half"))),
    ],
)
def test_a_connection_that_ends_without_an_answer_fails_its_questions(talk: Talk, title: str, serve: Serve) -> None:
    _, client = talk(serve)
    client.send(1, 2)
    assert client.wait(failed=2) == ([], [1, 2])


def test_a_server_that_speaks_no_tls_gets_no_question(talk: Talk, authority: Authority) -> None:
    plain = Server(authority.sign(HOST), for_ever)
    plain.context.wrap_socket = lambda connection, **options: _talk_plainly(connection)  # type: ignore[method-assign]
    client = Client(plain, authority.file)
    client.send(1)
    assert client.wait(failed=1) == ([], [1])
    client.upstreams.close()
    client.poller.close()
    plain.close()
    assert plain.firsts == [b"\x16"]


def _talk_plainly(connection: socket.socket) -> ssl.SSLSocket:
    connection.sendall(b"220 hello\r\n")
    connection.close()
    raise OSError("no TLS here")


def test_a_silent_connection_is_given_up_when_nobody_waits_any_more(talk: Talk) -> None:
    def silent(secured: ssl.SSLSocket, server: Server) -> None:
        while True:
            server.read(secured)

    _, client = talk(silent)
    client.send(1)
    client.poller.wait(0.2)
    client.upstreams.sweep(time.time() + 2)
    assert client.upstreams.failed == []
    client.upstreams.sweep(time.time() + 4)
    assert client.upstreams.failed == [1]


def test_a_sweep_whose_clock_lags_behind_the_last_question_ends_nothing(talk: Talk) -> None:
    _, client = talk()
    client.upstreams.send([(1, 0, MESSAGE, False)], time.time())
    client.upstreams.sweep(time.time() - 0.5)
    assert client.wait(1) == ([1], [])
