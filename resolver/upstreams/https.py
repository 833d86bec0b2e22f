"""DNS over HTTPS towards one upstream (RFC 8484): POST over HTTP/2, one connection, kept open, many questions at once.

By h2, which is what httpx speaks HTTP/2 with: a client that brings a loop or threads of its own has no place in a
worker. As over TLS, nothing is ever sent in the clear instead, and the upstream's address stands in the settings: no
name is resolved to reach it. Decides nothing.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error

from resolver.config import HttpsEndpoint
from resolver.message.wire import HEAD, aged, question_of
from resolver.poller import Poller
from resolver.upstreams.channel import Channel, Trouble
from resolver.upstreams.tls import CLOCK, IDLE, MAX_PENDING, padded

MAX_STREAMS = 100  # questions at once on one connection, when the other side allows as many
LAST_STREAM = 2**30  # a connection that has carried so many is closed before its numbers end
MAX_MESSAGE = 65_535
TYPE = "application/dns-message"


@dataclass(slots=True)
class _Asked:
    """One question: which try it is, what is asked, when; and its response as far as it came."""

    serial: int
    message: bytes
    sent: float
    status: str = ""
    kind: str = ""
    age: int = 0
    body: bytearray = field(default_factory=bytearray)


class HttpsUpstream:
    """See the module. `arrived(serial, message)`, `failed(serial)` and `told(trouble)` are called while sockets are
    served."""

    __slots__ = (
        "_arrived",
        "_channel",
        "_endpoint",
        "_failed",
        "_heard",
        "_http",
        "_patience",
        "_pending",
        "_trouble",
        "_used",
        "_waiting",
    )

    def __init__(
        self,
        endpoint: HttpsEndpoint,
        context: ssl.SSLContext,
        poller: Poller,
        patience: float,
        arrived: Callable[[int, bytes], None],
        failed: Callable[[int], None],
        told: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._arrived = arrived
        self._failed = failed
        self._channel = Channel(endpoint, context, poller, self._begun, self._read, self._ended)
        self._http: H2Connection | None = None
        self._pending: dict[int, _Asked] = {}  # by stream
        self._waiting: list[_Asked] = []  # for the handshake, or for room on the connection
        self._heard = 0  # answers on this connection
        self._used = 0.0  # when the last question was sent or the last answer came
        self._trouble = Trouble(told)

    def send(self, serial: int, message: bytes, now: float) -> None:
        """Ask `message`, whose id is zero and stays so (RFC 8484 §4.1)."""
        if len(self._pending) + len(self._waiting) >= MAX_PENDING:
            self._failed(serial)
            return
        if not self._pending and not self._waiting:
            self._used = now
        self._waiting.append(_Asked(serial, message, now))
        if not self._channel.open:
            self._connect()
        elif self._http is not None:
            self._ask()

    def sweep(self, now: float) -> None:
        """Give up a connection that hears nothing, and close one that nobody uses. Called every second or so."""
        busy = self._pending or self._waiting
        quiet = not -CLOCK <= now - self._used < (self._patience if busy else IDLE)
        if self._channel.open and quiet:
            self._give_up("nothing is heard" if busy else "")
        for stream in [at for at, one in self._pending.items() if now - one.sent > 2 * self._patience]:
            self._reset(stream)
        self._waiting = [one for one in self._waiting if now - one.sent <= 2 * self._patience]

    def close(self) -> None:
        """Close the connection; who waits on it is not told."""
        self._pending.clear()
        self._waiting.clear()
        self._channel.close()
        self._http = None

    def _connect(self) -> None:
        self._heard = 0
        self._http = None
        self._channel.connect()

    def _begun(self) -> None:
        """The handshake is done: say how we speak, and ask all that waits."""
        if self._channel.protocol != "h2":
            self._give_up("it does not speak HTTP/2")
            return
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._http.initiate_connection()
        self._ask()

    def _ask(self) -> None:
        """Open a stream for each question that waits, as far as there is room."""
        http = self._http
        assert http is not None
        while self._waiting and len(self._pending) < min(MAX_STREAMS, http.remote_settings.max_concurrent_streams):
            body = padded(self._waiting[0].message)
            if http.outbound_flow_control_window < len(body) or len(body) > http.remote_settings.initial_window_size:
                break
            asked = self._waiting.pop(0)
            stream = http.get_next_available_stream_id()
            self._pending[stream] = asked
            http.send_headers(stream, [*self._head(), ("content-length", str(len(body)))])
            http.send_data(stream, body, end_stream=True)
        self._channel.write(http.data_to_send())

    def _head(self) -> list[tuple[str, str]]:
        endpoint = self._endpoint
        return [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", endpoint.authority),
            (":path", endpoint.path),
            ("accept", TYPE),
            ("content-type", TYPE),
        ]

    def _read(self, data: bytes) -> None:
        http = self._http
        if http is None:
            return
        try:
            for event in http.receive_data(data):
                self._heed(http, event)
        except H2Error as error:
            self._give_up(f"it does not speak HTTP/2 as it should: {type(error).__name__}")
            return
        if self._http is not http:
            return
        if http.state_machine.state.name == "CLOSED" or http.highest_outbound_stream_id > LAST_STREAM:
            self._over()
            return
        self._ask()

    def _heed(self, http: H2Connection, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=int(stream), headers=list(headers)) if stream in self._pending:
                asked = self._pending[stream]
                for name, value in headers:
                    if name == b":status":
                        asked.status = value[:9].decode("latin-1")
                    elif name == b"content-type":
                        asked.kind = value[:99].decode("latin-1").partition(";")[0].strip().lower()
                    elif name == b"age" and value.isdigit():
                        asked.age = int(value[:10])
            case DataReceived(stream_id=int(stream), data=bytes(data), flow_controlled_length=int(length)):
                http.acknowledge_received_data(length, stream)
                if (waits := self._pending.get(stream)) is not None:
                    waits.body += data
                    if len(waits.body) > MAX_MESSAGE:
                        self._fail(stream, "it sends more than a message can be")
                        self._reset(stream)
            case StreamEnded(stream_id=int(stream)) if stream in self._pending:
                self._take(stream)
            case StreamReset(stream_id=int(stream)):
                self._fail(stream, "")
            case _:
                pass  # what h2 has answered by itself, or what ends the connection

    def _take(self, stream: int) -> None:
        asked = self._pending[stream]
        self._heard += 1
        self._used = max(self._used, asked.sent)
        if asked.status != "200" or asked.kind != TYPE:
            about = f"HTTP status {asked.status}" if asked.status != "200" else f"{asked.kind or 'nothing'}, not {TYPE}"
            self._fail(stream, f"it answers with {about}")
            return
        data = bytes(asked.body)
        question = question_of(asked.message)
        end = HEAD + len(question)
        if data[:2] != b"\0\0" or data[HEAD:end].lower() != question.lower():
            self._fail(stream, "it answers another question")
            return
        del self._pending[stream]
        self._trouble.ends()
        if asked.age:
            data = aged(data, asked.age)
        self._arrived(asked.serial, data[:HEAD] + question + data[end:])  # the connection vouches for the case

    def _fail(self, stream: int, why: str) -> None:
        """One question has no answer here; `why` tells what is wrong with the upstream, if anything is."""
        asked = self._pending.pop(stream, None)
        if asked is not None:
            if why:
                self._trouble.begins(why)
            self._failed(asked.serial)

    def _reset(self, stream: int) -> None:
        """Nobody waits for this one any more."""
        self._pending.pop(stream, None)
        if self._http is not None:
            with contextlib.suppress(H2Error):
                self._http.reset_stream(stream, ErrorCodes.CANCEL)
            self._channel.write(self._http.data_to_send())

    def _over(self) -> None:
        self._channel.close()
        self._ended("")

    def _ended(self, why: str) -> None:
        """The connection is over. After answers that is the other's idle limit: what it did not answer is asked
        again."""
        self._http = None
        again = [*self._pending.values(), *self._waiting]
        if not (self._heard and again):
            self._give_up(why or ("the connection is closed without an answer" if again else ""))
            return
        self._pending = {}
        self._waiting = [_Asked(one.serial, one.message, one.sent) for one in again]
        self._connect()

    def _give_up(self, why: str) -> None:
        """Close, and tell all who wait here that they have no answer."""
        self._channel.close()
        self._http = None
        if why:
            self._trouble.begins(why)
        lost = [*self._pending.values(), *self._waiting]
        self._pending, self._waiting = {}, []
        for one in lost:
            self._failed(one.serial)
