"""Who is listening now: the wake-ups of open event streams, within this process.

Threads publish; event loops listen. A subscriber holds one slot per topic, and a newer event of a topic takes the place
of an older one that was not yet read: listeners read the present from the database, so only the newest counts, and a
slow reader costs one slot. Nothing here holds a database connection, and nothing is lost that matters when the process
dies: what must happen is a row.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from blocklists.exchange import Offer

OFFER = "offer"  # a new policy version
DELIVERY = "delivery"  # an acknowledgement, a refusal, a node that came or went
REQUESTS = "requests"  # a request, grant or the queue changed


@dataclass(frozen=True, slots=True)
class Event:
    """`key` narrows a topic (`request:12`); `offer` comes with `OFFER` only, with the nodes it is recorded for."""

    topic: str
    key: str = ""
    offer: Offer | None = None
    recorded: frozenset[int] = frozenset()


class Subscription:
    """One open stream. `async with live.subscribe(...) as events: await events.next(5.0)`."""

    def __init__(self, live: Live, topics: frozenset[str], node: int | None) -> None:
        self._live = live
        self.topics = topics
        self.node = node
        self.loop = asyncio.get_running_loop()
        self._waiting: dict[tuple[str, str], Event] = {}
        self._ready = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        self._live._add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live._remove(self)

    async def next(self, seconds: float | None = None) -> Event | None:
        """Return the next event; None when `seconds` passed without one, or when the portal stops."""
        if not self._waiting and not self._closed:
            self._ready.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._ready.wait()
            except TimeoutError:
                return None
        if self._closed or not self._waiting:
            return None
        return self._waiting.pop(next(iter(self._waiting)))

    @property
    def closed(self) -> bool:
        return self._closed

    def _put(self, event: Event) -> None:
        """On the loop's own thread. Keys are request numbers that people watch; past 64 the oldest gives way."""
        self._waiting[event.topic, event.key] = event
        if len(self._waiting) > 64:
            self._waiting.pop(next(iter(self._waiting)))
        self._ready.set()

    def _close(self) -> None:
        self._closed = True
        self._ready.set()


class Live:
    """All open streams of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def subscribe(self, topics: Iterable[str], node: int | None = None) -> Subscription:
        """Return a subscription to enter with `async with`, on the loop that will read it. `node`: a node's stream."""
        return Subscription(self, frozenset(topics), node)

    def publish(self, event: Event) -> None:
        """Wake every subscriber of the event's topic. Never blocks on them; callable from any thread."""
        with self._lock:
            by_loop: dict[asyncio.AbstractEventLoop, list[Subscription]] = {}
            for one in self._subscriptions:
                if event.topic in one.topics:
                    by_loop.setdefault(one.loop, []).append(one)
        for loop, members in by_loop.items():
            _on(loop, members, event)

    def nodes(self) -> frozenset[int]:
        """Return the numbers of the nodes whose stream is open in this process."""
        with self._lock:
            return frozenset(one.node for one in self._subscriptions if one.node is not None)

    def disconnect(self, node: int) -> None:
        """End the streams of a node that was cut off."""
        with self._lock:
            members = [one for one in self._subscriptions if one.node == node]
        for one in members:
            _on(one.loop, [one], None)

    def close(self) -> None:
        """End every stream; later ones end at once. The portal is stopping."""
        with self._lock:
            self._closed = True
            members = list(self._subscriptions)
        for one in members:
            _on(one.loop, [one], None)

    def _add(self, one: Subscription) -> None:
        with self._lock:
            self._subscriptions.add(one)
            closed = self._closed
        if closed:
            one._close()

    def _remove(self, one: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(one)


def _on(loop: asyncio.AbstractEventLoop, members: list[Subscription], event: Event | None) -> None:
    def deliver() -> None:
        for one in members:
            if event is None:
                one._close()
            else:
                one._put(event)

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:  # the loop has ended, and its streams with it
        return
