"""Tokens: bearer secrets for programs. A new one is shown in the one answer that makes it and kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.errors import Invalid
from portal.models.people import ApiToken
from portal.models.words import Role, Scope
from portal.pages import forms
from portal.pages.forms import Form
from portal.pages.people import ROLES
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Word
from portal.people import accounts, directory
from portal.people.accounts import TokenDraft

router = APIRouter()

_VALID, _REVOKED, _EXPIRED = Word("Valid", "open", "yes"), Word("Revoked", "done", "no"), Word("Expired", "done", "no")
_SCOPES = {Scope.READ: "reads", Scope.CHANGE: "reads and changes"}


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    role: str
    scope: str
    owner: str
    word: Word
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    live: bool


@router.get("/tokens")
def overview(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _page(visit, session, Form(forms.of(days="90", scope=Scope.READ)))


@router.post("/tokens")
def create(visit: SentForm) -> Response:
    machine = visit.value("for") == "machine"
    draft = TokenDraft(visit.value("name"), visit.value("role"), machine, visit.number("days"), visit.value("scope"))
    try:
        with visit.writing() as session:
            secret = accounts.create_token(session, visit.actor, visit.now, draft).secret
    except Invalid as error:
        with visit.reading() as session:
            return _page(visit, session, forms.refused(visit.typed, error), status=error.status)
    with visit.reading() as session:
        return _page(visit, session, Form(forms.of(days="90", scope=Scope.READ)), secret)


@router.post("/tokens/{number}/revoke")
def revoke(visit: SentForm, number: Number) -> Response:
    with visit.writing() as session:
        accounts.revoke_token(session, visit.actor, visit.now, number)
    return go("/tokens")


def _page(visit: SignedVisit, session: Session, form: Form, secret: str = "", status: int = 200) -> Response:
    found = accounts.tokens(session, visit.actor)
    names = directory.owners(session, found)
    everything = access.may_administer(visit.actor)
    return visit.page(
        session,
        "people/tokens.html",
        status,
        rows=[_row(token, names, visit.now) for token in reversed(found)],
        form=form,
        secret=secret,
        roles=[one for one in ROLES if everything or one.value in visit.actor.roles],
        may_make_machines=everything,
    )


def _row(token: ApiToken, names: dict[int, str], now: float) -> _Row:
    expired = token.expires_at is not None and now >= token.expires_at
    word = _REVOKED if token.revoked_at is not None else _EXPIRED if expired else _VALID
    return _Row(
        id=token.id or 0,
        name=token.name,
        role=next(one.text for one in ROLES if one.value == Role(token.role)),
        scope=_SCOPES[token.scope],
        owner="a machine" if token.owner_id is None else names.get(token.owner_id, "—"),
        word=word,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        live=word == _VALID,
    )
