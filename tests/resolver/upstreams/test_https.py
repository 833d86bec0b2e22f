"""Upstreams over HTTPS: HTTP/2 with real TLS on loopback, many questions on one connection, and servers that err."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import pytest
from hypercorn.asyncio import serve as hypercorn
from hypercorn.config import Config

from resolver.config import Endpoint, HttpsEndpoint
from resolver.poller import Poller
from resolver.upstreams.https import TYPE
from resolver.upstreams.upstream import Upstreams
from tests.portal.gatehouse import free_port
from tests.resolver.laboratory import make_snapshot_of
from tests.resolver.messages import ask, codes, read, reply, texts
from tests.resolver.sockets import Upstream, worker
from tests.resolver.upstreams.http2 import Headers, Http, address, for_any_name, for_ever
from tests.resolver.upstreams.test_tls import DAY, HOST, NOW, Authority, Client, Server

PATH = "/dns-query"
Talk = Callable[..., tuple[Server, Client]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "district")


def spoken(context: ssl.SSLContext, protocol: str = "h2") -> ssl.SSLContext:
    context.set_alpn_protocols([protocol])
    return context


@pytest.fixture
def talk(authority: Authority) -> Iterator[Talk]:
    made: list[tuple[Server, Client]] = []

    def factory(serve: Any = for_ever, context: ssl.SSLContext | None = None) -> tuple[Server, Client]:
        server = Server(spoken(context or authority.sign(HOST)), serve)
        made.append((server, Client(server, authority.file, HOST, PATH)))
        return made[-1]

    yield factory
    for server, client in made:
        client.upstreams.close()
        client.poller.close()
        server.close()


def test_many_questions_share_one_connection_as_padded_posts_with_id_zero(talk: Talk) -> None:
    server, client = talk()
    client.send(*range(50))
    assert client.wait(50) == (list(range(50)), [])
    client.send(*range(50, 60))
    assert client.wait(10) == (list(range(50, 60)), [])
    assert (server.connections, client.told) == (1, [])
    assert {(len(one) % 128, one[:2]) for one in server.questions} == {(0, b"\0\0")}


def test_a_request_is_what_the_standard_says(talk: Talk) -> None:
    heard: list[Headers] = []

    def note(secured: ssl.SSLSocket, server: Server) -> None:
        http = Http(secured)
        while True:
            stream, headers, body = http.request()
            heard.append({**headers, b"size": str(len(body)).encode()})
            http.respond(stream, address(body))

    server, client = talk(note)
    client.send(1)
    assert client.wait(1) == ([1], [])
    size = heard[0].pop(b"size")
    port = server.listener.getsockname()[1]
    assert heard == [
        {
            b":method": b"POST",
            b":scheme": b"https",
            b":authority": f"{HOST}:{port}".encode(),
            b":path": PATH.encode(),
            b"accept": TYPE.encode(),
            b"content-type": TYPE.encode(),
            b"content-length": size,
        }
    ]


def test_answers_may_come_in_any_order_and_only_so_many_are_asked_at_once_as_the_other_side_allows(talk: Talk) -> None:
    most: list[int] = []

    def backwards(secured: ssl.SSLSocket, server: Server) -> None:
        http = Http(secured, streams=5)
        for _ in range(4):
            batch = [http.request() for _ in range(5)]
            most.append(len(batch) + len(http.requests))
            for stream, _, body in reversed(batch):
                http.respond(stream, address(body))
        http.request()

    _, client = talk(backwards)
    client.send(0)  # the settings of the other side are known after its first words
    client.poller.wait(5)
    client.send(*range(1, 20))
    assert client.wait(20) == (list(range(20)), [])
    assert len(most) == 4


@pytest.mark.parametrize("title", ["another name", "expired", "another authority"])
def test_a_certificate_that_is_not_accepted_fails_its_questions_and_is_said(
    talk: Talk, authority: Authority, title: str, tmp_path: Path
) -> None:
    context, why = {
        "another name": lambda: (authority.sign("evil.test"), f"it is for another name than {HOST}"),
        "expired": lambda: (authority.sign(HOST, NOW - DAY), "it has expired"),
        "another authority": lambda: (
            Authority(tmp_path, "strange").sign(HOST),
            "no authority that is known here has signed it",
        ),
    }[title]()
    server, client = talk(context=context)
    for serial in range(2):
        client.send(serial)
        assert client.wait(failed=1) == ([], [serial])
    assert (server.questions, set(server.firsts)) == ([], {b"\x16"})
    assert client.told == [f"its certificate is not accepted: {why}"]


def answers_with(body: Callable[[bytes], bytes] = address, **options: str) -> Any:
    def serve(secured: ssl.SSLSocket, server: Server) -> None:
        http = Http(secured)
        while True:
            stream, _, query = http.request()
            http.respond(stream, body(query), **options)

    return serve


def resets(secured: ssl.SSLSocket, server: Server) -> None:
    http = Http(secured)
    while True:
        http.http.reset_stream(http.request()[0], 7)
        http.flush()


def goes_away(secured: ssl.SSLSocket, server: Server) -> None:
    http = Http(secured)
    http.request()
    http.go_away()


@pytest.mark.parametrize(
    ("title", "serve", "told"),
    [
        ("status", answers_with(status="503"), ["it answers with HTTP status 503"]),
        ("redirect", answers_with(status="301", location="https://evil.test/"), ["it answers with HTTP status 301"]),
        ("type", answers_with(kind="text/html"), [f"it answers with text/html, not {TYPE}"]),
        ("empty", answers_with(lambda query: b""), ["it answers another question"]),
        ("id", answers_with(lambda query: b"\1\2" + address(query)[2:]), ["it answers another question"]),
        (
            "question",
            answers_with(lambda query: b"\0\0" + reply(ask("evil.test"))[2:]),
            ["it answers another question"],
        ),
        ("giant", answers_with(lambda query: address(query) + bytes(200_000)), ["it sends more than a message can be"]),
        ("reset", resets, []),
        ("goes away", goes_away, ["the connection is closed without an answer"]),
        ("no HTTP", lambda secured, server: secured.sendall(b"220 hello\r\n" * 9), None),
        ("closes", lambda secured, server: None, None),
    ],
)
def test_a_server_that_errs_fails_its_questions_and_only_those(
    talk: Talk, title: str, serve: Any, told: list[str] | None
) -> None:
    _, client = talk(serve)
    client.send(1, 2)
    assert client.wait(failed=2) == ([], [1, 2])
    if told is not None:
        assert client.told == told
    else:
        assert len(client.told) == 1


def test_a_server_without_http_2_gets_no_question(talk: Talk, authority: Authority) -> None:
    server, client = talk(lambda secured, server: server.questions.append(secured.recv(1)))
    server.context = spoken(authority.sign(HOST), "http/1.1")
    client.send(1)
    assert client.wait(failed=1) == ([], [1])
    assert client.told == ["it does not speak HTTP/2"]
    assert not any(server.questions)


def test_what_a_connection_that_goes_away_left_unanswered_is_asked_on_a_new_one(talk: Talk) -> None:
    def one_each(secured: ssl.SSLSocket, server: Server) -> None:
        http = Http(secured)
        stream, _, body = http.request()
        http.respond(stream, address(body))
        http.go_away()

    server, client = talk(one_each)
    client.send(1, 2, 3)
    assert client.wait(3) == ([1, 2, 3], [])
    assert (server.connections, client.told) == (3, [])


def test_an_upstream_that_is_well_again_says_so(talk: Talk) -> None:
    def second_time(secured: ssl.SSLSocket, server: Server) -> None:
        http = Http(secured)
        for status in ("500", "200", "200"):
            stream, _, body = http.request()
            http.respond(stream, address(body), status=status)
        http.request()

    _, client = talk(second_time)
    for serial, expected in ((1, ([], [1])), (2, ([2], [])), (3, ([3], []))):
        client.send(serial)
        assert client.wait(len(expected[0]), len(expected[1])) == expected
    assert client.told == ["it answers with HTTP status 500", ""]


@pytest.mark.parametrize(("age", "left"), [("100", 200), ("1000", 0), ("x", 300), ("-5", 300)])
def test_the_age_that_a_cache_on_the_way_tells_is_taken_from_the_times_to_live(talk: Talk, age: str, left: int) -> None:
    _, client = talk(answers_with(age=age))
    client.send(1)
    deadline = time.monotonic() + 20
    while not client.upstreams.arrivals and time.monotonic() < deadline:
        client.poller.wait(0.05)
    ((_, data),) = client.upstreams.take()
    assert read(data).answer[0].ttl == left


def test_a_silent_connection_is_given_up_when_nobody_waits_any_more(talk: Talk) -> None:
    def silent(secured: ssl.SSLSocket, server: Server) -> None:
        http = Http(secured)
        while True:
            http.request()

    _, client = talk(silent)
    client.send(1)
    client.poller.wait(0.2)
    client.upstreams.sweep(time.time() + 2)
    assert client.upstreams.failed == []
    client.upstreams.sweep(time.time() + 4)
    assert (client.upstreams.failed, client.told) == ([1], ["nothing is heard"])


def test_another_makers_server_understands_us(authority: Authority) -> None:
    """Hypercorn on its own loop, with an application that answers whatever is posted."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while scope["type"] == "http":
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                headers = [(b"content-type", TYPE.encode())]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": address(body)})
                return

    authority.sign(HOST)
    file = authority.folder / f"district-{HOST}-{NOW + DAY:%Y%m%d}.pem"
    config = Config()
    config.bind = [f"127.0.0.1:{free_port()}"]
    config.certfile = config.keyfile = str(file)
    config.accesslog = config.errorlog = None
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    def run() -> None:
        loop.run_until_complete(hypercorn(application, config, shutdown_trigger=over.wait))  # type: ignore[arg-type]

    thread = threading.Thread(target=run)
    thread.start()
    try:
        poller = Poller()
        port = int(config.bind[0].rpartition(":")[2])
        upstreams = Upstreams((HttpsEndpoint("127.0.0.1", port, HOST, PATH),), poller, 3.0, authority.file)
        deadline = time.monotonic() + 20
        while not upstreams.arrivals and time.monotonic() < deadline:  # it may not listen yet
            upstreams.failed.clear()
            upstreams.send([(1, 0, dns.message.make_query("example.com", "A", id=0).to_wire(), False)], time.time())
            poller.wait(0.2)
            poller.wait(0.2)
        assert read(upstreams.arrivals[0][1]).answer[0][0].to_text() == "192.0.2.1"
        upstreams.close()
        poller.close()
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


