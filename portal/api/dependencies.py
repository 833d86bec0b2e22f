"""One call of the API: who calls, which portal was called, when; and how its routes open the database.

A bearer token, or a browser's session cookie together with the session's form token in `X-CSRF-Token` on everything
that changes something. A route opens one transaction, calls one service and builds its answer inside it; what it
changed is committed before the answer is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from portal import database
from portal.access import Actor
from portal.deps import Deps
from portal.errors import Forbidden
from portal.people import sessions

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_ID = 2**31 - 1

Number = Annotated[int, Path(ge=1, le=_MAX_ID)]
Revision = Annotated[int, Field(ge=1, le=_MAX_ID, description="The revision that was read; a stale one is refused.")]
Before = Annotated[int | None, Query(ge=1, le=_MAX_ID, description="Only what has a smaller id: to page on.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Word = Annotated[str, Field(max_length=100)]
Text = Annotated[str, Field(max_length=10_000)]
Slug = Annotated[str, Path(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Moment = datetime  # filled with whole seconds since 1970, sent as RFC 3339 in UTC


class Message(BaseModel):
    """What a caller sends: nothing but the named fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a caller gets, read from a service's value."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route, for the OpenAPI document."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    meant = {
        401: "Who are you?",
        403: "Not allowed",
        404: "Not found",
        409: "Somebody was faster",
        422: "Needs mending",
        429: "Too many at once",
    }
    return {status: {"description": meant[status], "content": content} for status in statuses}


READS = problems(401, 403, 404, 422)
CHANGES = problems(401, 403, 404, 409, 422)


@dataclass(frozen=True, slots=True)
class Call:
    deps: Deps
    actor: Actor
    now: float

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with database.reading(self.deps.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction, committed at the end of the block; then whoever publishes is woken."""
        with database.transaction(self.deps.engine) as session:
            database.after_commit(session, self.deps.wake)
            yield session


def deps(request: Request) -> Deps:
    found = request.app.state.deps
    assert isinstance(found, Deps)
    return found


def call(request: Request) -> Call:
    """As a route's dependency: who calls. 401 for nobody known, 403 for a browser without its form token."""
    given = deps(request)
    now = given.clock()
    bearer = request.headers.get("authorization")
    with database.reading(given.engine) as session:
        if bearer is not None:
            scheme, _, secret = bearer.partition(" ")
            actor = sessions.resolve_token(session, secret.strip(), now) if scheme.lower() == "bearer" else None
            if actor is None:
                raise _unknown("This token is unknown, expired or revoked.")
            if actor.reads_only and request.method not in _SAFE:
                raise Forbidden("This token only reads. Make one whose scope is to change.")
            return Call(given, actor, now)
        secret = request.cookies.get(sessions.COOKIE, "")
        signed_in = sessions.resolve(session, secret, now) if secret else None
    if signed_in is None:
        raise _unknown("Send a token as `Authorization: Bearer …`, or sign in.")
    if request.method not in _SAFE:
        sessions.check_csrf(signed_in, request.headers.get("x-csrf-token"))
    return Call(given, signed_in.actor, now)


def _unknown(sentence: str) -> HTTPException:
    return HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})


Caller = Annotated[Call, Depends(call)]
