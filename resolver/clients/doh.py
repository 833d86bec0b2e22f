"""DNS over HTTPS (RFC 8484) as an ASGI application: a request in, a question to a worker, its reply out.

GET and POST of `/dns-query`; `/dns-query/TOKEN` is a device profile's. A DNS answer of any kind is 200. `max-age` is
the smallest TTL of the records, and `private`: the answer depends on who asks.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from resolver.message import wire
from resolver.message.designated import DOH_PATH as PATH
from resolver.message.wire import WireError

MEDIA_TYPE = "application/dns-message"
MAX_TOKEN = 64
MAX_QUESTION = 4_096  # octets: a question with every option that there is has a fraction of it
MAX_BODY = 65_535  # octets that are read to the end before they are refused
BODY_LIMIT = 10.0  # seconds for the whole body of a POST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# (client address, asked address, profile's token, question) -> reply, or None when no worker answers in time
Ask = Callable[[str, str, str, bytes], Awaitable[bytes | None]]


class Refused(Exception):
    """A request that is none of ours: its status, and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Application:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await _body(receive)  # whatever is refused: on HTTP/2 others share the connection
            token = token_of(scope["path"])
            question = _question(scope, body)
            client, asked = scope["client"], scope["server"]
            reply = await self._ask(client[0], asked[0], token, question)
            if reply is None:
                raise Refused(503, "No answer in time.")
        except Refused as refused:
            body = f"{refused}\n".encode()
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
            if refused.status == 405:
                headers.append((b"allow", b"GET, POST"))
            await _answer(send, refused.status, headers, body)
            return
        fresh = f"private, max-age={smallest_ttl(reply)}".encode()
        await _answer(send, 200, [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", fresh)], reply)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def token_of(path: str) -> str:
    """Return the token in `path`; empty without one. Raises `Refused`."""
    if path in (PATH, f"{PATH}/"):
        return ""
    token = path.removeprefix(f"{PATH}/")
    if token == path or not 0 < len(token) <= MAX_TOKEN or not (token.isascii() and token.isalnum()):
        raise Refused(404, "There is nothing here.")
    return token


def _question(scope: Scope, body: bytes) -> bytes:
    if scope["method"] == "GET":
        question = _from_query(scope["query_string"])
    elif scope["method"] == "POST":
        kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind != MEDIA_TYPE:
            raise Refused(415, f"A question is {MEDIA_TYPE}.")
        if len(body) > MAX_QUESTION:
            raise Refused(413, "This question is too long.")
        question = body
    else:
        raise Refused(405, "A question comes by GET or POST.")
    if not is_question(question):
        raise Refused(400, "This is no DNS question.")
    return question


def is_question(message: bytes) -> bool:
    """False for what gets no answer at all over UDP: shorter than a header, or an answer itself."""
    return len(message) >= wire.HEAD and not message[2] & 0x80


def _from_query(query: bytes) -> bytes:
    values = parse_qs(query.decode("latin-1"), max_num_fields=8).get("dns", []) if query.count(b"&") < 8 else []
    if len(values) != 1:
        raise Refused(400, "The question belongs into one parameter `dns`, as base64url without padding.")
    text = values[0]
    try:
        question = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "The parameter `dns` is not base64url without padding.") from None
    if len(question) > MAX_QUESTION:
        raise Refused(414, "This question is too long.")
    return question


async def _body(receive: Receive) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(BODY_LIMIT):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refused(400, "The question ended early.")
                body += bytes(message.get("body", b""))
                if len(body) > MAX_BODY:
                    raise Refused(413, "This question is too long.")
                if not message.get("more_body"):
                    return body
    except TimeoutError:
        raise Refused(408, "The question did not come in time.") from None


def smallest_ttl(message: bytes) -> int:
    """Return the smallest TTL of the answer and authority records, in seconds; 0 when there is none (RFC 8484 §5.1)."""
    questions, answers, authority = (int.from_bytes(message[at : at + 2], "big") for at in (4, 6, 8))
    smallest: int | None = None
    at = wire.HEAD
    try:
        for _ in range(questions):
            at = wire.read_name(message, at)[1] + 4
        for _ in range(answers + authority):
            at = wire.read_name(message, at)[1]
            ttl = int.from_bytes(message[at + 4 : at + 8], "big")
            at += 10 + int.from_bytes(message[at + 8 : at + 10], "big")
            smallest = ttl if smallest is None else min(smallest, ttl)
    except WireError:
        return 0
    return smallest or 0
