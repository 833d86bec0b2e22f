"""DNS over TLS (RFC 7858) and over HTTPS (RFC 8484) for clients, in a process of its own that holds the key.

It ends TLS and hands every question, with who asked, to a worker (`door.py`); it decides nothing. Limits are those of
TCP: connections per client and in all, counted before the handshake; questions that wait per connection; the idle time
between whole questions. The certificate is read again when its file changes; one that cannot be used is reported and
the old one stays. A profile is a token: the first label of the server name (DNS over TLS), the end of the path (HTTPS).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from blocklists.clients import profile_digest
from resolver.children import receive, send
from resolver.clients import doh, door
from resolver.clients.certificates import Certificate
from resolver.clients.listeners import MAX_PIPELINE, MAX_UNSENT
from resolver.config import ResolverConfig

HANDSHAKE = 5.0  # seconds
HEARD_EVERY = 2.0  # seconds between two words to the supervisor

log = logging.getLogger("schoolgate.resolver")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Front:
    """The listeners' side. `doors`: one end to each worker."""

    def __init__(self, config: ResolverConfig, doors: list[socket.socket]) -> None:
        self._config = config
        self._patience = config.upstream_timeout * config.upstream_tries + 2.0
        self._loop = asyncio.get_running_loop()
        self._certificate = Certificate(config)
        self._ends = [self._opened(one) for one in doors]
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next = 0
        self._count = 0
        self._per_client: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._web = Config()
        self._web.errorlog = None
        self._web.include_server_header = False
        self._web.h2_max_concurrent_streams = MAX_PIPELINE
        self._web.keep_alive_timeout = config.tcp_idle
        self._web.read_timeout = int(config.tcp_idle + self._patience)
        self._application = ASGIWrapper(cast(Any, doh.Application(self._ask_over_https)))
        self._web_context = WorkerContext(None)

    def _opened(self, one: socket.socket) -> door.End:
        def watch(on: bool) -> None:
            if on:
                self._loop.add_writer(one, end.flush)
            else:
                self._loop.remove_writer(one)

        end = door.End(one, watch)
        self._loop.add_reader(one, self._hear, end)
        return end

    def _hear(self, end: door.End) -> None:
        messages = end.take()
        if messages is None:
            self._loop.remove_reader(end.socket)
            return
        for data in messages:
            tag, message = door.read_reply(data)
            future = self._waiting.get(tag)
            if future is not None and not future.done():
                future.set_result(message)

    async def ask(self, transport: str, client: str, asked: str, token: str, question: bytes) -> bytes | None:
        """Return the reply of a worker, None when there is none in time."""
        self._next += 1
        tag = self._next
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[tag] = future
        data = door.question(tag, transport, client, asked, profile_digest(token) if token else "", question)
        try:
            if not self._ends[tag % len(self._ends)].send(data):
                return None
            async with asyncio.timeout(self._patience):
                return await future
        except TimeoutError:
            return None
        finally:
            del self._waiting[tag]

    async def _ask_over_https(self, client: str, asked: str, token: str, question: bytes) -> bytes | None:
        return await self.ask("doh", client, asked, token, question)

    def listen(self, transport: str, listening: socket.socket) -> None:
        """Accept on `listening` from now on."""
        serve = self._serve_dot if transport == "dot" else self._serve_doh
        self._keep(self._accept(listening, transport, serve))

    def _keep(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket, transport: str, serve: Serve) -> None:
        listening.setblocking(False)
        while True:
            try:
                accepted, address = await self._loop.sock_accept(listening)
            except OSError:  # no file is left: wait until some are
                await asyncio.sleep(0.2)
                continue
            host = address[0]
            here = self._per_client.get(host, 0)
            if self._count >= self._config.tcp_connections or here >= self._config.tcp_per_client:
                accepted.close()
                continue
            self._count += 1
            self._per_client[host] = here + 1
            self._keep(self._handle(accepted, host, transport, serve))

    async def _handle(self, accepted: socket.socket, host: str, transport: str, serve: Serve) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            carrier, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._certificate.context(transport),
                ssl_handshake_timeout=HANDSHAKE,
                ssl_shutdown_timeout=1.0,
            )
            writer = asyncio.StreamWriter(carrier, protocol, reader, self._loop)
            try:
                await serve(reader, writer)
            finally:
                writer.close()
            await writer.wait_closed()
        except (OSError, TimeoutError, EOFError):
            pass  # a handshake that failed, or a client that went away
        except ExceptionGroup as group:
            log.warning("a connection over TLS ended: %s", group.exceptions[0])
        finally:
            self._count -= 1
            if self._per_client[host] == 1:
                del self._per_client[host]
            else:
                self._per_client[host] -= 1

    async def _serve_doh(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await TCPServer(self._application, self._loop, self._web, self._web_context, {}, reader, writer)

    async def _serve_dot(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client, asked = writer.get_extra_info("peername")[0], writer.get_extra_info("sockname")[0]
        token = self._certificate.token_of(writer.get_extra_info("ssl_object"))
        room = asyncio.Semaphore(MAX_PIPELINE)
        pending: set[asyncio.Task[None]] = set()

        async def answer(question: bytes) -> None:
            try:
                reply = await self.ask("dot", client, asked, token, question)
            finally:
                room.release()
            if reply is None or writer.transport.get_write_buffer_size() > MAX_UNSENT:
                writer.transport.abort()
            elif not writer.transport.is_closing():
                writer.write(len(reply).to_bytes(2, "big") + reply)

        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
            while True:
                await room.acquire()
                async with asyncio.timeout(self._config.tcp_idle):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    question = await reader.readexactly(size)
                if not doh.is_question(question):  # what nobody answers has no place on a connection
                    break
                task = self._loop.create_task(answer(question))
                pending.add(task)
                task.add_done_callback(pending.discard)
        if pending:
            await asyncio.wait(pending)

    def tell(self) -> str:
        """Look at the certificate's file; return what is wrong with it, empty for nothing."""
        return self._certificate.refresh()

    async def close(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def run(
    config: ResolverConfig,
    listening: list[tuple[str, socket.socket]],
    doors: list[socket.socket],
    channel: socket.socket,
    lifeline: int,
) -> int:
    """Serve until the supervisor says `drain` or is gone. Raises `OSError` for a certificate that cannot be used."""
    return asyncio.run(_serve(config, listening, doors, channel, lifeline))


async def _serve(
    config: ResolverConfig,
    listening: list[tuple[str, socket.socket]],
    doors: list[socket.socket],
    channel: socket.socket,
    lifeline: int,
) -> int:
    front = Front(config, doors)
    for transport, one in listening:
        front.listen(transport, one)
    over = asyncio.Event()

    def hear() -> None:
        with contextlib.suppress(BlockingIOError):
            message = receive(channel)
            if message is None or message.get("do") == "drain":
                over.set()

    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    loop.add_reader(lifeline, over.set)
    loop.add_reader(channel, hear)
    while not over.is_set():
        send(channel, {"did": "status", "error": front.tell()})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), HEARD_EVERY)
    await front.close()
    return 0
