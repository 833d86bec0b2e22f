"""Questions that came encrypted, from the process that holds TLS to a worker, and the replies back.

One message of a SOCK_SEQPACKET pair is one question or one reply, so that a replaced worker finds whole ones. The
supervisor keeps both ends. Numbers in host order; a `tag` is the asker's, and comes back with the reply:

    question   u64 tag, u8 transport (`TRANSPORTS`), u8 length + client address, u8 length + asked address,
               u8 length + profile (SHA-256 in hex, or nothing), the DNS message
    reply      u64 tag, the DNS message
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable

from resolver.engine.seam import Datagram

TRANSPORTS = ("dot", "doh")
MAX_MESSAGE = 65_535 + 1_024
MAX_KEPT = 16 * 1024 * 1024  # octets that wait because the other side reads too slowly
BATCH = 64
_HEAD = struct.Struct("=QB")
_TAG = struct.Struct("=Q")


class BadQuestion(ValueError):
    """A message of a pair that is no question."""


def question(tag: int, transport: str, client: str, asked: str, profile: str, message: bytes) -> bytes:
    """Return the bytes of a question; addresses and profile are ASCII of at most 255 characters."""
    parts = [_HEAD.pack(tag, TRANSPORTS.index(transport))]
    for text in (client, asked, profile):
        parts += (bytes((len(text),)), text.encode("ascii"))
    return b"".join(parts) + message


def read_question(data: bytes) -> tuple[int, str, tuple[str, str, str], bytes]:
    """Return tag, transport, (client, asked, profile) and message. Raises `BadQuestion`."""
    try:
        tag, transport = _HEAD.unpack_from(data)
        at = _HEAD.size
        texts: list[str] = []
        for _ in range(3):
            end = at + 1 + data[at]
            texts.append(data[at + 1 : end].decode("ascii"))
            at = end
        if at > len(data):
            raise BadQuestion("it ends early")
        return tag, TRANSPORTS[transport], (texts[0], texts[1], texts[2]), data[at:]
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise BadQuestion(str(error)) from None


def reply(tag: int, message: bytes) -> bytes:
    return _TAG.pack(tag) + message


def read_reply(data: bytes) -> tuple[int, bytes]:
    """Return tag and message of what a worker sent."""
    (tag,) = _TAG.unpack_from(data)
    return int(tag), data[_TAG.size :]


class End:
    """One end of a pair, which never waits. What cannot be sent now is kept in order, up to `MAX_KEPT` octets;
    `watch(True)` asks to be told by `flush` when there is room again."""

    __slots__ = ("_kept", "_size", "_watch", "socket")

    def __init__(self, end: socket.socket, watch: Callable[[bool], None]) -> None:
        end.setblocking(False)
        self.socket = end
        self._watch = watch
        self._kept: deque[bytes] = deque()
        self._size = 0

    def send(self, message: bytes) -> bool:
        """Send or keep `message`; False when too much is kept already."""
        if not self._kept:
            try:
                self.socket.send(message)
                return True
            except BlockingIOError:
                self._watch(True)
            except OSError:
                return False
        elif self._size + len(message) > MAX_KEPT:
            return False
        self._kept.append(message)
        self._size += len(message)
        return True

    def flush(self) -> None:
        """Send what was kept, as far as there is room."""
        try:
            while self._kept:
                self.socket.send(self._kept[0])
                self._size -= len(self._kept.popleft())
        except BlockingIOError:
            return
        except OSError:
            self._kept.clear()
            self._size = 0
        self._watch(False)

    def take(self) -> list[bytes] | None:
        """Return up to `BATCH` messages that are at hand; None when the other end is gone for good."""
        found: list[bytes] = []
        try:
            while len(found) < BATCH:
                message = self.socket.recv(MAX_MESSAGE)
                if not message:
                    return found or None
                found.append(message)
        except BlockingIOError:
            pass
        except OSError:
            return found or None
        return found


class Ticket:
    """Where the reply to one question goes."""

    __slots__ = ("_end", "_tag")

    def __init__(self, end: End, tag: int) -> None:
        self._end = end
        self._tag = tag

    def reply(self, data: bytes) -> None:
        self._end.send(reply(self._tag, data))


def sorted_out(messages: list[bytes], end: End) -> dict[str, list[Datagram]]:
    """Return the questions in `messages` by transport, ready for the engine: a peer's third part is its `Ticket`."""
    found: dict[str, list[Datagram]] = {}
    for data in messages:
        try:
            tag, transport, who, message = read_question(data)
        except BadQuestion:
            continue
        found.setdefault(transport, []).append((message, (who, -1, Ticket(end, tag))))
    return found
