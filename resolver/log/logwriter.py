"""The log writer, in its own process: rings in, spool files out, and the reader of what it wrote.

    rings/*.ring                        what workers append, drained every 250 ms
    querylog/spool-YYYYMMDDTHH.log      frames, append-only, UTC hour; synced each second
    querylog/keys/YYYYMM.key            the month's pseudonym key, mode 0600, destroyed with the logs that it covers
    sight.json, popular.json            counts of what passed (`tally.py`, `popular.py`)
    used.json                           names of grants in use (`use.py`)

A frame is a magic, u32 size, u32 CRC-32 of the body, and the body: whole blocks (`querylog.py`) in which every
client's address has become a keyed hash. A torn frame at the end (a kill, a full disk) is cut off before the next one
is written, and skipped by the reader. The writer never makes a worker wait: what cannot be written is counted as lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resolver import durable
from resolver.children import receive, send
from resolver.log.pseudonyms import Pseudonyms
from resolver.log.querylog import BadRecord, BadRing, Record, Ring, decode
from resolver.log.tally import Seen, Tally

log = logging.getLogger("schoolgate.resolver.logwriter")

FOLDER = "querylog"
DRAIN_EVERY = 0.25
SYNC_EVERY = 1.0
TIDY_EVERY = 600.0
KEEP_DAYS = 30
FRAME_LIMIT = 64 * 1024 * 1024
_FRAME = struct.Struct("<4sII")
_MAGIC = b"SGQ1"
_NAME = "spool-%Y%m%dT%H.log"


@dataclass(slots=True)
class Counters:
    """Since this process started; `lost` in records that no spool has, `ring_dropped` in records that no ring took."""

    written: int = 0
    lost: int = 0
    damaged: int = 0  # drained pieces that could not be read
    ring_dropped: int = 0  # since the rings were made


class Spool:
    """The file of the current hour. Every method raises `OSError` and leaves whole frames behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._file = -1
        self._end = 0
        self._dirty = False

    def append(self, body: bytes, now: datetime) -> None:
        name = max(now.strftime(_NAME), self._name)  # a clock set back goes on in the newer file
        if name != self._name:
            self.close()
            self._open(name)
        frame = _FRAME.pack(_MAGIC, len(body), zlib.crc32(body)) + body
        self._dirty = True
        try:
            done = 0
            while done < len(frame):
                done += os.pwrite(self._file, frame[done:], self._end + done)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(frame)

    def _open(self, name: str) -> None:
        path = self._folder / name
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._end = _whole(path)
            os.ftruncate(number, self._end)
            durable.sync_folder(self._folder)
        except OSError:
            os.close(number)
            raise
        self._file, self._name = number, name

    def sync(self) -> None:
        if self._dirty:
            os.fsync(self._file)
            self._dirty = False

    def close(self) -> None:
        """Seal the file: what it holds is on the disk, and nothing comes after."""
        if self._file >= 0:
            try:
                self.sync()
            finally:
                os.close(self._file)
                self._file = -1


class Writer:
    """Drains the rings of one state folder. Nothing here waits for a worker, and nothing stops at a full disk."""

    def __init__(self, state: Path) -> None:
        """Raises `OSError` when the folders cannot be made."""
        self._rings_folder = state / "rings"
        self._folder = durable.private_folder(state / FOLDER)
        self._pseudonyms = Pseudonyms(durable.private_folder(self._folder / "keys"))
        self._spool = Spool(self._folder)
        self._rings: dict[Path, tuple[int, Ring]] = {}  # with the inode that was mapped
        self._tally = Tally(state)
        self.counters = Counters()
        self.error = ""

    def step(self, now: datetime) -> None:
        """Move what the rings hold to the spool."""
        self._find_rings()
        bodies: list[bytes] = []
        seen: Seen = Counter()
        count = 0
        for _, ring in self._rings.values():
            data = ring.drain()
            if not data:
                continue
            try:
                self._pseudonyms.turn(now)
                body, records = self._pseudonyms.turned(data, seen)
            except BadRecord as error:
                self.counters.damaged += 1
                self.error = f"a ring held what is no record: {error}"
                continue
            except OSError as error:  # no key: no plain address goes to the disk in its place
                self.counters.lost += 1
                self.error = f"the pseudonym key cannot be made: {error.strerror or error}"
                continue
            bodies.append(body)
            count += records
        self.counters.ring_dropped = sum(ring.dropped for _, ring in self._rings.values())
        if not bodies:
            return
        self._tally.take(seen, now.timestamp())
        try:
            self._spool.append(b"".join(bodies), now)
        except OSError as error:
            self.counters.lost += count
            self.error = f"{self._folder} cannot be written: {error.strerror or error}"
        else:
            self.counters.written += count
            self.error = ""

    def _find_rings(self) -> None:
        try:
            paths = list(self._rings_folder.glob("*.ring"))
        except OSError:
            return
        for path in paths:
            with contextlib.suppress(OSError, BadRing):
                inode = path.stat().st_ino
                if path not in self._rings or self._rings[path][0] != inode:
                    self._rings[path] = inode, Ring.open(path)

    def sync(self) -> None:
        try:
            self._spool.sync()
            self._tally.write(time.time())
        except OSError as error:
            self.error = f"{self._folder} cannot be written: {error.strerror or error}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._spool.close()
        with contextlib.suppress(OSError):
            self._tally.close(time.time())


