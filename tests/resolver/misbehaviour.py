"""An upstream that misbehaves as the table tests/data/upstream/kinds.toml says, over UDP, TCP, TLS and HTTPS.

The name that is asked says what to do: `kNUMBER-first.udp.example` misbehaves as kind NUMBER on UDP, the first time
only; every other name is answered with 192.0.2.1. For the transport `tcp` every answer over UDP is truncated.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import dns.message
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from resolver.config import Endpoint
from tests.resolver.messages import ask, reply
from tests.resolver.sockets import both, tcp_socket, udp_socket

FILE = Path(__file__).parent.parent / "data" / "upstream" / "kinds.toml"
KINDS: list[Mapping[str, Any]] = tomllib.loads(FILE.read_text())["kind"]
HEAD = 12
RIGHT = "192.0.2.1"
_LONG = (b"\x3f" + b"l" * 63) * 4


def right(query: bytes, **parts: Any) -> bytes:
    """The answer that every name has."""
    name = dns.message.from_wire(query).question[0].name
    return reply(query, f"{name} 60 A {RIGHT}", **parts)


def made(query: bytes, step: Mapping[str, Any]) -> bytes:
    """Return one message that a step of the table describes."""
    number = query[:2]
    if "whole" in step:
        return bytes.fromhex(step["whole"])
    if "raw" in step:
        return number + bytes.fromhex(step["raw"])
    if "garbage" in step:
        return random.Random(4414).randbytes(step["garbage"])
    asked = dns.message.from_wire(query)
    name = str(asked.question[0].name)
    if step.get("case") == "lower" or "question" in step:
        owner, qtype = step.get("question", "{name} A").replace("{name}", name.lower()).split()
        query = ask(owner, qtype, id=int.from_bytes(number, "big"), use_edns=0)
    if not step.get("edns", True) or step.get("plain"):
        query = _without_edns(query)
    records = [f"{name} 60 A {RIGHT}"]
    if "many" in step:
        records = [f"{name} 60 A 9.9.{one >> 8}.{one & 255}" for one in range(step["many"])]
    if "chain" in step:
        links = [name, *(f"c{one}.{name}" for one in range(step["chain"]))]
        records = [f"{a} 60 CNAME {b}" for a, b in pairwise(links)]
        records.append(f"{links[-1]} 60 A 192.0.2.66")
    data = reply(
        query,
        *(one.replace("{name}", name) for one in step.get("answer", records)),
        authority=tuple(step.get("authority", ())),
        additional=tuple(step.get("additional", ())),
        rcode=step.get("rcode", "NOERROR"),
    )
    return _edited(data, step)


def _without_edns(query: bytes) -> bytes:
    message = dns.message.from_wire(query)
    message.use_edns(False)
    return message.to_wire()


def _edited(data: bytes, step: Mapping[str, Any]) -> bytes:
    number, flags, *counts = struct.unpack_from("!6H", data)
    flags = (flags | step.get("set", 0)) & ~step.get("clear", 0)
    counts = step.get("counts", counts)
    end = data.index(b"\0", HEAD) + 5
    rest = data[HEAD:]
    if "class" in step:
        rest = rest[: end - HEAD - 2] + step["class"].to_bytes(2, "big") + rest[end - HEAD :]
    if "hex" in step:
        rest = data[HEAD:end]
        for word in step["hex"].split():
            here = (0xC000 | HEAD + len(rest)).to_bytes(2, "big")
            rest += {"HERE": here, "LONG": _LONG}.get(word) or bytes.fromhex(word)
    rest = rest[: len(rest) - step.get("cut", 0)] + bytes.fromhex(step.get("tail", ""))
    return struct.pack("!6H", number ^ step.get("id", 0), flags, *counts) + rest


class Misbehaving:
    """Two plain and two TLS endpoints in a thread of their own. `contexts` are certificates by what is wrong with them;
    `""` is the right one. Tables are only touched by the thread; `tell` runs something there."""

    def __init__(self, contexts: Mapping[str, ssl.SSLContext], *, http: bool = False) -> None:
        self._contexts = contexts
        self._http = http  # over TLS: HTTP/2, not frames
        self._misbehaved: Counter[bytes] = Counter()
        self._numbers: defaultdict[Any, set[bytes]] = defaultdict(set)  # by peer: no forgery has one of them by chance
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshake = ""
        self._handshakes_left = 0
        self._dead = False
        self._plain = [both() for _ in range(2)]
        self._secure = [tcp_socket() for _ in range(2)]
        self._others = {"port": udp_socket(), "address": udp_socket("127.0.0.2")}
        self.plain = tuple(Endpoint("127.0.0.1", one.getsockname()[1]) for one, _ in self._plain)
        self.secure = tuple(one.getsockname()[1] for one in self._secure)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._wait(self._start())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _wait(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def _start(self) -> None:
        for udp, tcp in self._plain:
            udp.setblocking(False)
            self._loop.add_reader(udp.fileno(), self._datagrams, udp)
            await asyncio.start_server(self._connection("tcp"), sock=tcp)
        for listening in self._secure:
            await asyncio.start_server(self._connection("dot"), sock=listening)

    def shake_hands(self, how: str, times: int) -> None:
        """Close every TLS connection, and meet the next `times` handshakes with the certificate `how`, or worse."""

        async def change() -> None:
            self._handshake, self._handshakes_left = how, times
            self._drop()

        self._wait(change())

    def die(self) -> None:
        """Answer nothing any more."""

        async def change() -> None:
            self._dead = True
            self._drop()

        self._wait(change())

    def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        async def end() -> None:
            self._drop()
            for udp, _ in self._plain:
                self._loop.remove_reader(udp.fileno())
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for one in rest:
                one.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self._wait(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        for one in (*(one for pair in self._plain for one in pair), *self._secure, *self._others.values()):
            one.close()

    def _kind(self, query: bytes, over: str) -> Mapping[str, Any]:
        """What to do: a row of the table; one without `send` for the right answer."""
        message = dns.message.from_wire(query)
        labels = [label.decode().lower() for label in message.question[0].name.labels]
        if not labels[0].startswith("k") or labels[1] != over:
            return {"send": [{"set": 0x0200, "answer": []}]} if (labels[1], over) == ("tcp", "udp") else {"send": [{}]}
        number, mode = labels[0][1:].split("-")
        kind = KINDS[int(number)]
        if kind.get("unless") == "plain" and message.edns < 0:
            return {"send": [{}]}
        key = query[HEAD:].lower()[: len(b".".join(message.question[0].name.labels)) + 5]
        self._misbehaved[key] += 1
        if mode == "first" and self._misbehaved[key] > 1:
            return {"send": [{}]}
        return kind

    def _datagrams(self, bound: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                query, peer = bound.recvfrom(4096)
                if not self._dead:
                    self._numbers[peer].add(query[:2])
                    self._later(self._answer_datagram(bound, peer, query))

    async def _answer_datagram(self, bound: socket.socket, peer: Any, query: bytes) -> None:
        for step in self._kind(query, "udp")["send"]:
            await asyncio.sleep(step.get("after", 0))
            source = self._others.get(step.get("from", ""), bound)
            data = made(query, step)
            for turn in range(step.get("times", 1)):
                forged = _forged(data, turn) if "id" in step else data
                if "id" not in step or forged[:2] not in self._numbers[peer]:
                    with contextlib.suppress(OSError):
                        source.sendto(forged, peer)

    def _later(self, what: Any) -> None:
        task = self._loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connection(self, over: str) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                if over == "tcp":
                    await self._talk(reader, writer, over)
                elif await self._secured(writer):
                    await (self._talk_http(reader, writer) if self._http else self._talk(reader, writer, "dot"))
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self._writers.discard(writer)
                writer.transport.abort()

        return serve

    async def _secured(self, writer: asyncio.StreamWriter) -> bool:
        how = ""
        if self._handshakes_left:
            self._handshakes_left -= 1
            how = self._handshake
        if self._dead or how == "closed":
            return False
        if how == "reset":
            _reset(writer)
            return False
        if how == "silent":
            await asyncio.sleep(60)
            return False
        if how == "plain":
            writer.write(b"220 hello\r\n")
            await writer.drain()
            return False
        plain = writer.transport
        try:
            await writer.start_tls(self._contexts[how])
        finally:
            if writer.transport is None:  # the other side went away in the handshake; the writer's end wants one
                writer._transport = plain  # type: ignore[attr-defined]
        return writer.transport is not plain

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: str) -> None:
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = await reader.readexactly(size)
            if self._dead:
                return
            kind = self._kind(query, over)
            then = kind.get("then", "")
            if then or over == "tcp":
                await self._answer_stream(writer, kind, query)
                if then == "reset":
                    _reset(writer)
                if then == "stall":
                    await asyncio.sleep(60)
                if then or over == "tcp":
                    if not kind["send"] and not then:
                        await asyncio.sleep(60)
                    return
            else:
                self._later(self._answer_stream(writer, kind, query))

    async def _talk_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        http.initiate_connection()
        asked: defaultdict[int, bytes] = defaultdict(bytes)
        while True:
            writer.write(http.data_to_send())
            data = await reader.read(65_536)
            if not data or self._dead:
                return
            for event in http.receive_data(data):
                if isinstance(event, DataReceived):
                    asked[int(event.stream_id)] += event.data
                elif isinstance(event, StreamEnded):
                    stream = int(event.stream_id)
                    query = asked.pop(stream)
                    kind = self._kind(query, "doh")
                    if then := kind.get("then"):
                        if then == "reset":
                            _reset(writer)
                        return
                    self._later(self._respond(http, writer, stream, kind, query))

    async def _respond(
        self, http: H2Connection, writer: asyncio.StreamWriter, stream: int, kind: Mapping[str, Any], query: bytes
    ) -> None:
        """One response at most: whatever else the table sends has no place in HTTP."""
        for step in kind["send"][:1]:
            await asyncio.sleep(step.get("after", 0))
            data = made(query, step)
            answered = [(":status", step.get("status", "200"))]
            http.send_headers(stream, [*answered, ("content-type", step.get("type", "application/dns-message"))])
            for at in range(0, len(data), 16_000):
                http.send_data(stream, data[at : at + 16_000])
            http.end_stream(stream)
            with contextlib.suppress(OSError):
                writer.write(http.data_to_send())
                await writer.drain()

    async def _answer_stream(self, writer: asyncio.StreamWriter, kind: Mapping[str, Any], query: bytes) -> None:
        for step in kind["send"]:
            await asyncio.sleep(step.get("after", 0))
            for _ in range(step.get("times", 1)):
                data = made(query, step)
                data = len(data).to_bytes(2, "big") + data
                if "frame" in step:
                    data = bytes.fromhex(step["frame"])
                if step.get("half"):
                    data = data[: len(data) // 2]
                with contextlib.suppress(OSError):
                    for at in range(0, len(data), 1) if step.get("split") else (0,):
                        writer.write(data[at : at + 1] if step.get("split") else data)
                        await writer.drain()
                        if step.get("split"):
                            await asyncio.sleep(0)


def _forged(data: bytes, turn: int) -> bytes:
    """Every message of a flood has another id."""
    return (int.from_bytes(data[:2], "big") ^ turn).to_bytes(2, "big") + data[2:]


def _reset(writer: asyncio.StreamWriter) -> None:
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
