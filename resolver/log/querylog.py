"""The query log's record, and the ring that carries it from a worker to the log writer.

One block holds the records of one batch: they share time and policy version. Layout, little-endian:

    block   u32 size of all that follows, u32 count, f64 time (seconds since 1970), u64 policy version, records
    record  client: u8 length + address (4 or 16 octets), u8 length + group
            tail: u8 length + wire QNAME, u16 QTYPE, u8 rcode, u8 action, u8 reason, u32 latency (microseconds),
            u64 number of the grant, brake or custom block + 1 (0: none), then entry, category, list: u8 length + UTF-8

The client's half is made once per client, the tail once per finished answer, so a query that hits costs two appends.
A block is written whole or not at all; the ring never blocks: what does not fit is counted as dropped.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blocklists.policy import Action, ReasonKind, Verdict

_BLOCK = struct.Struct("<IIdQ")
_TAIL = struct.Struct("<HBBBIQ")
_SIZE = 4
ACTIONS = tuple(Action)
REASONS = tuple(ReasonKind)
_ACTION_NUMBER = {action: number for number, action in enumerate(ACTIONS)}
_REASON_NUMBER = {reason: number for number, reason in enumerate(REASONS)}

MAGIC = 0x31474E4952475353  # "SSGRING1"
_HEAD = 64  # octets: magic, size of the data part, written, read, dropped, each u64
_WRITTEN, _READ, _DROPPED = 2, 3, 4


class BadRecord(ValueError):
    """Bytes that are no blocks of this format. The message says where."""


class BadRing(ValueError):
    """A file that is no ring of this format."""


@dataclass(frozen=True, slots=True)
class Record:
    """One query. `name` is the lower-cased wire QNAME; `latency` is in microseconds, 0 for an answer at hand."""

    time: float
    version: int
    client: bytes
    group: str
    name: bytes
    qtype: int
    rcode: int
    action: Action
    reason: ReasonKind
    number: int | None
    entry: str
    category: str
    list: str
    latency: int = 0


def _short(text: str | None) -> bytes:
    if not text:
        return b"\0"
    data = text.encode()[:255]
    return bytes((len(data),)) + data


def client_half(address: bytes, group: str) -> bytes:
    """Return the part of a record that is the same for all queries of one client."""
    return bytes((len(address),)) + address + _short(group)


def tail_half(name: bytes, qtype: int, rcode: int, verdict: Verdict, latency: float = 0.0) -> bytes:
    """Return the part that is the same for all askers of one finished answer. `latency` is in seconds."""
    reason = verdict.reason
    micro = min(max(int(latency * 1e6), 0), 0xFFFFFFFF)
    number = 0 if reason.number is None else reason.number + 1
    return b"".join(
        (
            bytes((len(name),)),
            name,
            _TAIL.pack(qtype, rcode, _ACTION_NUMBER[verdict.action], _REASON_NUMBER[reason.kind], micro, number),
            _short(reason.entry),
            _short(reason.category),
            _short(reason.list),
        )
    )


def block(halves: list[bytes], now: float, version: int) -> bytes:
    """Return one block of records, given as client half, tail half, client half, … in turn."""
    body = b"".join(halves)
    return _BLOCK.pack(len(body) + _BLOCK.size - _SIZE, len(halves) >> 1, now, version) + body


def encode(records: Iterable[Record]) -> bytes:
    """Return blocks that hold `records`, one for each; `decode` is the inverse."""
    return b"".join(block([_client_of(one), _tail_of(one)], one.time, one.version) for one in records)


def _client_of(record: Record) -> bytes:
    return client_half(record.client, record.group)


def _tail_of(record: Record) -> bytes:
    number = 0 if record.number is None else record.number + 1
    return b"".join(
        (
            bytes((len(record.name),)),
            record.name,
            _TAIL.pack(
                record.qtype,
                record.rcode,
                _ACTION_NUMBER[record.action],
                _REASON_NUMBER[record.reason],
                record.latency,
                number,
            ),
            _short(record.entry),
            _short(record.category),
            _short(record.list),
        )
    )


def decode(data: bytes) -> Iterator[Record]:
    """Yield the records of whole blocks. Raises `BadRecord` at the first thing that cannot be read."""
    at = 0
    while at < len(data):
        if at + _BLOCK.size > len(data):
            raise BadRecord(f"a block's head ends early at {at}")
        size, count, time, version = _BLOCK.unpack_from(data, at)
        end = at + _SIZE + size
        if end > len(data) or size < _BLOCK.size - _SIZE:
            raise BadRecord(f"a block of {size} octets at {at} does not fit")
        cursor = _Cursor(data, at + _BLOCK.size, end)
        for _ in range(count):
            yield cursor.record(time, version)
        if cursor.at != end:
            raise BadRecord(f"octets after the last record of the block at {at}")
        at = end


class _Cursor:
    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end

    def take(self, size: int) -> bytes:
        stop = self.at + size
        if stop > self.end:
            raise BadRecord(f"a record ends early at {self.at}")
        found = self.data[self.at : stop]
        self.at = stop
        return found

    def short(self) -> bytes:
        return self.take(self.take(1)[0])

    def text(self) -> str:
        return self.short().decode(errors="replace")

    def record(self, time: float, version: int) -> Record:
        client, group, name = self.short(), self.text(), self.short()
        qtype, rcode, action, reason, latency, number = _TAIL.unpack(self.take(_TAIL.size))
        if action >= len(ACTIONS) or reason >= len(REASONS):
            raise BadRecord(f"a verdict that does not exist, before {self.at}")
        return Record(
            time=time,
            version=version,
            client=client,
            group=group,
            name=name,
            qtype=qtype,
            rcode=rcode,
            action=ACTIONS[action],
            reason=REASONS[reason],
            number=number - 1 if number else None,
            entry=self.text(),
            category=self.text(),
            list=self.text(),
            latency=latency,
        )


def ring_path(state: Path, worker: int) -> Path:
    """Return where the ring of this worker lies: the worker creates it, the log writer opens it."""
    return state / "rings" / f"{worker}.ring"


class Ring:
    """A ring of bytes in a mapped file: one process appends, one drains. It outlives both.

    `written` and `read` count octets since the ring was made; each is moved by one side only, by one aligned 8-octet
    store, after the octets it covers have been copied.
    """

    __slots__ = ("_data", "_map", "_numbers", "size")

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped
        view = memoryview(mapped)
        self._numbers = view[:_HEAD].cast("Q")
        self._data = view[_HEAD:]
        self.size = len(self._data)
        if self._numbers[0] != MAGIC or self._numbers[1] != self.size:
            raise BadRing("this file is no query-log ring of this format")
        if not 0 <= self._numbers[_WRITTEN] - self._numbers[_READ] <= self.size:
            raise BadRing("the ring's counts do not belong together")

    @classmethod
    def create(cls, path: Path, size: int) -> Ring:
        """Open the ring at `path`, made with `size` octets of data when there is none or it is of another size or
        damaged. Raises `OSError`."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = (size + 7) & ~7
        try:
            if path.stat().st_size == _HEAD + size:
                return cls.open(path)
        except (FileNotFoundError, BadRing):
            pass
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(descriptor, _HEAD + size)
            mapped = mmap.mmap(descriptor, _HEAD + size)
        finally:
            os.close(descriptor)
        struct.pack_into("=QQ", mapped, 0, MAGIC, size)
        temporary.rename(path)
        return cls(mapped)

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Open an existing ring. Raises `BadRing` or `OSError`."""
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size <= _HEAD:
                raise BadRing("this file is too short for a ring")
            return cls(mmap.mmap(file.fileno(), 0))

    @property
    def dropped(self) -> int:
        """How many records did not fit since the ring was made."""
        return self._numbers[_DROPPED]

    def append(self, batch: bytes) -> bool:
        """Append whole blocks; False when they do not fit: their records are counted as dropped."""
        numbers = self._numbers
        written = numbers[_WRITTEN]
        length = len(batch)
        if length > self.size - (written - numbers[_READ]):
            numbers[_DROPPED] += _count(batch)
            return False
        at = written % self.size
        first = self.size - at
        if length <= first:
            self._data[at : at + length] = batch
        else:
            self._data[at:] = batch[:first]
            self._data[: length - first] = batch[first:]
        numbers[_WRITTEN] = written + length
        return True

    def drain(self) -> bytes:
        """Return all that was appended since the last call, and make room."""
        numbers = self._numbers
        read, written = numbers[_READ], numbers[_WRITTEN]
        length = written - read
        if length == 0:
            return b""
        at = read % self.size
        found = bytes(self._data[at : at + length])
        if len(found) < length:
            found += bytes(self._data[: length - len(found)])
        numbers[_READ] = written
        return found

    def close(self) -> None:
        """Unmap the file."""
        self._numbers.release()
        self._data.release()
        self._map.close()


def _count(batch: bytes) -> int:
    at = total = 0
    while at + _BLOCK.size <= len(batch):
        size, count, _, _ = _BLOCK.unpack_from(batch, at)
        total += count
        at += _SIZE + size
    return total
