"""Random numbers that nobody can guess, from the kernel, drawn by the page: one call to it for many numbers.

Each process makes its own after the fork: two that share a page would draw the same.
"""

from __future__ import annotations

import os

_PAGE = 1024  # octets
_SIZE = 4


class Chance:
    """Draws 32 bits at a time."""

    __slots__ = ("_at", "_page")

    def __init__(self) -> None:
        self._page = b""
        self._at = 0

    def draw(self) -> int:
        """Return a number below 2 ** 32."""
        at = self._at
        if at >= len(self._page):
            self._page = os.urandom(_PAGE)
            at = 0
        self._at = at + _SIZE
        return int.from_bytes(self._page[at : at + _SIZE], "big")
