"""What an outgoing request may reach: public addresses only, checked at the moment of connecting.

A list's address comes from a person or a redirect; it must not become a way into the district's own network. The name
is resolved here, *every* address it has is checked, and the connection goes to a checked address, so that a name that
answers differently the second time (DNS rebinding) gains nothing. Host and SNI stay the name's. No proxy of the
environment is used: it would connect unchecked. A deadline bounds the whole exchange, however slowly it drips.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

Resolver = Callable[[str, int], list[str]]
_TRIED = 4  # addresses of one name
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(Exception):
    """A name that leads, with at least one address, to where no public list is."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} leads to {address}, which is not a public address")


class UnknownHost(Exception):
    """A name without an address."""


def system_resolver(host: str, port: int) -> list[str]:
    """Return the addresses of `host`, in the system's order. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def is_public(address: str) -> bool:
    """True for addresses of the public Internet, also when they are wrapped in IPv6 (mapped, 6to4, NAT64)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner: ipaddress.IPv4Address | None = None
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    judged = inner if inner is not None else parsed
    return judged.is_global and not judged.is_multicast


class Deadline:
    """A moment after which nothing of an exchange is waited for. `clock` counts seconds, only forwards."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self, timeout: float | None) -> float:
        """Return how long one step may take; raise `httpcore.ReadTimeout` when the time is over."""
        left = self._end - self._clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the whole answer took too long")
        return left if timeout is None else min(timeout, left)


class PublicTransport(httpx.HTTPTransport):
    """HTTP/1.1 to public addresses. Raises `PrivateAddress`, `UnknownHost`, and what `httpx.HTTPTransport` raises."""

    def __init__(
        self, deadline: Deadline, resolve: Resolver, *, allow_private: bool, tls: ssl.SSLContext | None = None
    ) -> None:
        context = tls if tls is not None else httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(  # the seam: httpx has no argument for the network below it
            ssl_context=context,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_Checked(deadline, resolve, allow_private),
        )


class _Checked(httpcore.NetworkBackend):
    """Connections to checked addresses, within the deadline."""

    def __init__(self, deadline: Deadline, resolve: Resolver, allow_private: bool) -> None:
        self._deadline = deadline
        self._resolve = resolve
        self._allow_private = allow_private
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception | None = None
        for address in self._addresses(host, port)[:_TRIED]:
            try:
                stream = self._plain.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Timed(stream, self._deadline)
        assert failed is not None
        raise failed

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise UnknownHost(f"{host} has no address: {error}") from None
        if not addresses:
            raise UnknownHost(f"{host} has no address")
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise PrivateAddress(host, address)
        return addresses


class _Timed(httpcore.NetworkStream):
    """A connection whose every step ends with the deadline at the latest."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(
            self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout)), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
