"""X-Forwarded-For counts only when it comes from a configured proxy, and only up to the first stranger."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from portal.web.proxies import Proxies

PROXIES = ("10.0.0.0/24", "fd00::/64")


def origin(client: str, *forwarded: str, networks: tuple[str, ...] = PROXIES) -> str:
    """The address that the application sees."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    scope = {"type": "http", "client": (client, 5), "headers": headers}
    asyncio.run(Proxies(app, networks)(scope, receive, send))
    return seen[0]


@pytest.mark.parametrize(
    ("client", "forwarded", "seen"),
    [
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("6.6.6.6, 203.0.113.9",), "203.0.113.9"),  # the left part is the visitor's own claim
        ("10.0.0.1", ("6.6.6.6", "203.0.113.9"), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, 10.0.0.2",), "203.0.113.9"),  # two proxies
        ("fd00::1", ("2001:db8::5",), "2001:db8::5"),
        ("::ffff:10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9, unknown",), "10.0.0.1"),
        ("192.0.2.7", ("10.0.0.9",), "192.0.2.7"),  # no proxy of ours
    ],
)
def test_the_nearest_stranger_is_the_visitor(client: str, forwarded: tuple[str, ...], seen: str) -> None:
    assert origin(client, *forwarded) == seen


def test_without_configured_proxies_the_header_is_nothing() -> None:
    assert origin("127.0.0.1", "203.0.113.9", networks=()) == "127.0.0.1"
