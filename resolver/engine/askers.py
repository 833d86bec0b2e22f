"""Who asks: what is known of each asker, its cookie, and whether it asks too much. Pure; `now` comes in."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from typing import Any

from blocklists.clients import PROFILE, parse_address
from resolver.config import ResolverConfig
from resolver.engine.judge import Judge
from resolver.engine.limits import Limiter
from resolver.engine.memo import Fast, View
from resolver.engine.seam import Counters, Datagram, Reply, Source
from resolver.log import querylog
from resolver.message import answers, wire
from resolver.message.cookies import CLIENT, RENEW, Cookies
from resolver.message.wire import WireError

MAX_CLIENTS = 65_536  # askers that a source remembers

_NOBODY: dict[bytes, Fast] = {}  # the first level of clients that get no answer from it; stays empty


def within(networks: tuple[str, ...]) -> Callable[[str], bool]:
    """Return what says whether the host at an address (text) is in one of `networks`."""
    parsed = [ipaddress.ip_network(text) for text in networks]

    def found(host: str) -> bool:
        address = parse_address(host)
        return any(address in network for network in parsed)

    return found


class Client:
    """One asker, as one source and one install see it."""

    __slots__ = ("address", "allowed", "asks_for", "cookie", "cookie_until", "fast", "prefix", "view")

    def __init__(self, address: bytes, allowed: bool, view: View | None, prefix: bytes) -> None:
        self.asks_for = False  # its client subnets (RFC 7871) say who asks
        self.address = address  # packed; what cookies are bound to
        self.cookie = b""  # the last whole one that it returned and that is not due for renewal until
        self.cookie_until = 0.0
        self.allowed = allowed
        self.view = view
        self.prefix = prefix
        self.fast = view.fast if allowed and view is not None else _NOBODY


class Askers:
    """Finds and remembers askers, makes and checks their cookies, holds back who asks too much."""

    __slots__ = ("_allow", "_asks_for", "_config", "_cookies", "_counters", "_judge", "_limiter")

    def __init__(self, config: ResolverConfig, judge: Judge, counters: Counters) -> None:
        self._config = config
        self._judge = judge
        self._counters = counters
        self._allow = [ipaddress.ip_network(text) for text in config.allow]
        self._asks_for = within(config.ecs_from)
        self._limiter = Limiter(config.rate_limit, config.rate_burst, config.rate_exempt + config.ecs_from)
        self._cookies = Cookies(config.cookie_secrets, config.cookie_seed)

    def find(self, source: Source, who: Any) -> Client:
        """Find out who asks, and remember it until the next install."""
        host, asked, profile = (*who, "")[:3] if isinstance(who, tuple) else (who, source.asked, "")
        address = parse_address(host)
        allowed = any(address in network for network in self._allow)
        view = None
        prefix = b""
        snapshot = self._judge.snapshot
        if snapshot is not None:
            found = snapshot.clients.find(address, parse_address(asked) if asked else None, profile)
            allowed = allowed or found.by == PROFILE  # a device of ours, wherever it is
            view = self._judge.view(found.group)
            prefix = querylog.client_half(address.packed, found.group)
        if len(source.clients) >= MAX_CLIENTS:
            source.clients.clear()
        client = source.clients[who] = Client(address.packed, allowed, view, prefix)
        if self._asks_for(host):
            client.asks_for = True
            client.fast = _NOBODY
        return client

    def cookie(self, given: bytes, client: Client, now: float) -> bytes:
        """The whole cookie to return for the one that was `given`: the same, unless it is not ours or gets old."""
        if now < client.cookie_until and given == client.cookie:
            return given
        until = self._cookies.good_until(given, client.address, now) - RENEW
        if until > now:
            client.cookie = given
            client.cookie_until = until
            return given
        return self._cookies.make(given[:CLIENT], client.address, now)

    def curbed(self, datagrams: list[Datagram], source: Source, now: float, replies: list[Reply]) -> list[Datagram]:
        """Return the batch without what is too much; `replies` gets what those who asked it are told."""
        beyond = self._limiter.beyond(datagrams, now)
        return datagrams if beyond is None else self._hold_back(datagrams, beyond, source, now, replies)

    def returned(self, given: bytes, client: Client, now: float) -> bool:
        """True when the cookie that was `given` is one of ours, for this client."""
        if now < client.cookie_until and given == client.cookie:
            return True
        return len(given) > CLIENT and self._cookies.good_until(given, client.address, now) > 0

    def _hold_back(
        self, datagrams: list[Datagram], beyond: dict[Any, int], source: Source, now: float, replies: list[Reply]
    ) -> list[Datagram]:
        """Return the batch without the questions that are `beyond` the limit. Those that return our cookie stay: their
        sender is who it says. Of the rest the first are sent to TCP, or given a cookie; nothing longer is answered."""
        kept: list[Datagram] = []
        for datagram in datagrams:
            data, peer = datagram
            left = beyond.get(peer[0], 0)
            if not left:
                kept.append(datagram)
                continue
            client = source.clients.get(peer[0]) or self.find(source, peer[0])
            rest = wire.without_cookie(data[2:])
            given = b"" if rest is None else data[len(rest) + 6 :]
            if self.returned(given, client, now):
                kept.append(datagram)
                continue
            beyond[peer[0]] = left - 1
            self._counters.limited += 1
            if peer[1] and self._limiter.tells(peer[0]):
                with contextlib.suppress(WireError):
                    query = wire.read_query(data)
                    answer = answers.failure(wire.BADCOOKIE if query.cookie else 0)
                    limit = 512 if query.cookie else 0  # 0: nothing fits, so that it is truncated
                    size = self._config.udp_size
                    cookie = wire.option(wire.COOKIE, self.cookie(query.cookie, client, now)) if query.cookie else b""
                    tail = answers.assemble(query, answer, b"", limit, size, cookie)
                    replies.append((data[:2] + tail, peer))
        return kept
