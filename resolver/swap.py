"""One change of snapshot in every worker: who still serves another, who has had time enough, how it ended. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resolver.children import Post

SWAP_LIMIT = 0.5  # seconds for a worker to take a new policy over the base that it has
BASE_LIMIT = 5.0  # when the base is another one too: millions of names are hashed and mapped
COMEBACK_LIMIT = 15.0  # for the replacements of those that were killed


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
