"""One visit of a browser: who came, which portal it came to, and how a page is answered.

Browsers only: the session cookie is read here and nowhere else, and no bearer token is looked at. A form counts only
with the form token of its session. Every page is rendered inside the transaction that its figures came from.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, HTTPException, Path, Query, Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from portal import database
from portal.access import Actor
from portal.errors import Forbidden
from portal.pages import forms, frame
from portal.people import browsers, sessions
from portal.people.browsers import Known
from portal.people.sessions import SignedIn
from portal.wiring import Wiring, wiring

_MAX_ID = 2**31 - 1  # more than a database's INTEGER holds is an error there
Number = Annotated[int, Path(le=_MAX_ID)]
Before = Annotated[int | None, Query(ge=0, le=_MAX_ID)]

FORM_COOKIE = "schoolgate_form"  # before signing in: the form token that the sign-in page must send back


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser that need not be signed in."""

    request: Request
    wired: Wiring
    now: float
    signed_in: SignedIn | None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with database.reading(self.wired.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction, committed before the answer is made; then whoever publishes or watches is woken."""
        with database.transaction(self.wired.engine) as session:
            database.after_commit(session, self.wired.wake)
            yield session

    def page(self, session: Session, template: str, status: int = 200, /, **context: object) -> Response:
        return frame.page(self.request, session, self.signed_in, template, status, **context)


@dataclass(frozen=True, slots=True)
class SignedVisit(Visit):
    """A browser of a person."""

    actor: Actor


@dataclass(frozen=True, slots=True)
class Sent(SignedVisit):
    """A form that a person sent, with the form token of their own session."""

    typed: dict[str, list[str]]

    def value(self, name: str) -> str:
        return self.typed.get(name, [""])[0]

    def values(self, name: str) -> list[str]:
        return self.typed.get(name, [])

    def number(self, name: str) -> int:
        """Return a whole number from a hidden field; 0 for anything else, which matches no revision."""
        text = self.value(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def visit(request: Request, wired: Annotated[Wiring, Depends(wiring)]) -> Visit:
    now = wired.clock()
    secret = request.cookies.get(sessions.COOKIE)
    signed_in = None
    if secret:
        with database.reading(wired.engine) as session:
            signed_in = sessions.resolve(session, secret, now)
    return Visit(request, wired, now, signed_in)


def signed_visit(visit: Annotated[Visit, Depends(visit)]) -> SignedVisit:
    """Send everybody else to the sign-in page, and back here afterwards."""
    if visit.signed_in is None:
        here = visit.request.url
        wanted = here.path if visit.request.method == "GET" else "/"
        if visit.request.method == "GET" and here.query:
            wanted += f"?{here.query}"
        raise HTTPException(303, "Sign in to see this page.", {"Location": f"/sign-in?next={quote(wanted)}"})
    return SignedVisit(visit.request, visit.wired, visit.now, visit.signed_in, visit.signed_in.actor)


async def posted(request: Request) -> dict[str, list[str]]:
    async with request.form(max_files=0, max_fields=2_000) as data:
        return forms.typed(data)


def sent(visit: Annotated[Visit, Depends(visit)], typed: Annotated[dict[str, list[str]], Depends(posted)]) -> Sent:
    if _from_our_page(visit.request) and not any("pass" in name for name in typed):
        visit.request.state.typed = typed  # an error page gives it back, so that nothing typed is lost
        if visit.signed_in is None:
            raise HTTPException(401, "Nothing was sent yet, and nothing is lost.")
    person = signed_visit(visit)
    assert person.signed_in is not None
    try:
        sessions.check_csrf(person.signed_in, typed.get("csrf", [""])[0])
    except Forbidden:
        if not hasattr(visit.request.state, "typed"):
            raise
        raise Forbidden(
            "You have signed in anew since this page was made. Read what you typed, and send it again."
        ) from None
    return Sent(visit.request, visit.wired, visit.now, visit.signed_in, person.actor, typed)


def _from_our_page(request: Request) -> bool:
    """True when the browser says that a page of this portal sent the form. What another site had somebody send is never
    given back to be sent again."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")


AnyVisit = Annotated[Visit, Depends(visit)]
PersonVisit = Annotated[SignedVisit, Depends(signed_visit)]
SentForm = Annotated[Sent, Depends(sent)]
Posted = Annotated[dict[str, list[str]], Depends(posted)]


def go(where: str) -> Response:
    """After a form was taken: look at the result with GET."""
    return RedirectResponse(where, 303)


def safe_next(wanted: str) -> str:
    """Return a path of this portal to go on to; `/` for anything that could lead elsewhere."""
    try:
        parts = urlsplit(wanted)
    except ValueError:  # such as `//[`
        return "/"
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return wanted if ours and wanted.isprintable() and "\\" not in wanted else "/"


def form_token(request: Request) -> str:
    """Return the form token of a browser that is not signed in, a new one when it has none."""
    known = request.cookies.get(FORM_COOKIE, "")
    return known if 20 <= len(known) <= 100 else secrets.token_urlsafe(32)


def check_form_token(request: Request, typed: dict[str, list[str]]) -> None:
    known, came = request.cookies.get(FORM_COOKIE, ""), typed.get("csrf", [""])[0]
    if not known or not hmac.compare_digest(known.encode(), came.encode()):
        raise Forbidden("This page is too old to be sent. Reload it and try again; the portal needs cookies.")


def known_browser(visit: Visit) -> Known | None:
    """Return whose browser this is, by the mark of an earlier sign-in."""
    return browsers.known(visit.wired.sealer, visit.request.cookies.get(browsers.COOKIE, ""), visit.now)


def set_cookie(response: Response, wired: Wiring, name: str, value: str, seconds: int | None = None) -> None:
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="lax", secure=wired.config.secure_cookies, path="/"
    )
