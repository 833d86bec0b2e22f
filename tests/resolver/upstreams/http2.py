"""The server's half of HTTP/2 with h2, request by request, so that a test can answer, err or go away at will."""

from __future__ import annotations

import ssl

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from resolver.upstreams.https import TYPE
from tests.resolver.messages import read, reply
from tests.resolver.upstreams.test_tls import Server

Headers = dict[bytes, bytes]


class Http:
    """The server's half of one connection, request by request."""

    def __init__(self, secured: ssl.SSLSocket, streams: int = 100) -> None:
        self.secured = secured
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.http.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
        self.http.initiate_connection()
        self.requests: list[tuple[int, Headers, bytes]] = []
        self.reset: list[int] = []
        self._parts: dict[int, tuple[Headers, bytes]] = {}
        self.flush()

    def flush(self) -> None:
        self.secured.sendall(self.http.data_to_send())

    def request(self) -> tuple[int, Headers, bytes]:
        """The next whole request; raises `OSError` at the end of the connection."""
        while not self.requests:
            self._read()
        return self.requests.pop(0)

    def _read(self) -> None:
        data = self.secured.recv(65_536)
        if not data:
            raise OSError("closed")
        for event in self.http.receive_data(data):
            match event:
                case RequestReceived(stream_id=int(stream), headers=list(headers)):
                    self._parts[stream] = (dict(headers), b"")
                case DataReceived(stream_id=int(stream), data=bytes(body)):
                    self._parts[stream] = (self._parts[stream][0], self._parts[stream][1] + body)
                case StreamEnded(stream_id=int(stream)):
                    self.requests.append((stream, *self._parts.pop(stream)))
                case StreamReset(stream_id=int(stream)):
                    self.reset.append(stream)
        self.flush()

    def respond(self, stream: int, body: bytes, status: str = "200", kind: str = TYPE, **headers: str) -> None:
        given = [(":status", status), ("content-type", kind), *headers.items()]
        self.http.send_headers(stream, given)
        for at in range(0, len(body), 16_000):
            while stream not in self.reset and self.http.local_flow_control_window(stream) < 16_000:
                self._read()
            if stream in self.reset:
                return
            self.http.send_data(stream, body[at : at + 16_000])
            self.flush()
        self.http.end_stream(stream)
        self.flush()

    def go_away(self) -> None:
        """Close in order, and wait until the other side has."""
        self.http.close_connection()
        self.flush()
        while self.secured.recv(65_536):
            pass


def address(query: bytes, ttl: int = 300) -> bytes:
    return reply(query, f"example.com. {ttl} A 192.0.2.1")


def for_ever(secured: ssl.SSLSocket, server: Server) -> None:
    http = Http(secured)
    while True:
        stream, _, body = http.request()
        server.questions.append(body)
        http.respond(stream, address(body))


def for_any_name(secured: ssl.SSLSocket, server: Server) -> None:
    http = Http(secured)
    while True:
        stream, _, body = http.request()
        http.respond(stream, reply(body, f"{read(body).question[0].name} 300 A 192.0.2.1"))
