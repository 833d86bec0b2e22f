"""What holds for every answer, whatever route makes it: the Host asked for, the size of what is sent, headers, HEAD.

Plain ASGI, so that streams pass through untouched. An unknown Host is answered 421 before anything else is looked at:
that ends DNS rebinding, by which a page elsewhere would reach a portal on loopback.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1024 * 1024  # bytes of one request

# No inline script or style anywhere, nothing from elsewhere, no framing.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()",
}

# Read by people too: their browser still holds what they typed.
_TOO_LARGE = "This is too large: {:,} bytes at most. Go back; what you typed is still there. Nothing was saved.\n"

_HTTPS = {"Strict-Transport-Security": "max-age=31536000"}  # only where the portal's own address is https


def host_of(header: str) -> str:
    """Return the host of a Host header, lower case, without port and final dot; brackets of IPv6 stay."""
    text = header.strip().lower()
    host = text.partition("]")[0] + "]" if text.startswith("[") else text.partition(":")[0]
    return host.removesuffix(".")


class Guard:
    """The outermost layer of the portal."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], max_body: int = MAX_BODY, https: bool = False) -> None:
        self._app = app
        self._headers = HEADERS | (_HTTPS if https else {})
        self._hosts = frozenset(host_of(host) for host in hosts)
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if host_of(headers.get("host", "")) not in self._hosts:
            refusal = PlainTextResponse("This server does not answer for that name.\n", 421)
            await refusal(scope, receive, self._with_headers(send))
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self._max_body:
            refusal = PlainTextResponse(_TOO_LARGE.format(self._max_body), 413)
            await refusal(scope, receive, self._with_headers(send))
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
            send = _without_body(send)
        await self._app(scope, self._bounded(receive), self._with_headers(send))

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                # What a person sees is theirs: caches keep only what a route says they may.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return sending

    def _bounded(self, receive: Receive) -> Receive:
        """A body without a Content-Length is counted as it comes."""
        left = self._max_body

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0:
                    raise HTTPException(413, _TOO_LARGE.format(self._max_body).strip())
            return message

        return bounded


def _without_body(send: Send) -> Send:
    """HEAD is GET without the body: the first part ends the answer, later ones go nowhere."""
    ended = False

    async def sending(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
        elif message["type"] == "http.response.body" and not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sending
