"""The signing key's successors: a new key is a statement that the old one signed, kept as a row and sent with offers.

    rotate -> a key file, a row, a publication -> every node learns the new key from the old one's signature

Both keys are accepted until `old_until`; then the old one is worth nothing to any node that has heard of its successor.
A node that was away follows the whole chain from the key that it pinned.
"""

from __future__ import annotations

from sqlmodel import Session, col, select

from blocklists import signature
from blocklists.exchange import Succession
from portal import access
from portal.access import Actor
from portal.audit import Plain
from portal.models.delivery import KeySuccession
from portal.nodes.keys import SigningKey
from portal.outbox import record_change
from portal.places import district

DAY = 86_400
GRACE_DAYS = 30


def rotate(
    session: Session, actor: Actor, now: float, old: SigningKey, new: SigningKey, grace_days: int = GRACE_DAYS
) -> Succession:
    """Record that `new` follows `old`; ask for a publication, so that every node hears of it. Returns the statement."""
    access.require(access.may_administer(actor), "Only an administrator changes the signing key.")
    at, until = int(now), int(now) + grace_days * DAY
    body = signature.succession(district.get(session).slug, new.public, at, until)
    row = KeySuccession(
        public_key=new.public.hex(),
        at=at,
        old_until=until,
        signature=old.private.sign(body).hex(),
        created_by=actor.reference,
    )
    session.add(row)
    detail: dict[str, Plain] = {"old": old.fingerprint, "new": new.fingerprint, "old_until": until}
    record_change(session, actor, now, "policy.key.rotate", "key", detail)
    return _statement(row)


def chain(session: Session) -> tuple[Succession, ...]:
    """Return every statement, oldest first."""
    rows = session.exec(select(KeySuccession).order_by(col(KeySuccession.id)))
    return tuple(_statement(row) for row in rows)


def newest_key(session: Session) -> bytes | None:
    """Return the public key that signs now; None: the first one, which no statement names."""
    newest = session.exec(select(KeySuccession.public_key).order_by(col(KeySuccession.id).desc()).limit(1)).first()
    return None if newest is None else bytes.fromhex(newest)


def _statement(row: KeySuccession) -> Succession:
    return Succession(public_key=row.public_key, at=row.at, old_until=row.old_until, signature=row.signature)
