"""Is the process alive (`/healthz`), and can it do its work (`/readyz`)? For supervisors: no sign-in, no secrets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from portal.database import reading
from portal.lists.bases import current_base
from portal.plight import plight
from portal.verdicts.current import NothingPublished
from portal.wiring import Wiring, wiring

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    """`ready`, and for each part `ok` or what is wrong with it."""

    ready: bool
    database: str
    base: str
    policy: str
    publisher: str


@router.get("/healthz")
async def healthz() -> Health:
    return Health(status="ok")


@router.get("/readyz")
def readyz(wired: Annotated[Wiring, Depends(wiring)], response: Response) -> Readiness:
    """200 when requests can be decided and published, else 503."""
    database = base = policy = "ok"
    try:
        with reading(wired.engine) as session:
            row = current_base(session)
            if row is None:
                base = "none yet"
            elif not wired.bases.file(row.digest).is_file():
                base = "its file is missing from the data folder; restore it from a backup, or update the lists"
    except SQLAlchemyError as error:
        database = str(plight(wired.engine.url, error))
    try:
        wired.current.get()
    except NothingPublished:
        policy = "nothing published yet"
    publisher = "ok" if wired.jobs.alive else "not running"
    if wired.jobs.trouble is not None:
        publisher = wired.jobs.trouble
    ready = database == base == policy == publisher == "ok"
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, database=database, base=base, policy=policy, publisher=publisher)
