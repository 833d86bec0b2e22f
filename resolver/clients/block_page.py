"""Where browsers land that got this node's address for a blocked name (the style `page`): a redirect to the portal.

In a process of its own, over a socket that the supervisor made before it dropped privileges. Any Host and any path are
answered the same way: 303 to the portal's page "Why was this blocked?", with the host that was asked for and the group
of the client. It holds no certificate, so it answers plain HTTP only: for https:// a browser shows an error of its own,
and nothing here pretends otherwise. It keeps nothing and logs nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import uvicorn

from blocklists import names
from blocklists.clients import parse_address
from blocklists.policy import UNASSIGNED
from blocklists.snapshot import Snapshot
from resolver.children import receive, send
from resolver.delivery.policy_store import PolicyStore

HEARD_EVERY = 5.0  # seconds between two words to the supervisor
MAX_OPEN = 500  # connections; more get 503
IDLE = 5  # seconds that a connection is kept without a question

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]


class BlockPage:
    """The ASGI application over the node whose state folder is `state`."""

    def __init__(self, state: Path) -> None:
        self._store = PolicyStore(state)
        self._snapshot: Snapshot | None = None

    def refresh(self) -> None:
        """Take the snapshot that is current now; keep the one before when it cannot be read."""
        with contextlib.suppress(OSError, ValueError):
            self._snapshot = self._store.load(self._snapshot)

    def where(self, host: str, client: str, asked: str) -> str | None:
        """Return the address to go to; None before the first policy. `asked`: the address of ours that was reached."""
        if self._snapshot is None:
            self.refresh()  # the first policy may have come since the last look
        snapshot = self._snapshot
        if snapshot is None:
            return None
        query: dict[str, str] = {}
        with contextlib.suppress(names.BadName):
            query["name"] = names.understand(host).name
        with contextlib.suppress(ValueError):
            group = snapshot.clients.find(parse_address(client), parse_address(asked)).group
            if group != UNASSIGNED:
                query["group"] = group
        return f"{snapshot.policy.portal}/why{'?' if query else ''}{urlencode(query)}"

    async def __call__(
        self, scope: Scope, _: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        client, asked = scope.get("client"), scope.get("server")
        to = self.where(host, client[0] if client else "", asked[0] if asked else "")
        headers = [(b"cache-control", b"no-store"), (b"content-type", b"text/plain; charset=utf-8")]
        if to is None:
            status, body = 503, b"This filter is still starting. Try again in a minute.\n"
            headers.append((b"retry-after", b"5"))
        else:
            status, body = 303, f"This site is blocked. Why, and how to ask: {to}\n".encode()
            headers.append((b"location", to.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def run(state: Path, listening: socket.socket, channel: socket.socket, lifeline: int) -> int:
    """Answer on `listening` until the supervisor says `drain` or is gone."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return asyncio.run(_serve(BlockPage(state), listening, channel, lifeline))


async def _serve(page: BlockPage, listening: socket.socket, channel: socket.socket, lifeline: int) -> int:
    config = uvicorn.Config(
        page,
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_OPEN,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    def over() -> None:
        server.should_exit = True

    def hear() -> None:
        with contextlib.suppress(BlockingIOError):
            message = receive(channel)
            if message is None or message.get("do") == "drain":
                over()

    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    loop.add_reader(lifeline, over)
    loop.add_reader(channel, hear)
    page.refresh()
    beating = asyncio.create_task(_beat(page, channel))
    await server.serve(sockets=[listening])
    beating.cancel()
    return 0


async def _beat(page: BlockPage, channel: socket.socket) -> None:
    while True:
        send(channel, {"did": "status"})
        await asyncio.sleep(HEARD_EVERY)
        page.refresh()
