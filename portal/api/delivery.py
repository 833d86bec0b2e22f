"""`/grants/{id}/delivery`: whether a grant, or its revocation, is in force on every resolver that serves its sites."""

from __future__ import annotations

from fastapi import APIRouter

from portal import access, delivery
from portal.api.dependencies import READS, Answer, Caller, Moment, Number
from portal.delivery import Standing
from portal.errors import NotFound
from portal.models import GrantRow

router = APIRouter(prefix="/grants", tags=["grants"])


class WaitingOut(Answer):
    name: str
    last_seen_at: Moment | None


class DeliveryOut(Answer):
    """`acked` of `expected` resolvers have it; `complete`: all of them. `millis`: from the decision's commit to the
    last acknowledgement, on the portal's clock."""

    state: Standing
    complete: bool
    acked: int
    expected: int
    waiting_for: list[WaitingOut]
    millis: int | None


@router.get("/{number}/delivery", responses=READS)
def get(call: Caller, number: Number) -> DeliveryOut:
    """How far a grant, or its revocation, has come."""
    access.require(access.may_see_grants(call.actor), "Sign in to see grants.")
    with call.reading() as session:
        row = session.get(GrantRow, number)
        if row is None:
            raise NotFound(f"There is no grant {number}.")
        return DeliveryOut.model_validate(delivery.in_force(session, row, call.now))
