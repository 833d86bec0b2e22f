"""Corrections and custom blocks: where a list is wrong, and what an administrator blocks by name."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from portal import access
from portal.doors import custom_blocks, levers
from portal.doors.custom_blocks import BlockDraft
from portal.doors.levers import CorrectionDraft, CorrectionView
from portal.errors import Conflict, Invalid
from portal.pages import cards, forms, words
from portal.pages.forms import Form
from portal.pages.scopes import site_options
from portal.pages.web import Number, PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option, Word

router = APIRouter()

_WAITS = Word("Waits for a second person", "wait", "wait")
_COUNTS = Word("In the policy", "open", "yes")
_ENDED = Word("Ended", "done", "done")
_BLOCKED = Word("Blocked", "shut", "brake")
_MATCHES = [Option("subtree", "The name and all below it"), Option("exact", "This name only")]


@router.get("/corrections")
def corrections(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _corrections(visit, session, Form(forms.of(match="exact")))


@router.post("/corrections")
def create_correction(visit: SentForm) -> Response:
    lists = tuple(visit.values("lists"))
    draft = CorrectionDraft(
        visit.value("name"), visit.value("match"), lists, visit.value("reason"), visit.value("review_on")
    )
    try:
        with visit.writing() as session:
            levers.create_correction(session, visit.actor, visit.now, draft, visit.wired.catalogue)
    except Invalid as error:
        with visit.reading() as session:
            return _corrections(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/corrections")


@router.post("/corrections/{number}")
def act_on_correction(visit: SentForm, number: Number) -> Response:
    """Confirm it as the second person, or end it."""
    act = levers.confirm_correction if visit.value("action") == "confirm" else levers.end_correction
    try:
        with visit.writing() as session:
            act(session, visit.actor, visit.now, number, visit.wired.catalogue)
    except Conflict as error:
        with visit.reading() as session:
            return _corrections(visit, session, forms.refused({}, error), error.status)
    return go("/corrections")


def _word(view: CorrectionView) -> Word:
    return _ENDED if view.ended_at is not None else _WAITS if view.waits else _COUNTS


def _corrections(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), "Corrections are shown to the desk and administrators.")
    views = levers.corrections(session, visit.wired.catalogue, ended=True)[:500]
    actor = visit.actor
    second = access.may_administer(actor)
    return visit.page(
        session,
        "district/corrections.html",
        status,
        rows=[(view, _word(view), second and view.created_by_id != actor.user_id) for view in views],
        lists=[Option("*", "Every list"), *(Option(one, one) for one in sorted(visit.wired.catalogue.lists()))],
        matches=_MATCHES,
        may_change=access.may_propose_correction(actor),
        form=form,
    )


@router.get("/blocks")
def blocks(visit: PersonVisit) -> Response:
    with visit.reading() as session:
        return _blocks(visit, session, Form(forms.of(match="subtree")))


@router.post("/blocks")
def create_block(visit: SentForm) -> Response:
    draft = BlockDraft(
        visit.value("name"),
        visit.value("match"),
        tuple(visit.values("sites")),
        tuple(visit.values("audiences")),
        visit.value("reason"),
        visit.value("review_on"),
    )
    try:
        with visit.writing() as session:
            custom_blocks.create(session, visit.actor, visit.now, draft)
    except Invalid as error:
        with visit.reading() as session:
            return _blocks(visit, session, forms.refused(visit.typed, error), error.status)
    return go("/blocks")


@router.post("/blocks/{number}/end")
def end_block(visit: SentForm, number: Number) -> Response:
    try:
        with visit.writing() as session:
            custom_blocks.end(session, visit.actor, visit.now, number)
    except Conflict as error:
        with visit.reading() as session:
            return _blocks(visit, session, forms.refused({}, error), error.status)
    return go("/blocks")


def _blocks(visit: SignedVisit, session: Session, form: Form, status: int = 200) -> Response:
    access.require(access.may_see_district(visit.actor), "Blocks are shown to the desk and administrators.")
    return visit.page(
        session,
        "district/blocks.html",
        status,
        rows=[
            (view, _BLOCKED if view.ended_at is None else _ENDED)
            for view in custom_blocks.find(session, ended=True)[:500]
        ],
        matches=_MATCHES,
        sites=site_options(session),
        audiences=list(words.AUDIENCES.values()),
        site_names=cards.site_names(session),
        may_change=access.may_administer(visit.actor),
        form=form,
    )
