"""DNS over TLS towards one upstream (RFC 7858): one connection, kept open, many questions on it at once.

The certificate must be for the upstream's name and signed by an authority we know. Anything else is a failure of every
question that waits there, said once in the log; nothing is ever sent in the clear instead. Decides nothing.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from resolver.config import SecureEndpoint
from resolver.poller import READ, WRITE, Poller
from resolver.wire import HEAD, PADDING, option, question_of

MAX_PENDING = 1_000  # questions on one connection
IDLE = 20.0  # seconds without a question, then the connection is closed
BLOCK = 128  # octets, RFC 8467 §4.1

log = logging.getLogger(__name__)


def client_context(ca: Path | None) -> ssl.SSLContext:
    """Return what every connection is made with: the system's authorities, or those of the file `ca` only. Raises
    `OSError` (`ssl.SSLError` is one) for a file that cannot be used."""
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TlsUpstream:
    """See the module. `arrived(serial, message)` and `failed(serial)` are called while sockets are served."""

    __slots__ = (
        "_arrived",
        "_buffer",
        "_context",
        "_endpoint",
        "_events",
        "_failed",
        "_heard",
        "_next",
        "_out",
        "_patience",
        "_pending",
        "_poller",
        "_socket",
        "_trouble",
        "_used",
    )

    def __init__(
        self,
        endpoint: SecureEndpoint,
        context: ssl.SSLContext,
        poller: Poller,
        patience: float,
        arrived: Callable[[int, bytes], None],
        failed: Callable[[int], None],
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._poller = poller
        self._patience = patience
        self._arrived = arrived
        self._failed = failed
        self._socket: socket.socket | None = None
        self._pending: dict[int, tuple[int, bytes, float]] = {}  # id -> serial, message, when it was sent
        self._out = bytearray()
        self._buffer = bytearray()
        self._events = 0
        self._next = 0
        self._heard = 0  # answers on this connection
        self._used = 0.0  # when the last question was sent or the last answer came
        self._trouble = ""

    def send(self, serial: int, message: bytes, now: float) -> None:
        """Ask `message`, whose id is zero."""
        if len(self._pending) >= MAX_PENDING:
            self._failed(serial)
            return
        if not self._pending:
            self._used = now
        while self._next in self._pending:
            self._next = (self._next + 1) & 0xFFFF
        self._pending[self._next] = (serial, message, now)
        self._write(self._next, message)
        self._next = (self._next + 1) & 0xFFFF
        if self._socket is None:
            self._connect()
        else:
            self._ready(0)

    def sweep(self, now: float) -> None:
        """Give up a connection that hears nothing, and close one that nobody uses. Called every second or so."""
        quiet = not 0 <= now - self._used < (self._patience if self._pending else IDLE)
        if self._socket is not None and quiet:
            self._give_up("nothing is heard" if self._pending else "")
        for number in [one for one, (_, _, sent) in self._pending.items() if now - sent > 2 * self._patience]:
            del self._pending[number]

    def close(self) -> None:
        """Close the connection; who waits on it is not told."""
        self._pending.clear()
        self._disconnect()

    def _write(self, number: int, message: bytes) -> None:
        if message[11]:  # an OPT at the end, without options: padded, so that the length does not tell the name
            padding = option(PADDING, bytes(-(len(message) + 4) % BLOCK))
            message = message[:-2] + len(padding).to_bytes(2, "big") + padding
        self._out += len(message).to_bytes(2, "big") + number.to_bytes(2, "big") + message[2:]

    def _connect(self) -> None:
        endpoint = self._endpoint
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        made: socket.socket | None = None
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect((endpoint.address, endpoint.port))
        except BlockingIOError:
            pass
        except OSError as error:
            if made is not None:
                made.close()
            self._give_up(str(error))
            return
        assert made is not None
        self._socket = made
        self._heard = 0
        self._events = WRITE
        self._poller.watch(made.fileno(), WRITE, self._ready)

    def _ready(self, mask: int) -> None:
        """Go on: connect, shake hands, write, read, as far as the socket lets us. `mask` 0: there is more to write."""
        events = READ
        try:
            if not isinstance(self._socket, ssl.SSLSocket):
                if not mask:
                    return  # still connecting
                self._secure()
            secured = self._socket
            assert isinstance(secured, ssl.SSLSocket)
            if secured.version() is None:
                if not mask:
                    return
                secured.do_handshake()
            while self._out:
                del self._out[: secured.send(self._out)]
            if not mask:
                return  # what can be read is for the poller's round, so that it is taken at once
            while data := secured.recv(65_537):
                self._buffer += data
                self._read()
            self._ended()
            return
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLWantWriteError, BlockingIOError):
            events = READ | WRITE
        except ssl.SSLCertVerificationError as error:
            self._give_up(f"its certificate is not accepted: {error.verify_message}")
            return
        except OSError as error:
            if self._heard:
                self._ended()
            else:
                self._give_up(str(error))
            return
        if events != self._events and self._socket is not None:
            self._events = events
            self._poller.change(self._socket.fileno(), events)

    def _secure(self) -> None:
        """The connection stands (or failed): begin TLS on it. The descriptor stays the same."""
        plain = self._socket
        assert plain is not None
        if error := plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "the connection is refused or lost")
        self._socket = self._context.wrap_socket(
            plain, do_handshake_on_connect=False, server_hostname=self._endpoint.host
        )

    def _read(self) -> None:
        buffer = self._buffer
        while len(buffer) >= 2 and len(buffer) >= 2 + (size := int.from_bytes(buffer[:2], "big")):
            data = bytes(buffer[2 : 2 + size])
            del buffer[: 2 + size]
            found = self._pending.get(int.from_bytes(data[:2], "big"))
            if found is None or size < HEAD:
                continue
            question = question_of(found[1])
            end = HEAD + len(question)
            if data[HEAD:end].lower() != question.lower():
                continue
            del self._pending[int.from_bytes(data[:2], "big")]
            self._heard += 1
            self._used = max(self._used, found[2])
            if self._trouble:
                log.warning("upstream %s answers again", self._endpoint)
                self._trouble = ""
            self._arrived(found[0], data[:HEAD] + question + data[end:])  # the connection vouches for the case

    def _ended(self) -> None:
        """The other side closed. After answers that is its idle limit: what it did not answer is asked again."""
        if not (self._heard and self._pending):
            self._give_up("the connection is closed without an answer" if self._pending else "")
            return
        self._disconnect()
        for number, (_, message, _) in self._pending.items():
            self._write(number, message)
        self._connect()

    def _give_up(self, why: str) -> None:
        """Close, and tell all who wait here that they have no answer. `why` is logged once, not for every question."""
        self._disconnect()
        if why and why != self._trouble:
            self._trouble = why
            log.warning("upstream %s: %s. It is not asked without TLS instead.", self._endpoint, why)
        lost, self._pending = self._pending, {}
        for serial, _, _ in lost.values():
            self._failed(serial)

    def _disconnect(self) -> None:
        self._out.clear()
        self._buffer.clear()
        if self._socket is not None:
            self._poller.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
