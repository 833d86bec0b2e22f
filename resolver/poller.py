"""Who is told when a file descriptor can be read or written: epoll and a table of callbacks. One thread, no timers."""

from __future__ import annotations

import select
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP

AT_ONCE = 16  # callbacks of one round: nobody waits for thousands of others (epoll goes round all that are ready)

Callback = Callable[[int], None]  # takes the epoll event mask


class Poller:
    """Level-triggered: a callback that leaves something unread is called again."""

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

    def wait(self, timeout: float) -> int:
        """Wait up to `timeout` seconds and run the callbacks that are due; return how many were."""
        events = self._epoll.poll(timeout, AT_ONCE)
        callbacks = self._callbacks
        for descriptor, mask in events:
            callback = callbacks.get(descriptor)  # an earlier callback of this round may have taken it away
            if callback is not None:
                callback(mask)
        return len(events)

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()
