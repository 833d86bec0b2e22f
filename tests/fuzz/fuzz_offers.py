"""Damaged offers at a node that holds version 5: refused with a reason, or carried out as the offer that was signed.

What the portal does not have cannot be fetched; what is fetched goes through the store's checks. Whatever is offered,
the node holds version 5 or the signed version 6 afterwards, and nothing else.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from pathlib import Path

from pydantic import ValidationError

from blocklists.exchange import Offer
from resolver.delivery.enrolment import Identity
from resolver.delivery.keyring import Keyring
from resolver.delivery.policy_store import PolicyStore, Refused
from tests.fuzz.mutation import feed, mixed
from tests.resolver.fake_portal import District, base_of

MEMORY = Path("/dev/shm")  # what is written durably 100,000 times


def _identity(district: District) -> Identity:
    return Identity(
        node=1,
        credential="secret",
        portal="http://127.0.0.1:1",
        district=district.pin.district,
        public_key=district.public_key.hex(),
        name="edison",
        sites=(),
    )


class Node:
    """A store of its own, and the district that it trusts."""

    def __init__(self, folder: Path) -> None:
        self.district = District()
        self.store = PolicyStore(folder)
        self.store.create()
        self.keys = Keyring(folder, _identity(self.district))
        self.current = folder / "current.json"
        offer, policy = self.district.publish(5)
        self.store.accept(offer, policy, self.district.source, self.district.pin)
        self.kept = self.current.read_bytes()
        self.newer, _ = self.district.publish(6, base_of("instagram.com", "tiktok.com"))
        self.store.accept(self.newer, self.district.objects[self.newer.digest], self.district.source, self.district.pin)
        self.good = {self.kept: offer, self.current.read_bytes(): self.newer}  # what it may hold, byte for byte
        self.forget()
        successor = {"public_key": "1" * 64, "at": 1_789_999_999, "old_until": 2_000_000_000, "signature": "2" * 128}
        stranger, _ = District().publish(6)
        self.strange: dict[str, list[object]] = {
            "version": [1, 4, 7, 2**53, 0, -1, "6", 6.0],
            "digest": [stranger.digest, "0" * 64, offer.base],
            "signature": [stranger.signature, "0" * 128, offer.signature.upper()],
            "base": [offer.digest, "0" * 64],
            "keys": [[], [successor], [successor, successor]],
        }

    def forget(self) -> None:
        """Back to version 5, as if version 6 had never come."""
        self.current.write_bytes(self.kept)
        (self.current.parent / "previous.json").unlink(missing_ok=True)

    def read(self, data: bytes) -> str:
        try:
            offer = Offer.model_validate_json(data)
        except ValidationError as error:
            assert error.errors()[0]["msg"]
            return "no offer"
        try:
            policy = self.district.objects.get(offer.digest)
            if policy is None:
                raise Refused("the portal offers it but does not have it")
            assert self.keys.learn(offer.keys, 1_790_000_000.0) == 0, "a key that nobody signed was learned"
            self.store.accept(offer, policy, self.district.source, self.keys.accepted(1_790_000_000.0))
        except Refused as error:
            assert error.reason and self.current.read_bytes() == self.kept
            return "refused"
        held = self.good[self.current.read_bytes()]  # what did not verify would be a `KeyError`
        assert (offer.version, offer.digest, offer.signature, offer.base) == (
            held.version,
            held.digest,
            held.signature,
            held.base,
        )
        self.forget()
        return f"carried out as version {held.version}"

    def make(self, rng: random.Random) -> bytes:
        """Half the time an offer whose parts are each what one might be, from different offers; else damaged bytes."""
        seeds = [offer.model_dump_json().encode() for offer in self.good.values()]
        if rng.random() < 0.5:
            return mixed(seeds, as_json=True)(rng)
        plain = json.loads(rng.choice(seeds))
        for name in rng.sample(list(plain), rng.randint(0, 2)):
            others = [json.loads(seed)[name] for seed in seeds]
            plain[name] = rng.choice([*others, *self.strange[name]])
        return json.dumps(plain).encode()


def run(count: int, seed: int = 0) -> Counter[str]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        node = Node(Path(folder))
        return feed(count, node.make, node.read, seed)
