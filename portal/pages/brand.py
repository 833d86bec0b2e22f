"""The district's own look: its logo and colour on every page, and the form that sets the logo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from portal.errors import NotFound
from portal.models.district import District
from portal.models.rules import Logo
from portal.pages.web import AnyVisit, PersonVisit, go
from portal.people import sessions
from portal.places import logo

router = APIRouter()

_FOR_GOOD = {"Cache-Control": "public, max-age=86400"}  # named by its content; an old name is a miss


async def _sent(request: Request) -> tuple[str, bytes]:
    """The form token and the file's bytes; at most one byte more than a logo may have is read."""
    async with request.form(max_files=1, max_fields=5) as data:
        file, token = data.get("logo"), data.get("csrf", "")
        found = await file.read(logo.MAX_BYTES + 1) if isinstance(file, UploadFile) else b""
        return (token if isinstance(token, str) else ""), found


@router.post("/set-up/logo")
def set_logo(visit: PersonVisit, sent: Annotated[tuple[str, bytes], Depends(_sent)]) -> Response:
    """Take the picture; without one, the product's own stands again."""
    assert visit.signed_in is not None
    token, data = sent
    sessions.check_csrf(visit.signed_in, token)
    with visit.writing() as session:
        logo.set_logo(session, visit.actor, visit.now, data)
    return go("/set-up")


@router.get("/logo.png")
def picture(visit: AnyVisit) -> Response:
    with visit.reading() as session:
        row = session.get(Logo, 1)
        if row is None:
            raise NotFound("This district has no logo of its own.")
        return Response(row.png, media_type="image/png", headers=_FOR_GOOD)


@router.get("/district.css")
def colour(visit: AnyVisit) -> Response:
    """One rule with the district's colour; nothing without one."""
    with visit.reading() as session:
        row = session.get(District, 1)
        found = "" if row is None or not row.colour else f".side {{ border-block-start: 6px solid {row.colour}; }}\n"
    return Response(found, media_type="text/css", headers=_FOR_GOOD)
