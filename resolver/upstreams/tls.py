"""DNS over TLS towards one upstream (RFC 7858): one connection, kept open, many questions on it at once.

What cannot be sent over TLS to the right upstream is a failure of every question that waits there; nothing is ever sent
in the clear instead. Decides nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from resolver.config import SecureEndpoint
from resolver.message.wire import HEAD, PADDING, option, question_of
from resolver.poller import Poller
from resolver.upstreams.channel import Channel, Trouble

MAX_PENDING = 1_000  # questions on one connection
IDLE = 20.0  # seconds without a question, then the connection is closed
CLOCK = 1.0  # seconds by which a sweep's clock may lag behind the last question's; more: it was set back
BLOCK = 128  # octets, RFC 8467 §4.1


def padded(message: bytes) -> bytes:
    """Return a message to an upstream so that its length does not tell the name, when it has an OPT at its end."""
    if not message[11]:
        return message
    padding = option(PADDING, bytes(-(len(message) + 4) % BLOCK))
    return message[:-2] + len(padding).to_bytes(2, "big") + padding


class TlsUpstream:
    """See the module. `arrived(serial, message)`, `failed(serial)` and `told(trouble)` are called while sockets are
    served."""

    __slots__ = (
        "_arrived",
        "_buffer",
        "_channel",
        "_failed",
        "_heard",
        "_next",
        "_patience",
        "_pending",
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
        told: Callable[[str], None],
    ) -> None:
        self._patience = patience
        self._arrived = arrived
        self._failed = failed
        self._channel = Channel(endpoint, context, poller, lambda: None, self._read, self._ended)
        self._pending: dict[int, tuple[int, bytes, float]] = {}  # id -> serial, message, when it was sent
        self._buffer = bytearray()
        self._next = 0
        self._heard = 0  # answers on this connection
        self._used = 0.0  # when the last question was sent or the last answer came
        self._trouble = Trouble(told)

    def send(self, serial: int, message: bytes, now: float) -> None:
        """Ask `message`, whose id is zero."""
        if len(self._pending) >= MAX_PENDING:
            self._failed(serial)
            return
        if not self._pending:
            self._used = now
        while self._next in self._pending:
            self._next = (self._next + 1) & 0xFFFF
        number = self._next
        self._next = (number + 1) & 0xFFFF
        self._pending[number] = (serial, message, now)
        if self._channel.open:
            self._write(number, message)
        else:
            self._connect()

    def sweep(self, now: float) -> None:
        """Give up a connection that hears nothing, and close one that nobody uses. Called every second or so."""
        quiet = not -CLOCK <= now - self._used < (self._patience if self._pending else IDLE)
        if self._channel.open and quiet:
            self._give_up("nothing is heard" if self._pending else "")
        for number in [one for one, (_, _, sent) in self._pending.items() if now - sent > 2 * self._patience]:
            del self._pending[number]

    def close(self) -> None:
        """Close the connection; who waits on it is not told."""
        self._pending.clear()
        self._channel.close()

    def _connect(self) -> None:
        """Connect, and ask all that waits."""
        self._heard = 0
        self._buffer.clear()
        waiting = list(self._pending.items())
        self._channel.connect()
        if self._channel.open:
            for number, (_, message, _) in waiting:
                self._write(number, message)

    def _write(self, number: int, message: bytes) -> None:
        message = padded(message)
        self._channel.write(len(message).to_bytes(2, "big") + number.to_bytes(2, "big") + message[2:])

    def _read(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
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
            self._trouble.ends()
            self._arrived(found[0], data[:HEAD] + question + data[end:])  # the connection vouches for the case

    def _ended(self, why: str) -> None:
        """The connection is over. After answers that is the other's idle limit: what it did not answer is asked
        again."""
        if self._heard and self._pending:
            self._connect()
        else:
            self._give_up(why or ("the connection is closed without an answer" if self._pending else ""))

    def _give_up(self, why: str) -> None:
        """Close, and tell all who wait here that they have no answer."""
        self._channel.close()
        if why:
            self._trouble.begins(why)
        lost, self._pending = self._pending, {}
        for serial, _, _ in lost.values():
            self._failed(serial)
