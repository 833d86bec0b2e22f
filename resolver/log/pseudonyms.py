"""Client addresses out of the query log: a hash under the month's key takes their place before anything is written.

Works on whole blocks as `querylog.py` lays them out, without making a `Record` of each. Equal clients of one month have
equal pseudonyms; without the key nobody can go back, and the key is destroyed with the logs that it covers.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from resolver import durable
from resolver.log.querylog import BadRecord

SIZE = 12  # bytes of a pseudonym
KEY_SIZE = 32
REMEMBERED = 100_000  # clients
REMEMBERED_RECORDS = 16_384
_BLOCK = struct.Struct("<IIdQ")
_FIXED = 17  # octets between a record's name and its three last texts


class Pseudonyms:
    """Client address -> keyed hash (BLAKE2s, RFC 7693). One key for each month (UTC), in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._month = ""
        self._key = b""
        self._known: dict[bytes, bytes] = {}
        self._records = _Turned(self.of)

    def of(self, client: bytes) -> bytes:
        """Return the pseudonym of `client`; `turn` was called before."""
        found = self._known.get(client)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[client] = hashlib.blake2s(client, key=self._key, digest_size=SIZE).digest()
        return found

    def turn(self, now: datetime) -> None:
        """Use the key of this month, made if need be. Raises `OSError`."""
        month = now.strftime("%Y%m")
        if month == self._month:
            return
        path = self._folder / f"{month}.key"
        key = path.read_bytes() if path.exists() else b""
        if len(key) != KEY_SIZE:
            key = secrets.token_bytes(KEY_SIZE)
            durable.write(path, key, 0o600)
        self._month, self._key, self._known = month, key, {}
        self._records = _Turned(self.of)

    def turned(self, data: bytes, seen: Counter[bytes]) -> tuple[bytes, int]:
        """Return `pseudonymised(data)` by this month's key; `turn` was called before. Raises `BadRecord`."""
        if len(self._records) >= REMEMBERED_RECORDS:
            self._records.clear()
        return pseudonymised(data, self.of, seen, self._records)


class _Turned(dict[bytes, bytes]):
    """Records with a client's address -> the same with its pseudonym. Most records come again and again."""

    def __init__(self, of: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, record: bytes) -> bytes:
        start = 1 + record[0]
        client = self._of(record[1:start])
        turned = bytes((len(client),)) + client + record[start:]
        if len(self) < REMEMBERED_RECORDS:
            self[record] = turned
        return turned


def pseudonymised(
    data: bytes, of: Callable[[bytes], bytes], seen: Counter[bytes] | None = None, known: _Turned | None = None
) -> tuple[bytes, int]:
    """Return the same blocks with `of(client)` for every client, and how many records they hold. Raises `BadRecord`.

    `seen` gets a count for every record with its pseudonym; `known` are those that were turned before.
    """
    turned = _Turned(of) if known is None else known
    parts: list[bytes] = []
    all_records: list[bytes] = []
    at = 0
    try:
        while at < len(data):
            size, count, time, version = _BLOCK.unpack_from(data, at)
            end = at + 4 + size
            at += _BLOCK.size
            if end > len(data) or at > end:
                raise BadRecord(f"a block of {size} octets does not fit")
            records: list[bytes] = []
            for _ in range(count):
                start = at
                at += 1 + data[at]  # client
                at += 1 + data[at]  # group
                at += 1 + data[at] + _FIXED  # name
                at += 1 + data[at]
                at += 1 + data[at]
                at += 1 + data[at]
                records.append(turned[data[start:at]])
            if at != end:
                raise BadRecord(f"the records of a block end at {at}, not at {end}")
            body = b"".join(records)
            parts += (_BLOCK.pack(len(body) + _BLOCK.size - 4, count, time, version), body)
            all_records += records
    except (IndexError, struct.error):
        raise BadRecord("a block ends early") from None
    if seen is not None:
        seen.update(all_records)
    return b"".join(parts), len(all_records)
