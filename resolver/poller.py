"""Who is told when a file descriptor can be read or written: epoll and a table of callbacks. One thread, no timers.

Two ranks. What a `Poller` watches itself is heard in every round. Its `crowd` holds what may be thousands and may wait
(clients' TCP connections): each round gives it one short turn, so that nobody else waits for more than that turn.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP

AT_ONCE = 16  # of the crowd, that are asked for together
TURN = 0.000_2  # seconds, then the crowd's turn ends with the callback that runs

Callback = Callable[[int], None]  # takes the epoll event mask


class _Watched:
    """Descriptors and their callbacks over one epoll. Level-triggered: what is left unread is told again."""

    __slots__ = ("_callbacks", "_epoll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}

    def watch(self, descriptor: int, events: int, callback: Callback) -> None:
        """Call `callback` when one of `events` holds; errors and hang-ups always count."""
        self._epoll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events from now on."""
        self._epoll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; call it before the descriptor is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)


class Crowd(_Watched):
    """See the module. Every callback gets its turn before any gets a second one."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        super().__init__()
        self._due: deque[tuple[int, int]] = deque()

    @property
    def due(self) -> bool:
        """True when a turn has something to do whatever the sockets say."""
        return bool(self._due)

    def fileno(self) -> int:
        """The epoll descriptor: readable while one of the crowd is ready."""
        return self._epoll.fileno()

    def again(self, descriptor: int) -> None:
        """Call the descriptor's callback in a coming turn, with an empty mask: it left something to do."""
        self._due.append((descriptor, 0))

    def turn(self) -> None:
        """Run callbacks until the turn's time is over or nothing is left."""
        due = self._due
        if len(due) < AT_ONCE:
            due.extend(self._epoll.poll(0, AT_ONCE))
        ends = time.monotonic() + TURN
        while due:
            descriptor, mask = due.popleft()
            callback = self._callbacks.get(descriptor)  # an earlier callback may have taken it away
            if callback is not None:
                callback(mask)
                if time.monotonic() >= ends:
                    return

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()


class Poller(_Watched):
    """See the module."""

    __slots__ = ("crowd",)

    def __init__(self) -> None:
        super().__init__()
        self.crowd = Crowd()
        self._epoll.register(self.crowd.fileno(), READ)

    def wait(self, timeout: float) -> int:
        """Wait up to `timeout` seconds and run the callbacks that are due; return how many were, a turn of the crowd
        being one."""
        crowd = self.crowd
        turn = crowd.due
        events = self._epoll.poll(0 if turn else timeout)
        callbacks = self._callbacks
        for descriptor, mask in events:
            callback = callbacks.get(descriptor)  # an earlier callback of this round may have taken it away
            if callback is not None:
                callback(mask)
            elif descriptor == crowd.fileno():
                turn = True
        if turn:
            crowd.turn()
        return len(events) + turn

    def close(self) -> None:
        """Close the epoll descriptors."""
        self.crowd.close()
        self._epoll.close()
