"""The page for what went wrong. It must come out even when the database does not answer."""

from __future__ import annotations

import logging

from fastapi import Request
from starlette.responses import Response

from portal import database
from portal.pages import frame
from portal.people import sessions
from portal.wiring import Wiring

log = logging.getLogger(__name__)

# What a person can do about it, where the sentence of the error does not say so.
_HELP = {
    401: "Sign in in a new tab, come back to this one, and send it again.",
    403: "If you need this for your work, ask an administrator for the role; your other pages still work.",
    404: "It may have been moved, or it is not yours to see. The address may also be mistyped.",
    409: "Nothing of yours was saved. Go back, reload, and look at it as it is now.",
    421: "Open the portal by the address that your district gave you.",
    500: "Nothing was changed by what you just did. If it happens again, tell the service desk the number above.",
    503: "Try again in a little while. If it happens again, tell the service desk.",
}


# For errors that come without a sentence of their own.
_WORDS = {
    404: ("Not found", "There is no page at this address."),
    405: ("Not possible", "This page cannot be used that way."),
}


def page(request: Request, status: int, title: str, detail: str) -> Response:
    if title == detail:
        title, detail = _WORDS.get(status, (title, ""))
    if status == 401:
        title = "You were signed out"
    typed: dict[str, list[str]] = getattr(request.state, "typed", {})
    kept = [(name, value) for name, values in typed.items() if name != "csrf" for value in values]
    context: dict[str, object] = {
        "status": status,
        "title": title,
        "detail": detail,
        "help": "" if kept and status == 403 else _HELP.get(status, ""),
        "kept": kept,
        "again": request.url.path,
    }
    try:
        wired = request.app.state.deps
        assert isinstance(wired, Wiring)
        with database.reading(wired.engine) as session:
            secret = request.cookies.get(sessions.COOKIE, "")
            signed_in = sessions.resolve(session, secret, wired.clock()) if secret else None
            return frame.page(request, session, signed_in, "error.html", status, **context)
    except Exception:
        log.exception("an error page was made without the database")
        return frame.bare("error.html", status, **context)
