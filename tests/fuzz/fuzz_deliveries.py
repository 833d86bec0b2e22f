"""Damaged policies on their way to a node: refused with a reason, or the bytes that were signed.

Four ways, by turns: the bytes are damaged; digest and offer are made to fit them, and another key signs; the packed
bytes are damaged and unpacked as a node does; the district's own key signs the damage, as a faulty portal would.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import httpx
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from blocklists import signature
from blocklists.exchange import Offer
from blocklists.policy_codec import load
from resolver.delivery.policy_store import PolicyStore, Refused
from resolver.delivery.transfer import ZSTD, Transfer
from tests.fuzz.fuzz_offers import MEMORY
from tests.fuzz.mutation import feed, mixed
from tests.resolver.fake_portal import District


class Node:
    """Holds version 5, and is offered version 6, whole or not."""

    def __init__(self, folder: Path) -> None:
        self.district = District()
        self.stranger = Ed25519PrivateKey.generate()
        self.store = PolicyStore(folder)
        self.store.create()
        self.current = folder / "current.json"
        offer, self.before = self.district.publish(5)
        self.store.accept(offer, self.before, self.district.source, self.district.pin)
        self.kept = self.current.read_bytes()
        self.offer, self.policy = self.district.publish(6, audit_head="0" * 64)
        self.packed = b""
        client = httpx.Client(transport=httpx.MockTransport(self._send))
        self.transfer = Transfer(client, "http://portal.example/api/v1/node", folder)

    def _send(self, request: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": ZSTD, "Dictionary": request.url.params["against"]}
        return httpx.Response(200, headers=headers, content=self.packed)

    def read(self, data: bytes) -> str:
        match zlib.crc32(data) % 4:
            case 0:
                return self.take("damaged", self.offer, data)
            case 1:
                digest, signed = signature.digest(data), signature.sign(data, self.stranger)
                return self.take("forged", self.offer.model_copy(update={"digest": digest, "signature": signed}), data)
            case 2:
                return self.unpack(data)
            case _:
                digest, signed = signature.digest(data), signature.sign(data, self.district.key)
                fitting = self.offer.model_copy(update={"digest": digest, "signature": signed})
                return self.take("signed", fitting, data)

    def unpack(self, data: bytes) -> str:
        held = signature.digest(self.before)
        words = zstandard.ZstdCompressionDict(self.before, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        packed = zstandard.ZstdCompressor(dict_data=words, write_content_size=True).compress(self.policy)
        place = zlib.adler32(data) % len(packed)
        self.packed = packed[:place] + data[:8] + packed[place + 1 :]
        try:
            policy = self.transfer.policy(self.offer.digest, (held, self.before))
        except Refused as error:
            assert error.reason
            return "packed: cannot be unpacked"
        return self.take("packed", self.offer, policy)

    def take(self, how: str, offer: Offer, policy: bytes) -> str:
        try:
            held = self.store.accept(offer, policy, self._base, self.district.pin)
        except Refused as error:
            assert error.reason and self.current.read_bytes() == self.kept
            return f"{how}: refused"
        assert held.digest == hashlib.sha256(policy).hexdigest()
        snapshot = self.store.load(None)
        assert snapshot is not None and snapshot.digest == held.digest
        assert snapshot.policy == load(policy) and snapshot.policy.district == self.district.pin.district
        if how != "signed":
            assert policy == self.policy, "a node served what the district had not signed"
        self.current.write_bytes(self.kept)
        (self.current.parent / "previous.json").unlink(missing_ok=True)
        return f"{how}: kept as it was signed"

    def _base(self, digest: str, file: BinaryIO) -> None:
        if digest not in self.district.objects:
            raise Refused("the portal offers it but does not have it", passing=True)
        file.write(self.district.objects[digest])


def run(count: int, seed: int = 0) -> Counter[str]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        node = Node(Path(folder))
        return feed(count, mixed([node.policy], as_json=True), node.read, seed)
