"""The posts of a node and who fills them: starts, hears, reaps and kills; decides nothing else.

`heed(post, message)` is called for every message of a child, `ended(post, how, expected)` after its end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from resolver.children import Child, Entry, Post, Role, receive, spawn

log = logging.getLogger("schoolgate.resolver")

SILENT_LIMIT = 10.0  # seconds: a worker that has spoken and then says nothing for so long is stuck
HELPER_LIMIT = 60.0  # for the others: a slow disk may hold up the log writer
START_LIMIT = 120.0  # for the first word: a large base takes its time

Heed = Callable[[Post, dict[str, Any]], None]
Ended = Callable[[Post, str, bool], None]


class Staff:
    """Every child process of one supervisor. Closing it ends them: their lifeline closes."""

    def __init__(self, posts: list[Post], selector: selectors.BaseSelector, heed: Heed, ended: Ended) -> None:
        self.posts = posts
        self._selector = selector
        self._heed = heed
        self._ended = ended
        self._lifeline, self._alive = os.pipe()

    def fill(self, post: Post, entry: Entry, keep: Iterable[int] = ()) -> None:
        """Start a child for a vacant post; `keep` are files that it inherits. On failure the post stays vacant."""
        try:
            child = spawn(post.name, entry, self._lifeline, keep)
        except OSError as error:  # no memory, too many processes: the others go on
            log.error("%s cannot be started: %s", post.name, error.strerror or error)
            post.fill_at = time.monotonic() + 1.0
            return
        post.filled(child)
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._hear(post, child))

    def reap(self, now: float) -> None:
        """Notice who ended, with what they said last."""
        for post in self.posts:
            if (child := post.child) is None:
                continue
            try:
                pid, code = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                pid, code = child.pid, 0
            if pid == 0:
                continue
            self._hear(post, child)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)
            expected = post.leaving
            wait = post.vacated(now)
            how = _how_it_ended(os.waitstatus_to_exitcode(code))
            if not expected and post.lasting:
                log.warning("%s %s; replaced %s", post.name, how, f"in {wait:.1f} s" if wait else "at once")
            self._ended(post, how, expected)

    def _hear(self, post: Post, child: Child) -> None:
        while post.child is child and child.channel.fileno() >= 0:
            try:
                message = receive(child.channel)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:  # the end itself is seen by waitpid
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(child.channel)
                return
            try:
                self._heed(post, message)
            except (KeyError, TypeError, ValueError, AttributeError):
                log.error("%s sent what nobody understands: %.200s", post.name, message)

    def check_silence(self, now: float) -> None:
        """Kill who is stuck."""
        for post in self.posts:
            if post.child is None or post.leaving or not post.lasting:
                continue
            silent = now - post.heard_at if post.heard_at else now - post.child.started
            spoken = SILENT_LIMIT if post.role is Role.WORKER else HELPER_LIMIT
            if silent > (spoken if post.heard_at else START_LIMIT):
                log.error("%s has said nothing for %.0f s: killed", post.name, silent)
                post.kill()

    def kill_everyone(self) -> None:
        for post in self.posts:
            if post.child is not None:
                post.leaving = True
                post.kill()

    def close(self) -> None:
        """Kill and reap whoever is left."""
        self.kill_everyone()
        for post in self.posts:
            if post.child is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(post.child.pid, 0)
                post.child.channel.close()
                post.child = None
        os.close(self._alive)
        os.close(self._lifeline)


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
