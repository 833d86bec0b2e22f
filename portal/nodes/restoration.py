"""A restored portal is held until an administrator says what counts.

A backup is older than what the nodes enforce: grants were given and taken away since. So a restored portal publishes
and offers nothing. Its nodes go on enforcing what they have, and say in their heartbeats which version that is; the
newest is asked back (`recall`), and believed because this portal's own key signed it. An administrator sees what the
two say differently and decides; then the next version is above everything that any node has shown.

    restored -> held -> (nodes report, the newest policy comes back) -> `release` -> published again

Nothing that was closed since the backup opens by itself: what only the backup would open is revoked unless it is kept
on purpose, and a brake or custom block that only the nodes know is set again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete
from sqlmodel import Session, col, select

from blocklists import policy_codec, signature
from blocklists.policy import Brake, Correction, CustomBlock, Grant, Policy
from portal import access, audit
from portal.access import Actor
from portal.doors import custom_blocks, grants
from portal.errors import Conflict, Invalid
from portal.fields import Mistakes
from portal.models.delivery import Node, RecoveredPolicy
from portal.models.levers import BrakeRow, CorrectionRow, CustomBlockRow, GrantRow
from portal.nodes.keys import SigningKey
from portal.nodes.publication import newest_version
from portal.outbox import record_change
from portal.places import district

MAX_BODY = 64 << 20  # bytes of a policy that a node sends back, unpacked


@dataclass(frozen=True, slots=True)
class Difference:
    """What the nodes' newest policy and the restored rows say differently, as far as it opens or closes something."""

    version: int  # the nodes'
    lost: tuple[Grant, ...]  # in force on the nodes, unknown here: they end with the next version
    reopened: tuple[Grant, ...]  # live here, no longer on the nodes: taken away since the backup
    brakes: tuple[Brake, ...]  # only on the nodes
    blocks: tuple[CustomBlock, ...]  # only on the nodes
    corrections: tuple[Correction, ...]  # live here, no longer on the nodes
    groups: tuple[str, ...]  # ids of groups that differ

    @property
    def empty(self) -> bool:
        return not (self.lost or self.reopened or self.brakes or self.blocks or self.corrections or self.groups)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the learning has come. `reported`: (node, version, seconds) of each that has spoken since."""

    held_at: int
    here: int  # newest version in the backup
    newest: int  # newest version that anybody has shown
    reported: tuple[tuple[str, int, int], ...]
    silent: tuple[str, ...]  # nodes that have not spoken yet
    difference: Difference | None  # None: the newest policy has not come back (or is the backup's own)


def wanted(session: Session, node_id: int) -> str | None:
    """Return the digest of the policy that this node shall send back; None when nothing is wanted of it."""
    row = district.get(session)
    node = session.get(Node, node_id)
    if row.held_at is None or node is None or not _spoke_since(node, row.held_at):
        return None
    version, digest = node.status.get("version"), node.status.get("digest")
    if not isinstance(version, int) or not isinstance(digest, str) or version <= _known(session):
        return None
    return digest


def take_back(session: Session, node_id: int, body: bytes, signed: str, key: SigningKey, now: float) -> None:
    """Keep a policy that a node sent back. Raises `Conflict` when nothing is wanted, `Invalid` when it is not ours."""
    row = district.get(session)
    if row.held_at is None:
        raise Conflict("This portal is not held: it needs no policy back.")
    try:
        signature.verify(body, signed, key.public)
        found = policy_codec.load(body)
    except (signature.BadSignature, policy_codec.BadPolicy) as error:
        raise Invalid(f"That is not a policy that this portal signed: {error}") from None
    if found.district != row.slug:
        raise Invalid("That is another district's policy.")
    if found.version <= _known(session):
        return
    session.execute(delete(RecoveredPolicy))
    digest = hashlib.sha256(body).hexdigest()
    session.add(RecoveredPolicy(version=found.version, digest=digest, body=body, node_id=node_id, at=int(now)))
    detail: dict[str, audit.Plain] = {"version": found.version, "digest": digest, "node": node_id}
    audit.record(session, access.SYSTEM, int(now * 1000), "policy.version.recover", f"policy:{found.version}", detail)


def standing(session: Session, actor: Actor, now: float) -> Standing | None:
    """Return where a held portal stands; None when it is not held."""
    access.require(access.may_administer(actor), "Only an administrator decides what a restored portal publishes.")
    row = district.get(session)
    if row.held_at is None:
        return None
    nodes = session.exec(select(Node).where(col(Node.retired_at).is_(None)).order_by(col(Node.name))).all()
    spoke = [one for one in nodes if _spoke_since(one, row.held_at)]
    reported = tuple((one.name, _version(one), one.last_seen_at or 0) for one in spoke)
    here = newest_version(session)
    kept = session.exec(select(RecoveredPolicy)).first()
    return Standing(
        held_at=row.held_at,
        here=0 if here is None else here.version,
        newest=max([_known(session), *(version for _, version, _ in reported)]),
        reported=reported,
        silent=tuple(one.name for one in nodes if one not in spoke),
        difference=None if kept is None else difference(session, policy_codec.load(kept.body), now),
    )


def difference(session: Session, nodes: Policy, now: float) -> Difference:
    """Compare the nodes' policy with the rows here, at this moment."""
    here = {grant.number: grant for grant in grants.live(session, now)}
    there = {
        grant.number: grant for grant in nodes.grants if grant.window.ends_at is None or grant.window.ends_at > now
    }
    brakes = set(session.exec(select(BrakeRow.name).where(col(BrakeRow.released_at).is_(None))))
    blocks = {_scope(block) for block in custom_blocks.live(session)}
    groups = {view.group.id: view.group for view in district.groups(session)}
    theirs = {group.id: group for group in nodes.groups}
    return Difference(
        version=nodes.version,
        lost=tuple(grant for number, grant in there.items() if here.get(number) != grant),
        reopened=tuple(grant for number, grant in here.items() if there.get(number) != grant),
        brakes=tuple(one for one in nodes.brakes if one.name not in brakes),
        blocks=tuple(one for one in nodes.blocks if _scope(one) not in blocks),
        corrections=tuple(one for one in _corrections(session) if one not in nodes.corrections),
        groups=tuple(sorted(one for one in groups.keys() | theirs.keys() if groups.get(one) != theirs.get(one))),
    )


