"""Many nodes at once: what they fetch is packed once, and what they acknowledge is committed together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from blocklists.exchange import Ack
from portal.nodes.parcels import KEPT, Parcels
from portal.nodes.receipts import Receipts, Refusals, Waiting

BODY, BEFORE = b"the new policy, " * 500, b"the old policy, " * 500


def test_whoever_asks_gets_what_the_first_one_had_packed() -> None:
    read: list[str] = []

    def published(digest: str) -> bytes | None:
        read.append(digest)
        return {"new": BODY, "old": BEFORE}.get(digest)

    parcels = Parcels(published)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: parcels.get("new", "old"), range(50)))
    assert read == ["new", "old"]
    assert found[0] is not None and all(one is found[0] for one in found)
    words = zstandard.ZstdCompressionDict(BEFORE, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    assert zstandard.ZstdDecompressor(dict_data=words).decompress(found[0].data) == BODY
    assert parcels.get("unknown", None) is None


def test_a_policy_against_one_that_was_never_published_comes_whole() -> None:
    parcel = Parcels({"new": BODY}.get).get("new", "other")
    assert parcel is not None and parcel.against is None
    assert zstandard.ZstdDecompressor().decompress(parcel.data) == BODY


def test_only_a_few_parcels_are_kept() -> None:
    read: list[str] = []
    parcels = Parcels(lambda digest: read.append(digest) or BODY)
    for number in range(KEPT + 1):
        parcels.get(f"policy {number}", None)
    parcels.get(f"policy {KEPT}", None)
    assert len(read) == KEPT + 1
    parcels.get("policy 0", None)
    assert len(read) == KEPT + 2


def ack(version: int) -> Ack:
    return Ack(version=version, digest="0" * 64)


def test_acks_that_come_during_a_commit_share_the_next_one() -> None:
    batches: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def write(waiting: Sequence[Waiting]) -> Refusals:
        batches.append(len(waiting))
        begun.set()
        go_on.wait(20)
        return [None if node % 2 else f"not {node}" for node, _ in waiting]

    async def many() -> list[str | None]:
        receipts = Receipts(write)
        first = asyncio.create_task(receipts.take(1, ack(1)))
        await asyncio.to_thread(begun.wait, 20)
        others = [asyncio.create_task(receipts.take(node, ack(1))) for node in range(2, 102)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *others)

    found = asyncio.run(many())
    assert batches == [1, 100]
    assert found == [None if node % 2 else f"not {node}" for node in range(1, 102)]


def test_a_commit_that_fails_is_told_to_its_members_and_to_nobody_else() -> None:
    full = [True]

    def write(waiting: Sequence[Waiting]) -> Refusals:
        if full:
            full.clear()
            raise OSError("disk full")
        return [None for _ in waiting]

    async def twice() -> None:
        receipts = Receipts(write)
        with pytest.raises(OSError, match="disk full"):
            await receipts.take(1, ack(1))
        assert await receipts.take(1, ack(1)) is None

    asyncio.run(twice())
