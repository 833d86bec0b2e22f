"""Fetching: compressed, against what is held, and going on where it was cut; hostile answers change nothing."""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import zstandard

from blocklists import signature
from resolver.delivery import transfer
from resolver.delivery.policy_store import Refused
from resolver.delivery.transfer import Transfer, Unreachable
from tests.resolver.fake_portal import District, FakePortal

NOISE = os.urandom(300_000)  # does not compress, so that a cut lies where it is told to


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    made.packs = True
    yield made
    made.stop()


@pytest.fixture
def fetcher(portal: FakePortal, tmp_path: Path) -> Iterator[Transfer]:
    with httpx.Client(headers={"Authorization": "Bearer secret"}) as client:
        yield Transfer(client, f"{portal.url}/api/v1/node", tmp_path)


def kept(portal: FakePortal, data: bytes) -> str:
    digest = signature.digest(data)
    portal.district.objects[digest] = data
    return digest


def fetched(fetcher: Transfer, digest: str) -> bytes:
    file = io.BytesIO()
    fetcher.base(digest, file)
    return file.getvalue()


def test_a_policy_against_the_one_that_is_held_is_a_few_bytes(portal: FakePortal, fetcher: Transfer) -> None:
    _, old = portal.district.publish(1)
    _, new = portal.district.publish(2, audit_head="f" * 64)
    assert fetcher.policy(signature.digest(new), (signature.digest(old), old)) == new
    assert fetcher.policy(signature.digest(new), None) == new
    (_, small), (_, large) = portal.sent
    assert small < large / 2


def test_a_policy_against_one_that_is_not_held_is_refused(portal: FakePortal, fetcher: Transfer) -> None:
    _, old = portal.district.publish(1)
    _, new = portal.district.publish(2)
    with pytest.raises(Refused, match="cannot be unpacked"):
        fetcher.policy(signature.digest(new), (signature.digest(old), NOISE))


def test_a_base_that_was_cut_goes_on_where_it_was(portal: FakePortal, fetcher: Transfer, tmp_path: Path) -> None:
    digest = kept(portal, NOISE)
    portal.cut_after = 100_000
    for _ in range(2):
        with pytest.raises(httpx.HTTPError):
            fetched(fetcher, digest)
    portal.cut_after = None
    assert fetched(fetcher, digest) == NOISE
    statuses, lengths = zip(*portal.sent, strict=True)
    assert statuses == (200, 206, 206)
    assert lengths[0] - lengths[1] == lengths[1] - lengths[2] == 100_000
    assert list((tmp_path / transfer.DOWNLOADS).iterdir()) == []


def test_a_beginning_of_another_file_is_not_gone_on_with(portal: FakePortal, fetcher: Transfer) -> None:
    digest = kept(portal, NOISE)
    portal.cut_after = 100_000
    with pytest.raises(httpx.HTTPError):
        fetched(fetcher, digest)
    portal.cut_after, portal.etag = None, '"2"'
    assert fetched(fetcher, digest) == NOISE
    assert [status for status, _ in portal.sent] == [200, 200]


def test_what_was_kept_of_another_base_is_forgotten(portal: FakePortal, fetcher: Transfer, tmp_path: Path) -> None:
    digest, other = kept(portal, NOISE), kept(portal, b"small")
    portal.cut_after = 100_000
    with pytest.raises(httpx.HTTPError):
        fetched(fetcher, digest)
    assert fetched(fetcher, other) == b"small"
    assert list((tmp_path / transfer.DOWNLOADS).iterdir()) == []


def test_a_damaged_beginning_is_refused_once_and_then_fetched_anew(
    portal: FakePortal, fetcher: Transfer, tmp_path: Path
) -> None:
    digest = kept(portal, NOISE)
    portal.cut_after = 100_000
    with pytest.raises(httpx.HTTPError):
        fetched(fetcher, digest)
    partial = tmp_path / transfer.DOWNLOADS / f"{digest}.zst"
    data = bytearray(partial.read_bytes())
    data[50_000] ^= 1
    partial.write_bytes(data)
    portal.cut_after = None
    with pytest.raises(Refused, match="damaged"):
        fetched(fetcher, digest)
    assert fetched(fetcher, digest) == NOISE


def test_a_portal_that_does_not_compress_is_understood(portal: FakePortal, fetcher: Transfer) -> None:
    portal.packs = False
    digest = kept(portal, NOISE)
    assert fetched(fetcher, digest) == NOISE
    assert fetcher.policy(digest, ("0" * 64, b"")) == NOISE
    with pytest.raises(Refused, match="does not have it"):
        fetcher.policy("1" * 64, None)


@pytest.mark.parametrize("what", ["policy", "base"])
def test_what_unpacks_to_more_than_the_limit_is_refused(
    what: str, portal: FakePortal, fetcher: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "POLICY_LIMIT", 100_000)
    monkeypatch.setattr(transfer, "BASE_LIMIT", 100_000)
    digest = kept(portal, bytes(1_000_000))  # a thousand bytes on the way
    with pytest.raises(Refused, match="larger than 100000"):
        fetcher.policy(digest, None) if what == "policy" else fetched(fetcher, digest)


def test_a_portal_that_says_later_is_unreachable_not_wrong(portal: FakePortal, fetcher: Transfer) -> None:
    portal.stop()
    with pytest.raises((Unreachable, httpx.HTTPError)):
        fetcher.policy("0" * 64, None)


def test_whatever_bytes_come_are_a_value_or_a_refusal(tmp_path: Path) -> None:
    _, policy = District().publish(1)
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(policy)
    chance = random.Random(4414)
    body = b""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "application/zstd"}, content=body)

    refused = 0
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        fetcher = Transfer(client, "http://portal/api/v1/node", tmp_path)
        for _ in range(300):
            mutated = bytearray(frame)
            for _ in range(chance.randint(1, 4)):
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            body = bytes(mutated[: chance.randint(0, len(mutated))])
            try:
                fetcher.policy("a" * 64, None)
            except Refused:
                refused += 1
            with contextlib.suppress(Refused):
                fetcher.base("a" * 64, io.BytesIO())
    assert refused > 250
