"""How an open page hears that it is out of date: server-sent events that carry the fingerprint of what it shows.

The stream sends the present fingerprint at once and each new one after it; the page compares, and fetches itself again
when they differ. So nothing is lost between rendering and listening, and a page is made in one place only. Holds no
database connection while it waits; ends when the session does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from sqlmodel import Session
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from portal import database
from portal.access import Actor
from portal.errors import Refused
from portal.nodes.live import DELIVERY, REQUESTS
from portal.pages.web import SignedVisit
from portal.people import sessions

LOOK_AGAIN = 15.0  # seconds: what another portal process changed, and what only time changes

Look = Callable[[Session, Actor, float], str]


def watch(visit: SignedVisit, look: Look) -> EventSourceResponse:
    """`look` returns the fingerprint that the page would have now, for this actor at this moment."""
    return EventSourceResponse(_fingerprints(visit, look), ping=15)


async def _fingerprints(visit: SignedVisit, look: Look) -> AsyncIterator[ServerSentEvent]:
    async with visit.wired.live.subscribe([REQUESTS, DELIVERY]) as events:
        sent = ""
        while not events.closed:
            seen = await run_in_threadpool(_look, visit, look)
            if seen is None:
                return
            if seen != sent:
                sent = seen
                yield ServerSentEvent(seen, event="seen")
            await events.next(LOOK_AGAIN)


def _look(visit: SignedVisit, look: Look) -> str | None:
    secret = visit.request.cookies.get(sessions.COOKIE, "")
    now = visit.wired.clock()
    with database.reading(visit.wired.engine) as session:
        signed_in = sessions.resolve(session, secret, now)
        if signed_in is None:
            return None
        try:
            return look(session, signed_in.actor, now)
        except Refused:
            return None
