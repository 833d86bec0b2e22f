"""`/users` and `/audit`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from portal import access, audit
from portal.api.dependencies import CHANGES, READS, Answer, Before, Caller, Limit, Message, Moment, Number, Word
from portal.models.people import User
from portal.models.words import Role
from portal.people import accounts, sessions
from portal.people.accounts import UserDraft

router = APIRouter(tags=["people"])

Email = Annotated[str, Field(max_length=320)]
Password = Annotated[str, Field(max_length=1000)]
Roles = Annotated[tuple[Word, ...], Field(max_length=20)]


class UserIn(Message):
    """Without a password the account cannot sign in with one."""

    email: Email
    name: Word
    roles: Roles
    site: Word | None = None
    password: Password | None = None


class UserPatch(Message):
    """What is left out stays; `site` null: of no one site."""

    email: Email | None = None
    name: Word | None = None
    roles: Roles | None = None
    site: Word | None = None
    password: Password | None = None
    disabled: bool | None = None


class UserOut(Answer):
    id: int
    email: str
    name: str
    roles: list[Role]
    site: str | None = Field(validation_alias="site_id")
    demo: bool
    disabled_at: Moment | None
    created_at: Moment


class UserList(Answer):
    users: list[UserOut]


class SessionOut(Answer):
    """A signed-in browser; `mine`: the one that asks."""

    id: str
    created_at: Moment
    last_seen_at: Moment
    expires_at: Moment
    mine: bool


class SessionList(Answer):
    sessions: list[SessionOut]


class AuditOut(Answer):
    """`hash` covers this event and `previous`, the hash of the one before it."""

    id: int
    at_ms: int
    actor: str
    actor_name: str
    tag: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str


class AuditList(Answer):
    events: list[AuditOut]
    head: str


@router.get("/users", responses=READS)
def users(call: Caller) -> UserList:
    with call.reading() as session:
        return UserList(users=[UserOut.model_validate(user) for user in accounts.users(session, call.actor)])


@router.post("/users", status_code=201, responses=CHANGES)
def create_user(call: Caller, message: UserIn) -> UserOut:
    access.require(access.may_administer(call.actor), "Only an administrator manages accounts.")
    hashed = "" if message.password is None else call.deps.passwords.hash(message.password)
    draft = UserDraft(message.email, message.name, message.roles, message.site)
    with call.writing() as session:
        return UserOut.model_validate(accounts.create_user(session, call.actor, call.now, draft, hashed))


@router.patch("/users/{number}", responses=CHANGES)
def update_user(call: Caller, number: Number, message: UserPatch) -> UserOut:
    access.require(access.may_administer(call.actor), "Only an administrator manages accounts.")
    hashed = None if message.password is None else call.deps.passwords.hash(message.password)
    who = (call.actor, call.now, number)
    with call.writing() as session:
        user = accounts.get(session, number)
        if message.model_fields_set & {"email", "name", "roles", "site"}:
            user = accounts.update_user(session, *who, _patched(user, message))
        if hashed is not None:
            user = accounts.reset_password(session, *who, hashed)
        if message.disabled is not None:
            user = (accounts.disable if message.disabled else accounts.enable)(session, *who)
        return UserOut.model_validate(user)


def _patched(user: User, message: UserPatch) -> UserDraft:
    return UserDraft(
        email=user.email if message.email is None else message.email,
        name=user.name if message.name is None else message.name,
        roles=tuple(user.roles) if message.roles is None else message.roles,
        site=message.site if "site" in message.model_fields_set else user.site_id,
    )


@router.get("/users/{number}/sessions", responses=READS)
def open_sessions(call: Caller, number: Number) -> SessionList:
    """One's own signed-in browsers, or anybody's for an administrator."""
    with call.reading() as session:
        found = sessions.open_sessions(session, call.actor, call.now, number)
    return SessionList(sessions=[SessionOut.model_validate(one) for one in found])


@router.delete("/users/{number}/sessions/{session_id}", status_code=204, responses=CHANGES)
def end_session(call: Caller, number: Number, session_id: Annotated[str, Path(max_length=16)]) -> None:
    with call.writing() as session:
        sessions.end_session(session, call.actor, call.now, number, session_id)


@router.get("/audit", responses=READS)
def events(
    call: Caller,
    subject: Annotated[str | None, Query(max_length=100)] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    before: Before = None,
    limit: Limit = 100,
) -> AuditList:
    """Who did what, newest first. `tag` may be the beginning of one."""
    with call.reading() as session:
        found = audit.find(session, call.actor, subject, tag, before, limit)
        return AuditList(events=[AuditOut.model_validate(event) for event in found], head=audit.head(session))
