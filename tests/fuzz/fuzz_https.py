"""Hostile bytes from a server of DNS over HTTPS, behind TLS: an answer, a failure of its questions, or nothing yet."""

from __future__ import annotations

import logging
import random
import ssl
from collections import Counter
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from resolver.config import HttpsEndpoint
from resolver.message.wire import upstream_query
from resolver.poller import Poller
from resolver.upstreams.https import TYPE, HttpsUpstream
from tests.fuzz.fuzz_wire import damage
from tests.resolver.messages import reply

ENDPOINT = HttpsEndpoint("192.0.2.53", 443, "dns.test", "/dns-query")
MESSAGE = upstream_query(b"\x07example\x03com\0\0\1\0\1", do=False, cd=False, size=1232)
QUESTIONS = 8  # on one connection
STATUSES, KINDS, AGES = ("200", "200", "200", "404", "x"), (TYPE, TYPE, "text/html"), ("0", "5", "99999999999", "-1")


class _Wire:
    """In the channel's place: what is written is for the server; connecting again does not work."""

    protocol = "h2"
    open = True

    def __init__(self) -> None:
        self.out = b""

    def write(self, data: bytes) -> None:
        self.out += data

    def connect(self) -> None:
        self.open = False

    def close(self) -> None:
        self.open = False


def exchange(rng: random.Random, poller: Poller, questions: int) -> Counter[str]:
    """One connection with so many questions, whose server errs; what came of them."""
    came: list[int] = []
    lost: list[int] = []
    upstream = HttpsUpstream(
        ENDPOINT,
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        poller,
        3.0,
        lambda serial, _: came.append(serial),
        lost.append,
        lambda _: None,
    )
    wire: Any = _Wire()
    upstream._channel = wire
    for serial in range(questions):
        upstream.send(serial, MESSAGE, 0.0)
    upstream._begun()
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    sent = server.data_to_send()
    for event in server.receive_data(wire.out):
        if isinstance(event, RequestReceived):
            assert event.stream_id is not None
            body = reply(MESSAGE, "example.com. 300 A 192.0.2.1")
            body = body if rng.randrange(3) else damage(rng, body)
            headers = [
                (":status", rng.choice(STATUSES)),
                ("content-type", rng.choice(KINDS)),
                ("age", rng.choice(AGES)),
            ]
            server.send_headers(event.stream_id, headers)
            server.send_data(event.stream_id, body, end_stream=True)
            sent += server.data_to_send()
    if not rng.randrange(5):
        server.close_connection()
        sent += server.data_to_send()
    damaged = bool(rng.randrange(3))
    sent = damage(rng, sent) if damaged else sent
    at = 0
    while at < len(sent) and wire.open:
        step = rng.choice((1, 9, 40, len(sent)))
        upstream._read(sent[at : at + step])
        at += step
    upstream.sweep(2.0)
    upstream._give_up("")
    assert sorted(came + lost) == list(range(questions)), (came, lost)
    assert not upstream._pending and not upstream._waiting
    how = "damaged" if damaged else "whole"
    return Counter({f"answer, {how}": len(came), f"failure, {how}": len(lost)})


def run(count: int, seed: int = 0) -> Counter[str]:
    """Ask `count` questions; raise whatever is undeclared or wrong."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    poller = Poller()
    logging.disable(logging.WARNING)
    try:
        while (left := count - sum(found.values())) > 0:
            found += exchange(rng, poller, min(left, QUESTIONS))
    finally:
        logging.disable(logging.NOTSET)
        poller.close()
    return found
