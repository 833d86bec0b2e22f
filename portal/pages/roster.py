"""A roster of employees from a file: what would change first, then the same file again to import it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from portal import access
from portal.errors import Invalid
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import PersonVisit, SignedVisit
from portal.people import roster, sessions
from portal.people.roster import Report

router = APIRouter()

SHOWN = 500  # lines of a report


@dataclass(frozen=True, slots=True)
class Upload:
    csrf: str
    action: str
    content: bytes


async def uploaded(request: Request) -> Upload:
    """The form with its one file; the guard has bounded its size."""
    async with request.form(max_files=1, max_fields=10) as data:
        file = data.get("file")
        content = await file.read() if isinstance(file, UploadFile) else b""
        return Upload(str(data.get("csrf", "")), str(data.get("action", "")), content)


@router.get("/people/import")
def page(visit: PersonVisit) -> Response:
    return _page(visit, Form())


@router.post("/people/import")
def send(visit: PersonVisit, upload: Annotated[Upload, Depends(uploaded)]) -> Response:
    assert visit.signed_in is not None
    sessions.check_csrf(visit.signed_in, upload.csrf)
    access.require(access.may_administer(visit.actor), "Only an administrator imports people.")
    work = roster.run if upload.action == "import" else roster.dry_run
    try:
        files = roster.unpack(upload.content)
        with visit.writing() as session:
            report = work(session, visit.actor, visit.now, files)
    except Invalid as error:
        return _page(visit, forms.refused({}, error), status=error.status)
    return _page(visit, Form(), report, upload.action == "import")


def _page(
    visit: SignedVisit, form: Form, report: Report | None = None, done: bool = False, status: int = 200
) -> Response:
    access.require(access.may_administer(visit.actor), "Only an administrator imports people.")
    with visit.reading() as session:
        return visit.page(session, "people/import.html", status, form=form, report=report, done=done, shown=SHOWN)
