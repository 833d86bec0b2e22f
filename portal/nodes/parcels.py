"""Published policies as nodes fetch them: compressed once, whoever asks.

After a publication every node asks for the same bytes against the same policy before it. Who comes first packs them,
the others wait for it and take what it made; the last few are kept. Thread-safe; holds no database connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import zstandard

KEPT = 8  # parcels; nodes that come back from different versions ask for different ones
LEVEL = 3


@dataclass(frozen=True, slots=True)
class Parcel:
    """A policy in zstd (RFC 8878). `against`: digest of the policy that is its dictionary; None: it has none."""

    data: bytes
    against: str | None


class Parcels:
    """Parcels by what was asked for: the digest, and the digest of the policy that the asker holds."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        """`read` returns the bytes of the published policy of a digest."""
        self._read = read
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str | None], Parcel] = {}

    def get(self, digest: str, against: str | None) -> Parcel | None:
        """Return the parcel; None when no policy of this digest was published."""
        key = digest, against
        found = self._kept.get(key)
        if found is None:
            with self._lock:
                found = self._kept.get(key) or self._packed(digest, against)
                if found is not None:
                    self._kept[key] = found
                    while len(self._kept) > KEPT:
                        self._kept.pop(next(iter(self._kept)))
        return found

    def _packed(self, digest: str, against: str | None) -> Parcel | None:
        body = self._read(digest)
        if body is None:
            return None
        known = None if against is None else self._read(against)
        if known is None:
            return Parcel(zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(body), None)
        words = zstandard.ZstdCompressionDict(known, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        packer = zstandard.ZstdCompressor(level=LEVEL, dict_data=words, write_content_size=True)
        return Parcel(packer.compress(body), against)