def test_a_worker_asks_over_https_and_another_upstream_when_that_one_fails(
    authority: Authority, tmp_path: Path
) -> None:
    snapshot = make_snapshot_of()
    plain = Upstream(lambda query, tcp: [reply(query, f"{read(query).question[0].name} 300 A 192.0.2.7")])
    contexts = (authority.sign(HOST), authority.sign(HOST, NOW - DAY))
    good, expired = (Server(spoken(one), for_any_name) for one in contexts)

    def end(server: Server) -> HttpsEndpoint:
        return HttpsEndpoint("127.0.0.1", server.listener.getsockname()[1], HOST, PATH)

    def told(name: str, *upstreams: Endpoint) -> dns.message.Message:
        config = {"upstreams": upstreams, "upstream_ca": authority.file, "loop_check": 600.0}
        with worker(tmp_path, lambda current: snapshot, **config) as running:  # type: ignore[arg-type]
            return running.ask(dns.message.make_query(name, "A", use_edns=0))

    assert str(told("a.example", end(good)).answer[0][0]) == "192.0.2.1"
    assert str(told("b.example", end(expired), plain.endpoint).answer[0][0]) == "192.0.2.7"
    failed = told("c.example", end(expired))
    assert (codes(failed), texts(failed)) == ([22], [f"{HOST}: its certificate is not accepted: it has expired"])
    for one in (plain, good, expired):
        one.close()
