"""Why was this blocked? Open to everybody; where browsers land that were sent to a blocked site."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import Response

from portal import access
from portal.errors import Invalid
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.web import AnyVisit
from portal.verdicts import explain, why
from portal.verdicts.current import NothingPublished
from portal.verdicts.why import Why

router = APIRouter()


@router.get("/why")
def page(visit: AnyVisit, name: str = "", group: str = "") -> Response:
    form = Form(forms.of(name=name[:300]))
    found: Why | None = None
    status, code, wait = 200, "", 0
    if name.strip():
        address = visit.request.client.host if visit.request.client else ""
        wait = 0 if visit.signed_in is not None else visit.wired.pace.wait(address, visit.now)
    if name.strip() and not wait:
        try:
            with visit.reading() as session:
                snapshot = visit.wired.current.refresh(session)
            ask = explain.asks(visit.wired.look_up)  # no session waits for it
            explained = explain.explain(snapshot, name, visit.now, why.known_group(snapshot, group), ask=ask)
            with visit.reading() as session:
                found = why.why(session, snapshot, explained)
                code = why.remembered(session, found.name, found.group) if found.askable else ""
        except Invalid as error:
            form, status = forms.refused(form.typed, error), error.status
        except NothingPublished:
            status = 503
    if found is not None and found.askable and not code:
        with visit.writing() as session:
            code = why.make_code(session, found.name, found.group, visit.now)
    with visit.reading() as session:
        answer = visit.page(
            session,
            "why.html",
            429 if wait else status,
            form=form,
            found=found,
            group=found.group if found is not None else "",
            code=code,
            wait=wait,
            starting=status == 503,
            ask=_ask(found, code),
            may_submit=visit.signed_in is not None and access.may_submit(visit.signed_in.actor),
        )
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer


def _ask(found: Why | None, code: str) -> str:
    if found is None:
        return "/requests/new"
    return f"/requests/new?{urlencode({'code': code} if code else {'tool': found.name})}"
