"""Lists: the sources with what their last fetch gave, the update under way or held, earlier bases, and a look-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlmodel import Session
from sse_starlette import EventSourceResponse
from starlette.datastructures import UploadFile
from starlette.responses import Response

from blocklists.diff import Guard
from blocklists.formats.detect import Format
from portal import access
from portal.access import Actor
from portal.errors import Conflict, Invalid, NotFound
from portal.lists import builds, listjob, lookup, sources
from portal.lists.sources import SourceDraft, SourceView
from portal.models.lists import BaseBuild, BuildState
from portal.pages import forms, frame, streams
from portal.pages.forms import Form
from portal.pages.web import Number, PersonVisit, Sent, SentForm, SignedVisit, go, signed_visit
from portal.pages.words import Option, Word
from portal.people import sessions
from portal.rules import blocking

router = APIRouter()

_NOT_YOURS = "The lists are shown to reviewers, administrators and auditors."
_ONLY_ADMINISTRATORS = "Only an administrator changes the lists."
_STATES: dict[BuildState, Word] = {
    BuildState.WAITING: Word("Waiting for its turn", "wait", "wait"),
    BuildState.BUILDING: Word("Building", "info", "wait"),
    BuildState.HELD: Word("Held for an administrator", "wait", "alert"),
    BuildState.CURRENT: Word("Current", "open", "yes"),
    BuildState.REPLACED: Word("Replaced", "done", "done"),
    BuildState.REFUSED: Word("Refused", "shut", "no"),
    BuildState.FAILED: Word("Failed", "shut", "alert"),
}
_TOUCHED: dict[str, str] = {
    Guard.PLATFORM: "Platforms whose names it would list",
    Guard.GRANT: "Grants whose names it would list",
    Guard.RECENT: "Names in use that it would block",
    Guard.PROTECTED: "Protected names that it would block",
}
_ITSELF = "The update itself"


@dataclass(frozen=True, slots=True)
class _Row:
    view: SourceView
    word: Word


@router.get("/lists")
def page(visit: PersonVisit, name: str = "") -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form(forms.of(name=name)))


@router.get("/lists/events")
def events(visit: PersonVisit) -> EventSourceResponse:
    return streams.watch(visit, lambda session, actor, now: _seen(visit, session, actor, now))


@router.get("/lists/updates/{number}")
def update(visit: PersonVisit, number: Number) -> Response:
    with visit.reading() as session:
        return _update(visit, session, number, Form())


@router.post("/lists/sources/{source}/{deed}")
def change(visit: SentForm, source: str, deed: str) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
    try:
        with visit.writing() as session:
            if deed in ("on", "off"):
                sources.switch(session, visit.actor, visit.now, source, deed == "on")
            elif deed == "fetch":
                sources.fetch_now(session, visit.actor, visit.now, source)
            elif deed == "choose":
                category, format = visit.value("category"), visit.value("format")
                sources.choose(session, visit.actor, visit.now, source, category, format)
            else:
                raise Invalid("There is no such action.")
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    visit.wired.list_job.wake()
    return go(f"/lists#list-{source}")


@dataclass(frozen=True, slots=True)
class _Upload:
    sent: Sent
    name: str
    data: bytes


async def _with_file(request: Request, visit: Annotated[SignedVisit, Depends(signed_visit)]) -> _Upload:
    """A form with at most one file, which the size of a request bounds."""
    async with request.form(max_files=1, max_fields=50) as data:
        typed = forms.typed(data)
        assert visit.signed_in is not None
        sessions.check_csrf(visit.signed_in, typed.get("csrf", [""])[0])
        sent = Sent(visit.request, visit.wired, visit.now, visit.signed_in, visit.actor, typed)
        file = data.get("file")
        if isinstance(file, UploadFile):
            return _Upload(sent, file.filename or "", await file.read())
    return _Upload(sent, "", b"")


@router.post("/lists/sources")
def add(upload: Annotated[_Upload, Depends(_with_file)]) -> Response:
    """A list of the district's own, by address or as a file."""
    visit = upload.sent
    hours = visit.number("every_hours") or 24
    draft = SourceDraft(
        visit.value("id").strip(),
        visit.value("title"),
        visit.value("category"),
        visit.value("url"),
        visit.value("format"),
        visit.value("licence"),
        hours,
    )
    try:
        with visit.writing() as session:
            private = visit.wired.config.private_lists
            sources.add_with_file(session, visit.actor, visit.now, draft, upload.data, private)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), error.status)
    visit.wired.list_job.wake()
    return go(f"/lists#list-{draft.id}")


