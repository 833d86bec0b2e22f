"""`/lists`: the blocklists and service bundles of the current base, from its own manifest."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from blocklists.base import ListKind
from portal import access
from portal.api.dependencies import READS, Answer, Caller, Moment
from portal.wiring import Wiring, wiring

router = APIRouter(prefix="/lists", tags=["lists"])


class ListOut(Answer):
    """`names`: how many names the list brought. `fetched_at`: None for a list that ships with the product."""

    id: str
    title: str
    category: str
    kind: ListKind
    names: int
    source_digest: str
    fetched_at: Moment | None


class ListsOut(Answer):
    """`names`: distinct names in the base, after those that another covers were left out."""

    base: str
    names: int
    lists: list[ListOut]


@router.get("", responses=READS)
def find(call: Caller, wired: Annotated[Wiring, Depends(wiring)]) -> ListsOut:
    """Every list of the base that the newest policy is made for."""
    access.require(access.may_see_grants(call.actor), "Sign in to see the lists.")
    with call.reading() as session:
        base = wired.current.refresh(session).base
    found = [
        ListOut.model_validate(
            {
                "id": one.id,
                "title": one.title,
                "category": one.category,
                "kind": one.kind,
                "names": one.names,
                "source_digest": one.source_digest,
                "fetched_at": one.fetched_at or None,
            }
        )
        for one in base.lists
    ]
    return ListsOut(base=base.digest, names=base.keys, lists=found)