def run(state: Path, channel: socket.socket, lifeline: int) -> int:
    """Write until the supervisor says `drain` or is gone, then take the last records. Raises `OSError` at the start."""
    writer = Writer(state)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    synced = tidied = 0.0
    last = False
    while True:
        writer.step(datetime.now(UTC))
        now = time.monotonic()
        if last or now - synced >= SYNC_EVERY:
            synced = now
            writer.sync()
            send(channel, {"did": "status", "counters": asdict(writer.counters), "error": writer.error[:300]})
        if last:
            writer.close()
            return 0
        if now - tidied >= TIDY_EVERY:
            tidied = now
            with contextlib.suppress(OSError):
                expire(state, datetime.now(UTC))
        ready = [number for number, _ in poll.poll(DRAIN_EVERY * 1000)]
        last = lifeline in ready or (channel.fileno() in ready and _told_to_end(channel))


def _told_to_end(channel: socket.socket) -> bool:
    message = receive(channel)
    return message is None or message.get("do") == "drain"


def expire(state: Path, now: datetime, keep_days: int = KEEP_DAYS) -> list[str]:
    """Delete spools that ended more than `keep_days` ago, and the keys of months that only they used.

    Returns the names of what was deleted. Raises `OSError`.
    """
    limit = now - timedelta(days=keep_days)
    gone = [
        path
        for path in (state / FOLDER).glob("spool-*.log")
        if (hour := _hour(path)) is not None and hour + timedelta(hours=1) < limit
    ]
    for path in (state / FOLDER / "keys").glob("*.key"):
        with contextlib.suppress(ValueError):
            month = datetime.strptime(path.stem, "%Y%m").replace(tzinfo=UTC)
            after = (month + timedelta(days=32)).replace(day=1)
            if after < limit:
                gone.append(path)
    for path in gone:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in gone)


def read(state: Path, since: float = 0.0, until: float = float("inf")) -> Iterator[Record]:
    """Yield the records of `[since, until)`, seconds since 1970, in the order in which they were written.

    Clients are pseudonyms of their month. What is torn or damaged is skipped. Raises `OSError`.
    """
    spools = sorted((hour, path) for path in (state / FOLDER).glob("spool-*.log") if (hour := _hour(path)))
    for hour, path in spools:
        if hour.timestamp() >= until or hour.timestamp() + 3600 + 60 < since:
            continue
        for _, body in _frames(path):
            with contextlib.suppress(BadRecord):
                for record in decode(body):
                    if since <= record.time < until:
                        yield record


def _hour(path: Path) -> datetime | None:
    try:
        return datetime.strptime(path.name, _NAME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole frames of a spool, each with the offset at which it ends; nothing after the first that is not whole."""
    with path.open("rb") as file:
        end = 0
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            magic, size, crc = _FRAME.unpack(head)
            if magic != _MAGIC or size > FRAME_LIMIT:
                return
            body = file.read(size)
            if len(body) < size or zlib.crc32(body) != crc:
                return
            end += _FRAME.size + size
            yield end, body


def _whole(path: Path) -> int:
    end = 0
    for whole, _ in _frames(path):
        end = whole
    return end
