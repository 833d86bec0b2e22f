"""How a resolver becomes a node of this portal, is known again, and is cut off.

An administrator makes a one-time token (an hour); the resolver spends it and gets a credential, of which only the hash
is kept. The credential opens `/api/v1/node/*` and nothing else, because no other route looks it up.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

from sqlalchemy import update
from sqlmodel import Session, col, select

from blocklists.exchange import Enrolled, Enrolment
from portal import audit
from portal.access import Actor, ActorKind, may_administer, require
from portal.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from portal.models.delivery import EnrolmentToken, Node
from portal.models.district import District, Site
from portal.nodes.keys import SigningKey
from portal.notices import Notice, tell
from portal.people.sessions import hash_secret

TOKEN_SECONDS = 3600
CREDENTIAL_PREFIX = "sgc_"
_TOKEN = re.compile(r"sgn_([A-Za-z0-9_-]{16,200})\.([0-9a-f]{64})\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}\Z")


def create_enrolment_token(
    session: Session, actor: Actor, now: float, fingerprint: str, replaces: str | None = None
) -> str:
    """Return a one-time token, shown once: `sgn_SECRET.FINGERPRINT`, for a node to pin this portal's key.

    `replaces` names a node that the token may take the place of (the same machine, installed anew); a name that no
    node has is passed over.
    """
    require(may_administer(actor), "Only an administrator enrols resolvers.")
    secret = secrets.token_urlsafe(32)
    old = None if replaces is None else _active(session, replaces)
    session.add(
        EnrolmentToken(
            secret_hash=hash_secret(secret),
            created_by=actor.reference,
            created_at=int(now),
            expires_at=int(now) + TOKEN_SECONDS,
            node_id=None if old is None else old.id,
        )
    )
    detail: dict[str, audit.Plain] = {"replaces": None if old is None else old.id}
    audit.record(session, actor, int(now * 1000), "node.token.create", "nodes", detail)
    return f"sgn_{secret}.{fingerprint}"


def enrol(session: Session, token: str, message: Enrolment, key: SigningKey, now: float) -> Enrolled:
    """Spend a token: return the new node's identity and credential.

    Raises `Forbidden` for a token that does not count, `Conflict` for a name that is taken, `Invalid` for a site that
    the district does not have.
    """
    row = _spend(session, token, key, now)
    name = message.name.strip()
    if not _NAME.match(name):
        raise Invalid("The node needs a name.", (FieldError("name", "Write up to 100 printable characters."),))
    sites = sorted(set(message.sites))
    known = set(session.exec(select(Site.id)))
    if unknown := [site for site in sites if site not in known]:
        error = FieldError(
            "sites", f"The district has no site {unknown[0]!r}; its sites are: {', '.join(sorted(known))}."
        )
        raise Invalid("The node names a site that the district does not have.", (error,))
    taken = _active(session, name)
    if taken is not None:
        if taken.id != row.node_id:
            raise Conflict(f"There is a node named {name!r}: retire that one first, or choose another name.")
        _end(session, taken, now)
    credential = CREDENTIAL_PREFIX + secrets.token_urlsafe(32)
    node = Node(name=name, sites=sites, credential_hash=hash_secret(credential), enrolled_at=int(now))
    session.add(node)
    session.flush()
    assert node.id is not None
    row.node_id = node.id
    session.add(row)
    actor = Actor(ActorKind.NODE, node.id, name, frozenset())
    detail: dict[str, audit.Plain | list[str]] = {
        "sites": sites,
        "software": message.software,
        "token_by": row.created_by,
        "replaces": None if taken is None else taken.id,
    }
    audit.record(session, actor, int(now * 1000), "node.identity.enrol", f"node:{node.id}", detail)
    district = session.get(District, 1)
    if district is None:
        raise Conflict("There is no district yet: the portal has not finished its first start.")
    return Enrolled(node=node.id, credential=credential, district=district.slug, public_key=key.public.hex())


def _spend(session: Session, token: str, key: SigningKey, now: float) -> EnrolmentToken:
    """Compare-and-set on `used_at`: of two that spend one token, one wins."""
    found = _TOKEN.match(token)
    if found is None:
        raise Forbidden("This is no enrolment token: copy the whole line, it begins with sgn_.")
    if found[2] != key.fingerprint:
        raise Forbidden("This token was made for another portal's key.")
    digest = hash_secret(found[1])
    spent = session.execute(
        update(EnrolmentToken)
        .where(col(EnrolmentToken.secret_hash) == digest, col(EnrolmentToken.used_at).is_(None))
        .where(col(EnrolmentToken.expires_at) > int(now))
        .values(used_at=int(now))
    )
    if spent.rowcount != 1:  # type: ignore[attr-defined]
        raise Forbidden("This token is unknown, was used, or is older than an hour: make a new one.")
    return session.exec(select(EnrolmentToken).where(col(EnrolmentToken.secret_hash) == digest)).one()


def authenticate(session: Session, credential: str) -> Node | None:
    """Return the node whose credential this is; None when unknown or cut off."""
    if not credential.startswith(CREDENTIAL_PREFIX) or len(credential) > 200:
        return None
    wanted = select(Node).where(col(Node.credential_hash) == hash_secret(credential), col(Node.retired_at).is_(None))
    return session.exec(wanted).first()


def retire(session: Session, actor: Actor, now: float, node_id: int, reason: str) -> Node:
    """Cut a node off: its credential is worth nothing from the commit on, and no grant waits for it any more.

    The caller ends its open stream after the commit (`live.disconnect`); other portals hear of it, and end theirs.
    """
    require(may_administer(actor), "Only an administrator retires resolvers.")
    if not reason.strip():
        raise Invalid("A retirement needs a reason.", (FieldError("reason", "Say why this resolver is retired."),))
    node = session.get(Node, node_id)
    if node is None:
        raise NotFound(f"There is no node {node_id}.")
    if node.retired_at is not None:
        raise Conflict(f"{node.name} was retired before.")
    detail: dict[str, audit.Plain] = {"name": node.name, "reason": reason.strip()[:500]}
    _end(session, node, now)
    audit.record(session, actor, int(now * 1000), "node.identity.retire", f"node:{node_id}", detail)
    return node


def _end(session: Session, node: Node, now: float) -> None:
    """The row stays, for its history; its name is free again."""
    node.retired_at = int(now)
    node.name = f"{node.name} (retired, node {node.id})"
    session.add(node)
    session.flush()
    tell(session, Notice.NODES)


def cut_off(session: Session, nodes: Collection[int]) -> frozenset[int]:
    """Return those of these nodes whose credential is worth nothing any more."""
    if not nodes:
        return frozenset()
    active = select(Node.id).where(col(Node.id).in_(nodes), col(Node.retired_at).is_(None))
    return frozenset(nodes) - frozenset(number for number in session.exec(active) if number is not None)


def _active(session: Session, name: str) -> Node | None:
    wanted = select(Node).where(col(Node.name) == name.strip(), col(Node.retired_at).is_(None))
    return session.exec(wanted).first()