@router.post("/lists/updates/{number}/{deed}")
def decide(visit: SentForm, number: Number, deed: str) -> Response:
    access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
    reason = visit.value("reason")
    try:
        with visit.writing() as session:
            if deed == "approve":
                builds.approve(session, visit.actor, visit.now, visit.wired.bases, number, reason)
            elif deed == "refuse":
                builds.refuse(session, visit.actor, visit.now, number, reason)
            else:
                raise Invalid("There is no such action.")
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _update(visit, session, number, forms.refused(visit.typed, error), error.status)
    return go("/lists")


@router.post("/lists/roll-back")
def roll_back(visit: SentForm) -> Response:
    try:
        with visit.writing() as session:
            wanted, reason = visit.value("digest"), visit.value("reason")
            builds.roll_back(session, visit.actor, visit.now, visit.wired.bases, wanted, reason)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused({}, error), error.status)
    return go("/lists")


def _page(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), _NOT_YOURS)
    found = None
    if form.value("name"):
        try:
            found = lookup.look_up(session, visit.wired.bases, form.value("name"))
        except Invalid as error:
            form, status = forms.refused(form.typed, error), error.status
    rows = [_Row(view, _word(view)) for view in sources.sources(session, visit.now)]
    return visit.page(
        session,
        "lists/index.html",
        status,
        rows=rows,
        progress=listjob.progress(session),
        held=builds.held(session),
        history=[(build, _STATES[build.state]) for build in builds.recent(session) if build.made_at or build.error],
        earlier=builds.earlier(session, visit.wired.bases),
        trouble=visit.wired.list_job.trouble,
        found=found,
        categories=[Option(row.id, row.title) for row in blocking.categories(session)],
        formats=[Option(one.value, one.value) for one in Format],
        may_change=access.may_administer(visit.actor),
        live=frame.Live("/lists/events", _seen(visit, session, visit.actor, visit.now)),
        form=form,
    )


def _word(view: SourceView) -> Word:
    if not view.enabled:
        return Word("Off", "done", "done")
    if view.error:
        return Word("Failed; the last good copy serves" if view.found else "Failed", "shut", "alert")
    return Word("On", "open", "yes") if view.fetched_at else Word("On, not fetched yet", "wait", "wait")


def _seen(visit: SignedVisit, session: Session, actor: Actor, now: float) -> str:
    access.require(access.may_see_district(actor), _NOT_YOURS)
    newest = [(one.id, one.state) for one in builds.recent(session)]
    rows = [(one.id, one.enabled, one.checked_at, one.error) for one in sources.sources(session, now)]
    return frame.fingerprint(listjob.progress(session), newest, rows, visit.wired.list_job.trouble)


def _touched(build: BaseBuild) -> list[tuple[str, list[str]]]:
    """Return the sentences of the guards that hold it, under what they are about."""
    found: dict[str, list[str]] = {title: [] for title in (*_TOUCHED.values(), _ITSELF)}
    for one in build.reasons:
        found[_TOUCHED.get(one["guard"], _ITSELF)].append(one["sentence"])
    return [(title, sentences) for title, sentences in found.items() if sentences]


def _update(visit: SignedVisit, session: Session, number: int, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), _NOT_YOURS)
    build = session.get(BaseBuild, number)
    if build is None:
        raise NotFound(f"There is no update {number}.")
    return visit.page(
        session,
        "lists/update.html",
        status,
        build=build,
        word=_STATES[build.state],
        touched=_touched(build),
        may_decide=build.state is BuildState.HELD and access.may_administer(visit.actor),
        form=form,
    )
