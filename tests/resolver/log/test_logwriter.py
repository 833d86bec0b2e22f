"""The query log: rings in, spools out, pseudonyms before anything is written, old logs destroyed with their keys."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklists.policy import Action, ReasonKind
from resolver.children import receive, spawn
from resolver.log import logwriter
from resolver.log.logwriter import Writer, expire, read
from resolver.log.pseudonyms import Pseudonyms, pseudonymised
from resolver.log.querylog import BadRecord, Record, Ring, block, decode, encode, ring_path
from tests.resolver.fake_portal import until

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RECORD = Record(
    time=NOON.timestamp(),
    version=3,
    client=socket.inet_aton("10.1.2.3"),
    group="lab",
    name=b"\x03www\x09instagram\x03com\0",
    qtype=1,
    rcode=3,
    action=Action.BLOCK,
    reason=ReasonKind.CATEGORY,
    number=None,
    entry="instagram.com",
    category="social-media",
    list="seed",
)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(ring_path(tmp_path, 0), 1 << 16)


def append(ring: Ring, *records: Record) -> None:
    assert ring.append(encode(records))


def test_what_a_worker_appends_is_read_back_under_a_pseudonym(tmp_path: Path, ring: Ring) -> None:
    writer = Writer(tmp_path)
    append(ring, RECORD, replace(RECORD, client=b"\x0a\1\2\4", number=7, reason=ReasonKind.GRANT))
    writer.step(NOON)
    writer.close()
    first, second = read(tmp_path)
    assert (writer.counters.written, writer.error) == (2, "")
    assert replace(first, client=b"") == replace(RECORD, client=b"")
    assert second.number == 7
    assert len(first.client) == 12 and first.client != second.client
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".ring":
            assert RECORD.client not in path.read_bytes()


def test_rings_of_all_workers_are_drained_and_new_ones_are_found(tmp_path: Path, ring: Ring) -> None:
    writer = Writer(tmp_path)
    append(ring, RECORD)
    writer.step(NOON)
    second = Ring.create(ring_path(tmp_path, 1), 1 << 12)
    append(second, replace(RECORD, version=4))
    writer.step(NOON)
    assert [record.version for record in read(tmp_path)] == [3, 4]


def test_each_hour_has_its_file_and_a_clock_set_back_does_not_go_back(tmp_path: Path, ring: Ring) -> None:
    writer = Writer(tmp_path)
    for hours in (0, 1, 0):
        append(ring, RECORD)
        writer.step(NOON + timedelta(hours=hours))
    names = sorted(path.name for path in (tmp_path / "querylog").glob("spool-*"))
    assert names == ["spool-20261124T12.log", "spool-20261124T13.log"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "querylog").glob("spool-*")} == {0o600}
    assert len(list(read(tmp_path))) == 3


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 30])
def test_a_torn_last_frame_is_skipped_by_the_reader_and_cut_off_by_the_next_writer(
    cut: int, tmp_path: Path, ring: Ring
) -> None:
    writer = Writer(tmp_path)
    for version in (1, 2):
        append(ring, replace(RECORD, version=version))
        writer.step(NOON)
    path = tmp_path / "querylog/spool-20261124T12.log"
    os.truncate(path, path.stat().st_size - cut)
    assert [record.version for record in read(tmp_path)] == [1]
    again = Writer(tmp_path)
    append(ring, replace(RECORD, version=3))
    again.step(NOON)
    assert [record.version for record in read(tmp_path)] == [1, 3]


def test_a_damaged_frame_ends_its_file_only(tmp_path: Path, ring: Ring) -> None:
    writer = Writer(tmp_path)
    for hours in (0, 1):
        append(ring, replace(RECORD, version=hours + 1))
        writer.step(NOON + timedelta(hours=hours))
    path = tmp_path / "querylog/spool-20261124T12.log"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert [record.version for record in read(tmp_path)] == [2]


def test_a_full_disk_is_counted_and_told_and_workers_go_on(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path)
    append(ring, RECORD)
    writer.step(NOON)
    real = os.pwrite
    calls = iter([10, None])

    def full(number: int, data: bytes, at: int) -> int:
        if (some := next(calls)) is not None:
            return real(number, data[:some], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    append(ring, RECORD, RECORD)
    monkeypatch.setattr(os, "pwrite", full)
    writer.step(NOON)
    assert writer.counters.lost == 2
    assert "No space left" in writer.error
    assert ring.drain() == b""  # the worker has its room back
    monkeypatch.undo()
    append(ring, replace(RECORD, version=9))
    writer.step(NOON)
    assert writer.error == ""
    assert [record.version for record in read(tmp_path)] == [3, 9]


def test_without_a_pseudonym_key_no_address_is_written(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path)
    append(ring, RECORD)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    writer.step(NOON)
    assert "pseudonym key" in writer.error and writer.counters.lost == 1
    assert list(read(tmp_path)) == []


def test_a_ring_that_holds_what_is_no_record_is_counted_and_the_next_batch_is_taken(tmp_path: Path, ring: Ring) -> None:
    writer = Writer(tmp_path)
    assert ring.append(b"\xff" * 40)
    writer.step(NOON)
    append(ring, RECORD)
    writer.step(NOON)
    assert (writer.counters.damaged, writer.counters.written) == (1, 1)


def test_reading_is_bounded_by_time(tmp_path: Path, ring: Ring) -> None:
    writer = Writer(tmp_path)
    for hours in range(3):
        append(ring, replace(RECORD, time=RECORD.time + hours * 3600, version=hours + 1))
        writer.step(NOON + timedelta(hours=hours))
    found = read(tmp_path, RECORD.time + 3600, RECORD.time + 7200)
    assert [record.version for record in found] == [2]
    assert list(read(tmp_path / "nowhere")) == []


def test_the_key_changes_with_the_month_and_not_with_a_restart(tmp_path: Path) -> None:
    def pseudonym(now: datetime) -> bytes:
        made = Pseudonyms(tmp_path)
        made.turn(now)
        return made.of(b"\x0a\1\2\3")

    assert pseudonym(NOON) == pseudonym(NOON + timedelta(days=3))
    assert pseudonym(NOON) != pseudonym(NOON + timedelta(days=30))
    assert {path.name for path in tmp_path.iterdir()} == {"202611.key", "202612.key"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_logs_older_than_thirty_days_go_with_the_keys_that_only_they_used(tmp_path: Path) -> None:
    folder = tmp_path / "querylog"
    (folder / "keys").mkdir(parents=True)
    for name in ("spool-20261001T00.log", "spool-20261025T11.log", "spool-20261025T12.log", "spool-20261124T12.log"):
        (folder / name).touch()
    for name in ("202609.key", "202610.key", "202611.key", "note.key"):
        (folder / "keys" / name).touch()
    gone = expire(tmp_path, NOON + timedelta(minutes=1))
    assert gone == ["202609.key", "spool-20261001T00.log", "spool-20261025T11.log"]
    assert expire(tmp_path, NOON + timedelta(days=8)) == ["202610.key", "spool-20261025T12.log"]


def test_the_process_writes_until_its_parent_is_gone_and_takes_the_last_records(tmp_path: Path, ring: Ring) -> None:
    lifeline, alive = os.pipe()
    child = spawn("log-writer", lambda channel, line: logwriter.run(tmp_path, channel, line), lifeline)
    try:
        append(ring, RECORD)
        until(lambda: len(list(read(tmp_path))) == 1)
        select.select([child.channel], [], [], 20)
        assert (receive(child.channel) or {})["did"] == "status"
        append(ring, RECORD, RECORD)
        os.close(alive)
        assert os.waitpid(child.pid, 0) == (child.pid, 0)
        assert len(list(read(tmp_path))) == 3
    finally:
        os.close(lifeline)
        child.channel.close()


def test_killed_at_any_moment_it_leaves_a_readable_log_and_goes_on(tmp_path: Path, ring: Ring) -> None:
    lifeline, alive = os.pipe()
    entry: Callable[[socket.socket, int], int] = lambda channel, line: logwriter.run(tmp_path, channel, line)  # noqa: E731
    for round_ in range(3):
        child = spawn("log-writer", entry, lifeline)
        append(ring, replace(RECORD, version=round_ + 1))
        until(lambda round_=round_: round_ + 1 in {record.version for record in read(tmp_path)})
        os.kill(child.pid, 9)
        os.waitpid(child.pid, 0)
        child.channel.close()
    os.close(alive)
    os.close(lifeline)
    assert [record.version for record in read(tmp_path)] == [1, 2, 3]


ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@given(st.lists(st.tuples(ADDRESSES, st.text(max_size=20), st.binary(max_size=40), st.integers(0, 9)), max_size=8))
def test_only_the_clients_change(found: list[tuple[bytes, str, bytes, int]]) -> None:
    records = [
        replace(RECORD, client=client, group=group, name=name, number=number, entry=group)
        for client, group, name, number in found
    ]
    data, count = pseudonymised(encode(records), lambda client: client[::-1] + b"!")
    assert count == len(records)
    assert list(decode(data)) == [replace(record, client=record.client[::-1] + b"!") for record in records]


@given(st.binary(max_size=120), st.integers(0, 200))
def test_bytes_that_are_no_blocks_are_refused_with_the_declared_error(junk: bytes, cut: int) -> None:
    whole = encode([RECORD, RECORD])
    for data in (junk, whole[:cut], whole[:cut] + junk, block([junk], 0.0, 1)):
        try:
            turned, count = pseudonymised(data, lambda client: client)
        except BadRecord:
            continue
        assert turned == data
        assert count >= 0