def release(session: Session, actor: Actor, now: float, reason: str, keep: Collection[int] = ()) -> int:
    """Publish again, above every version that a node has shown; return the version that this continues from.

    What only the backup would open is revoked (grants, except those in `keep`) or ended (corrections); brakes and
    custom blocks that only the nodes know are set again. Raises `Conflict` when the portal is not held, `Invalid`
    without a reason.
    """
    found = standing(session, actor, now)
    if found is None:
        raise Conflict("This portal is not held.")
    mistakes = Mistakes()
    said = mistakes.text("reason", reason, "say why it is right to publish now: it goes into the audit", 500)
    mistakes.stop()
    assert actor.user_id is not None  # an administrator is a person
    revoked: list[int] = []
    if found.difference is not None:
        revoked = _close(session, actor, now, found.difference, keep)
    row = district.get(session)
    row.held_at, row.version_floor = None, max(row.version_floor, found.newest)
    session.add(row)
    session.execute(delete(RecoveredPolicy))
    detail: dict[str, audit.Plain] = {
        "reason": said,
        "above": found.newest,
        "revoked": revoked,
        "kept": sorted(keep),
        "silent": list(found.silent),
    }
    record_change(session, actor, now, "district.portal.release", "district", detail)
    return found.newest


def _close(session: Session, actor: Actor, now: float, found: Difference, keep: Collection[int]) -> list[int]:
    because = f"Restored from a backup: policy {found.version} of the nodes"
    revoked = []
    for grant in found.reopened:
        row = session.get(GrantRow, grant.number)
        if row is None or grant.number in keep:
            continue
        row.revoked_at, row.revoked_by, row.in_version = int(now), actor.user_id, None
        row.revoke_reason = f"{because} no longer holds it"
        session.add(row)
        revoked.append(grant.number)
    for one in found.corrections:
        ended = session.get(CorrectionRow, one.number)
        if ended is not None:
            ended.ended_at = int(now)
            session.add(ended)
    assert actor.user_id is not None  # an administrator is a person
    for brake in found.brakes:
        row_ = BrakeRow(name=brake.name, reason=f"{because} holds it", created_by=actor.user_id, created_at=int(now))
        session.add(row_)
    review = district.today(session, now).isoformat()
    for block in found.blocks:
        again = CustomBlockRow(
            name=block.name,
            match=block.match,
            sites=list(block.sites),
            audiences=[str(one) for one in block.audiences],
            reason=because,
            review_on=review,
            created_by=actor.user_id,
            created_at=int(now),
        )
        session.add(again)
    return revoked


def _corrections(session: Session) -> tuple[Correction, ...]:
    rows = session.exec(select(CorrectionRow).where(col(CorrectionRow.ended_at).is_(None)))
    return tuple(Correction(row.id or 0, row.name, row.match, tuple(row.lists)) for row in rows)


def _known(session: Session) -> int:
    """The newest version whose content is at hand: published here, or sent back."""
    kept = session.exec(select(RecoveredPolicy.version)).first()
    here = newest_version(session)
    return max(kept or 0, 0 if here is None else here.version)


def _spoke_since(node: Node, held_at: int) -> bool:
    return node.last_seen_at is not None and node.last_seen_at > held_at and bool(node.status)


def _version(node: Node) -> int:
    version = node.status.get("version")
    return version if isinstance(version, int) else 0


def _scope(block: CustomBlock) -> tuple[object, ...]:
    return block.name, block.match, frozenset(block.sites), frozenset(block.audiences)
