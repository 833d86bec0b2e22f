"""`/policy`: the version in force as this portal published it: digest, signature, counts, and the exact bytes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlmodel import Session

from portal import access
from portal.access import Actor
from portal.api.dependencies import READS, Answer, Caller, Moment
from portal.errors import NotFound
from portal.models.delivery import PolicyVersion
from portal.nodes.publication import newest_version
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/policy", tags=["policy"])

Wired = Annotated[Wiring, Depends(wiring)]


class Counts(Answer):
    categories: int
    groups: int
    grants: int
    corrections: int
    protected: int
    brakes: int
    listed_names: int


class PolicyOut(Answer):
    """`signature`: Ed25519 over `schoolgate-policy-v1`, a zero byte and the bytes of `/policy/raw`; `key`: the SHA-256
    of the public key, as nodes pin it. `audit_head`: the hash of the audit row that was the newest when it was made."""

    version: int
    digest: str
    base: str
    signature: str
    key: str
    audit_head: str
    created_at: Moment
    published_at: Moment
    bytes: int
    counts: Counts


@router.get("", responses=READS)
def current(call: Caller, wired: Wired) -> PolicyOut:
    """The newest published policy."""
    with call.reading() as session:
        row = _newest(session, call.actor)
        snapshot = wired.current.refresh(session)
    policy = snapshot.policy
    counts = Counts(
        categories=len(policy.categories),
        groups=len(policy.groups),
        grants=len(policy.grants),
        corrections=len(policy.corrections),
        protected=len(policy.protected),
        brakes=len(policy.brakes),
        listed_names=snapshot.base.keys,
    )
    return PolicyOut.model_validate(
        {
            "version": row.version,
            "digest": row.digest,
            "base": row.base,
            "signature": row.signature,
            "key": wired.keys.current.fingerprint,
            "audit_head": policy.audit_head,
            "created_at": policy.created_at,
            "published_at": row.published_at_ms // 1000,
            "bytes": len(row.body),
            "counts": counts,
        }
    )


@router.get("/raw", responses=READS, response_class=Response)
def raw(call: Caller) -> Response:
    """Its exact bytes, as signed."""
    with call.reading() as session:
        row = _newest(session, call.actor)
    headers = {"ETag": f'"{row.digest}"', "Content-Disposition": f'attachment; filename="policy-{row.version}.json"'}
    return Response(row.body, media_type="application/json", headers=headers)


def _newest(session: Session, actor: Actor) -> PolicyVersion:
    access.require(access.may_see_district(actor), "The policy is shown to reviewers, administrators and auditors.")
    row = newest_version(session)
    if row is None:
        raise NotFound("No policy has been published yet.")
    return row
