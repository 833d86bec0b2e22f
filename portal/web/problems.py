"""Errors at the HTTP edge, translated once: problem+json (RFC 9457) for programs, a page for people.

Services raise the tree of `errors.py`; frameworks raise theirs; a bug raises anything, and is answered with a number
that stands beside it in the log.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from portal.errors import FieldError, Refused
from portal.plight import plight
from portal.web.security import HEADERS

log = logging.getLogger(__name__)

# (request, status, title, sentence) -> a page; `portal.pages` brings it.
ErrorPage = Callable[[Request, int, str, str], Response]


def problem(
    status: int,
    title: str,
    detail: str,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the problem+json answer."""
    content: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors:
        content["errors"] = [{"field": one.field, "message": one.message} for one in errors]
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def install(app: FastAPI, page: ErrorPage | None = None) -> None:
    """Give `app` its error handlers; without `page`, people get plain text."""

    def answer(
        request: Request,
        status: int,
        title: str,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
            return problem(status, title, detail, errors, headers)
        if page is None:
            response: Response = PlainTextResponse(f"{title}\n\n{detail}\n", status)
        else:
            response = page(request, status, title, detail)
        response.headers.update(headers or {})
        return response

    # Plain functions: an error page looks at the database, so it is made on a thread, not on the event loop.
    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return answer(request, error.status, error.title, error.detail, error.errors)

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if 300 <= error.status_code < 400:
            return Response(status_code=error.status_code, headers=error.headers)
        title = HTTPStatus(error.status_code).phrase
        return answer(request, error.status_code, title, str(error.detail), (), error.headers)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = tuple(FieldError(_path(one["loc"]), str(one["msg"])) for one in error.errors()[:50])
        return answer(request, 422, "Something needs mending", "What was sent cannot be read.", errors)

    def bug(request: Request, error: Exception) -> Response:
        number = secrets.token_hex(4)
        log.error("error %s at %s %s", number, request.method, request.url.path, exc_info=error)
        detail = f"This is our mistake. It is in the portal's log as number {number}."
        response = answer(request, 500, "Something went wrong", detail)
        response.headers.update(HEADERS)  # this answer is made outside the guard
        return response

    def unwritable(request: Request, error: Exception) -> Response:
        """A full or read-only disk, a database that went away: nothing was changed, and it may pass."""
        assert isinstance(error, OperationalError)
        why = plight(request.app.state.deps.engine.url, error)
        log.error("the database failed at %s %s: %s (%s)", request.method, request.url.path, why, error.orig)
        detail = f"Nothing was changed: {why.what}. An administrator finds on the page Resolvers how it is mended."
        return answer(request, 503, "The portal cannot write this down", detail)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(OperationalError, unwritable)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, bug)


def _path(place: tuple[int | str, ...]) -> str:
    """`("body", "tools", 0, "name")` -> `tools[0].name`."""
    text = ""
    for part in place[1:] or place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
