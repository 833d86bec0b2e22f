"""One change of snapshot in every worker: who still serves another, who has had time enough, how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from resolver.children import Post

SWAP_LIMIT = 0.5  # seconds for a worker to take a new policy over the base that it has
BASE_LIMIT = 5.0  # when the base is another one too: millions of names are hashed and mapped
COMEBACK_LIMIT = 15.0  # for the replacements of those that were killed

log = logging.getLogger("schoolgate.resolver")


@dataclass(frozen=True, slots=True)
class Swap:
    """Times are monotonic seconds."""

    version: int
    digest: str
    asked_at: float
    limit: float

    @property
    def wanted(self) -> tuple[int, str]:
        return self.version, self.digest

    def waiting(self, posts: Iterable[Post]) -> list[Post]:
        """Those that do not serve it yet. A vacant post answers nobody, and who fills it loads what is current: it
        holds nothing up, unless all are vacant."""
        posts = list(posts)
        behind = [post for post in posts if post.child is not None and post.serving != self.wanted]
        return behind if any(post.child is not None for post in posts) else posts

    def overdue(self, posts: Iterable[Post], now: float) -> list[Post]:
        """Those to kill: told when this began, and still not there. Replacements load the new snapshot themselves."""
        if now - self.asked_at < self.limit:
            return []
        return [post for post in self.waiting(posts) if post.child and post.child.started <= self.asked_at]

    def hopeless(self, now: float) -> bool:
        """True when even the replacements had their time."""
        return now - self.asked_at > self.limit + COMEBACK_LIMIT


class Swaps:
    """The swap that is under way, if one is. `tell` tells the subscription how it ended."""

    __slots__ = ("_base", "_swap", "_tell", "_workers")

    def __init__(self, workers: list[Post], tell: Callable[[dict[str, Any]], object]) -> None:
        self._workers = workers
        self._tell = tell
        self._swap: Swap | None = None
        self._base: str | None = None  # of the last swap that ended well

    @property
    def under_way(self) -> bool:
        return self._swap is not None

    def begin(self, version: int, digest: str, base: str, back: bool) -> None:
        """`back`: to what was served before; a worker never goes back, so those that must are replaced."""
        limit = 0.0 if back else SWAP_LIMIT if base == self._base else BASE_LIMIT
        self._base = base
        self._swap = Swap(version, digest, time.monotonic(), limit)
        for post in self._swap.waiting(self._workers) if not back else ():
            post.tell({"do": "swap", "version": version, "digest": digest})
        self.step(time.monotonic())

    def step(self, now: float) -> None:
        """See whether it is done; kill who had time enough. `now` is monotonic."""
        if (swap := self._swap) is None:
            return
        if not swap.waiting(self._workers):
            self._swap = None
            self._say("swapped", swap, {"workers": len(self._workers)})
            return
        for post in swap.overdue(self._workers, now):
            if not post.leaving:
                log.warning("%s does not serve version %d after %.1f s: killed", post.name, swap.version, swap.limit)
                post.leaving = True  # its end is no failure of its own
                post.kill()
        if swap.hopeless(now):
            names = ", ".join(post.name for post in swap.waiting(self._workers))
            self.refuse(f"{names}: no answer, replacements included")

    def refuse(self, reason: str) -> None:
        """It cannot be: what is served stays."""
        if (swap := self._swap) is not None:
            self._swap, self._base = None, None
            self._say("refused", swap, {"reason": reason})

    def forget(self) -> None:
        """Nobody waits for it any more."""
        self._swap = None

    def _say(self, did: str, swap: Swap, more: dict[str, Any]) -> None:
        self._tell({"did": did, "version": swap.version, "digest": swap.digest, **more})
