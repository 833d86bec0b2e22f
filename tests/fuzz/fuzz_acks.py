"""Damaged acks at a portal: no ack, refused with a sentence, or counted for the version that they name.

The node was offered versions 2 and 3. Nothing that it says makes another version acknowledged, or one of another
digest.
"""

from __future__ import annotations

import json
import random
from collections import Counter

from pydantic import ValidationError
from sqlmodel import Session, SQLModel, col, create_engine, select

from blocklists.exchange import Ack
from portal.models.delivery import BaseFile, Delivery, Node, PolicyVersion
from portal.nodes import reports
from tests.fuzz.mutation import feed, mixed

DIGESTS = {version: f"{version:064x}" for version in (1, 2, 3)}
OFFERED = (2, 3)
NOW_MS = 1_790_000_000_000


class Portal:
    """One node, three versions, in memory; what an ack changes is undone after it was looked at."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://")
        SQLModel.metadata.create_all(self._engine)
        self._session = Session(self._engine)
        self._session.add(BaseFile(digest="b" * 64, size=1, names=1, created_at=1, current=True))
        self._session.add(Node(id=1, name="edison", credential_hash="x", enrolled_at=1))
        self._session.flush()
        for version, digest in DIGESTS.items():
            times = {"decided_at_ms": NOW_MS, "published_at_ms": NOW_MS}
            row = PolicyVersion(version=version, digest=digest, base="b" * 64, signature="", body=b"{}", **times)
            self._session.add(row)
        self._session.flush()
        for version in OFFERED:
            self._session.add(Delivery(node_id=1, version=version, offered_at_ms=NOW_MS))
        self._session.commit()

    def read(self, data: bytes) -> str:
        try:
            message = Ack.model_validate_json(data)
        except ValidationError as error:
            assert error.errors()[0]["msg"]
            return "no ack"
        try:
            refusal = reports.ack(self._session, 1, message, NOW_MS)
            acked = select(Delivery.version).where(col(Delivery.acked_at_ms).is_not(None))
            counted = self._session.exec(acked).all()
        finally:
            self._session.rollback()
        if refusal is not None:
            assert refusal and not counted, f"refused ({refusal}) and counted: {counted}"
            return "refused"
        assert counted == [message.version] and message.version in OFFERED, f"{message} counted for {counted}"
        assert message.digest == DIGESTS[message.version], f"{message} counted with another digest"
        return f"counted for version {message.version}"

    def close(self) -> None:
        self._session.close()
        self._engine.dispose()


def make(rng: random.Random) -> bytes:
    """Half the time an ack whose parts are each what one might be; else damaged bytes."""
    version = rng.choice((*DIGESTS, 0, 4, 2**53, -1, True, "2", 2.0, None))
    digest = rng.choice((*DIGESTS.values(), f"{4:064x}", f"{10:064X}", "", None))
    if rng.random() < 0.5:
        return json.dumps({"version": version, "digest": digest}).encode()
    seeds = [json.dumps({"version": one, "digest": its}).encode() for one, its in DIGESTS.items()]
    return mixed(seeds, as_json=True)(rng)


def run(count: int, seed: int = 0) -> Counter[str]:
    portal = Portal()
    try:
        return feed(count, make, portal.read, seed)
    finally:
        portal.close()
