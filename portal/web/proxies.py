"""Where a request comes from when a reverse proxy stands in front: `X-Forwarded-For`, believed only of known proxies.

Plain ASGI, just inside the guard. The list is read from the right: each proxy appends the address that it was asked
from, so everything left of the first stranger is that stranger's own claim. Nothing else of the `X-Forwarded-*` family
is looked at: the portal's own address and scheme are settings, never what a header says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_MAX_HOPS = 20


class Proxies:
    """Sets the scope's `client` to the nearest address that is not one of `networks`."""

    def __init__(self, app: ASGIApp, networks: Iterable[str]) -> None:
        self._app = app
        self._networks = tuple(ipaddress.ip_network(one) for one in networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._networks and scope.get("client"):
            address, _ = scope["client"]
            came = self._origin(address, Headers(scope=scope).getlist("x-forwarded-for"))
            if came != address:
                scope = {**scope, "client": (came, 0)}
        await self._app(scope, receive, send)

    def _origin(self, address: str, headers: list[str]) -> str:
        if not self._known(address):
            return address
        for hop in reversed(",".join(headers).split(",")[-_MAX_HOPS:]):
            try:
                came = ipaddress.ip_address(hop.strip())
            except ValueError:
                return address  # not what a proxy writes: stay with the last address that is sure
            address = str(came)
            if not self._known(address):
                return address
        return address

    def _known(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)
