"""The record survives its way, damage is declared, and the ring loses nothing silently."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklists.policy import Action, Reason, ReasonKind, Verdict
from resolver.log.querylog import (
    BadRecord,
    BadRing,
    Record,
    Ring,
    block,
    client_half,
    decode,
    encode,
    ring_path,
    tail_half,
)

SHORT = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255)
RECORDS = st.builds(
    Record,
    time=st.floats(0, 4e9),
    version=st.integers(0, 2**53),
    client=st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    group=SHORT,
    name=st.binary(min_size=1, max_size=255),
    qtype=st.integers(0, 65535),
    rcode=st.integers(0, 15),
    action=st.sampled_from(Action),
    reason=st.sampled_from(ReasonKind),
    number=st.one_of(st.none(), st.integers(0, 2**53)),
    entry=SHORT,
    category=SHORT,
    list=SHORT,
    latency=st.integers(0, 2**32 - 1),
)
ONE = Record(
    1.5, 7, b"\x0a\x01\0\x07", "north", b"\x01a\0", 1, 3, Action.BLOCK, ReasonKind.CATEGORY, None, "a", "c", "l", 9
)


@given(st.lists(RECORDS, max_size=5))
def test_what_is_encoded_is_decoded(records: list[Record]) -> None:
    assert list(decode(encode(records))) == records


def test_the_halves_of_the_hot_path_make_the_same_record() -> None:
    verdict = Verdict(Action.BLOCK, Reason(ReasonKind.CATEGORY, entry="a", category="c", list="l"))
    client = client_half(b"\x0a\x01\0\x07", "north")
    tail = tail_half(b"\x01a\0", 1, 3, verdict, 9e-6)
    assert list(decode(block([client, tail, client, tail], 1.5, 7))) == [ONE, ONE]


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_a_bad_record(data: bytes) -> None:
    with contextlib.suppress(BadRecord):
        list(decode(data))


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_block_is_records_or_a_bad_record(at: int, value: int) -> None:
    data = bytearray(encode([ONE, ONE]))
    data[at % len(data)] = value
    with contextlib.suppress(BadRecord):
        list(decode(bytes(data)))


def test_a_cut_block_is_refused() -> None:
    with pytest.raises(BadRecord):
        list(decode(encode([ONE])[:-1]))


def test_what_is_appended_is_drained_once_and_in_order(tmp_path: Path) -> None:
    ring = Ring.create(ring_path(tmp_path, 0), 4096)
    other = Ring.open(ring_path(tmp_path, 0))
    sent = b""
    got = b""
    for number in range(500):
        batch = encode([ONE] * (1 + number % 7))
        assert ring.append(batch)
        sent += batch
        if number % 3 == 0:
            got += other.drain()
    got += other.drain()
    assert (got == sent, other.drain(), ring.dropped) == (True, b"", 0)


def test_a_full_ring_counts_records_and_keeps_what_it_has(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path / "0.ring", 256)
    first = encode([ONE, ONE])
    assert ring.append(first)
    assert not ring.append(encode([ONE] * 3))
    assert not ring.append(block([b"\x01"] * 20_000, 0.0, 0))
    assert ring.dropped == 3 + 10_000
    assert ring.drain() == first
    assert ring.append(first)


def test_a_ring_outlives_its_worker(tmp_path: Path) -> None:
    path = ring_path(tmp_path, 3)
    ring = Ring.create(path, 4096)
    ring.append(encode([ONE]))
    ring.close()
    again = Ring.create(path, 4096)
    again.append(encode([ONE]))
    assert list(decode(again.drain())) == [ONE, ONE]


@pytest.mark.parametrize("data", [b"", b"x" * 64, b"x" * 5000])
def test_a_damaged_ring_is_refused_and_made_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "0.ring"
    path.write_bytes(data)
    with pytest.raises(BadRing):
        Ring.open(path)
    assert Ring.create(path, 4096).drain() == b""


def test_a_ring_of_another_size_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "0.ring"
    Ring.create(path, 4096).append(encode([ONE]))
    assert Ring.create(path, 8192).drain() == b""
