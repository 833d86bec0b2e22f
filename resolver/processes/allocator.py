"""How memory is taken from the system, settled once at the start; children inherit it.

glibc puts a large block in a mapping of its own, which goes back to the system as a whole, but raises what it calls
large each time such a block is freed. A table that is made anew every few minutes (a dict of which as much is deleted
as put in, 10 MB for a full cache) then comes to lie on the heap, leaves a hole there, and a node grows by its size now
and then without holding anything more. A limit that is set stays (mallopt(3)).
"""

from __future__ import annotations

import contextlib
import ctypes

LARGE = 1024 * 1024  # octets from which on a block is mapped
_M_MMAP_THRESHOLD = -3  # malloc.h


def map_large_blocks() -> None:
    """Give every block of `LARGE` octets and more a mapping of its own, for good; glibc only."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE)
