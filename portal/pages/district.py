"""Sites, client groups, and what is blocked for them: shown to the desk, changed by administrators, after a preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from blocklists.policy import Audience, YouTube
from portal import access
from portal.errors import Conflict, FieldError, Invalid, Refused
from portal.models.district import CategoryRow
from portal.pages import cards, forms, words
from portal.pages.changes import titles
from portal.pages.explain import title
from portal.pages.forms import Form, Typed
from portal.pages.web import PersonVisit, SentForm, SignedVisit, go
from portal.pages.words import Option
from portal.places import district
from portal.places.district import Change, GroupDraft, GroupView, Preview
from portal.rules import block_rules, blocking
from portal.rules.block_rules import Ruling
from portal.rules.blocking import ServiceView

router = APIRouter()

_SAFE = (Option("safe", "Safe search", "Google, Bing, DuckDuckGo, Ecosia and Pixabay answer as their safe versions"),)
_YOUTUBE = (
    Option(YouTube.OFF, "As it is", ""),
    Option(YouTube.MODERATE, "Moderate", "YouTube leaves out what it finds unfit"),
    Option(YouTube.STRICT, "Strict", "YouTube leaves out all but what it checked"),
)
_ONLY_ADMINISTRATORS = "Only an administrator changes what is blocked."


# ---- one group ----


@router.get("/district/groups/new")
def new_group(visit: PersonVisit, site: str, audience: str) -> Response:
    with visit.reading() as session:
        access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
        if audience not in list(Audience) or site not in cards.site_names(session):
            raise Invalid("A group is one audience at one site.", (FieldError("site", "Choose both from the lists."),))
        every = [one.id for one in blocking.categories(session) if not one.locked]
        form = Form(forms.of(site=site, audience=audience, blocks=every))
        return _group(visit, session, None, form)


@router.get("/district/groups/{key:path}")
def group(visit: PersonVisit, key: str) -> Response:
    with visit.reading() as session:
        access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
        view = district.group(session, key)
        return _group(visit, session, view, Form(_typed(view)))


@router.post("/district/groups/{key:path}")
def set_group(visit: SentForm, key: str) -> Response:
    """Preview the change, or publish it."""
    access.require(access.may_administer(visit.actor), _ONLY_ADMINISTRATORS)
    draft = _draft(visit.typed)
    try:
        if visit.value("action") == "publish":
            with visit.writing() as session:
                if key == "new":
                    district.create_group(session, visit.actor, visit.now, draft)
                else:
                    district.update_group(session, visit.actor, visit.now, key, visit.number("revision"), draft)
            return go("/district")
        with visit.reading() as session:
            changes = _in_words(session, district.preview(session, {_key(draft): draft}))
            return _group(visit, session, _known(session, key), Form(visit.typed), changes=changes)
    except (Invalid, Conflict) as error:
        with visit.reading() as session:
            form = Form(visit.typed) if isinstance(error, Conflict) else _refused(visit.typed, error, _key(draft))
            return _group(visit, session, _known(session, key), form, error=error)


def _in_words(session: Session, preview: Preview) -> list[Change]:
    """The preview's lines with titles in place of ids."""
    sites = cards.site_names(session)
    groups = {one.id: title(sites.get(one.site, one.site), one.audience) for one in preview.after}
    things = {f"category {one.id}": f"category {one.title}" for one in blocking.categories(session)}
    things |= {f"service {one.id}": one.title for one in blocking.services(session)}
    switched = {"allow": "allowed", "block": "blocked"}
    return [
        Change(
            groups.get(one.group, one.group),
            things.get(one.what, one.what),
            switched.get(one.before, one.before),
            switched.get(one.after, one.after),
        )
        for one in preview.changes
    ]


def _known(session: Session, key: str) -> GroupView | None:
    return None if key == "new" else district.group(session, key)


def _key(draft: GroupDraft) -> str:
    return f"{draft.site}/{draft.audience}"


def _draft(typed: Typed) -> GroupDraft:
    first = {name: next(iter(values), "") for name, values in typed.items()}
    return GroupDraft(
        site=first.get("site", ""),
        audience=first.get("audience", ""),
        networks=_lines(first.get("networks", "")),
        asked=_lines(first.get("asked", "")),
        blocks=tuple(typed.get("blocks", ())),
        services={
            name.removeprefix("service:"): switch
            for name, switch in first.items()
            if name.startswith("service:") and switch
        },
        safe_search="safe" in typed.get("safe_search", ()),
        youtube=first.get("youtube", YouTube.OFF),
    )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _typed(view: GroupView) -> dict[str, list[str]]:
    group = view.group
    found = forms.of(
        site=group.site,
        audience=group.audience,
        networks="\n".join(group.networks),
        asked="\n".join(group.asked),
        blocks=group.blocks,
        safe_search=["safe"] if group.safe_search else [],
        youtube=group.youtube,
    )
    return found | {f"service:{one.service}": [str(one.switch)] for one in group.services}


def _refused(typed: Typed, error: Refused, key: str) -> Form:
    """A preview's mistakes begin with the group's id."""
    errors = tuple(replace(one, field=one.field.removeprefix(f"{key}.")) for one in error.errors)
    return forms.refused(typed, Invalid(error.detail, errors))


@dataclass(frozen=True, slots=True)
class _Switchable:
    id: str
    title: str
    switch: str


@dataclass(frozen=True, slots=True)
class _ServiceSection:
    title: str
    about: str
    open: bool
    services: tuple[_Switchable, ...]


def _group(
    visit: SignedVisit,
    session: Session,
    view: GroupView | None,
    form: Form,
    changes: Sequence[Change] | None = None,
    error: Refused | None = None,
) -> Response:
    categories = blocking.categories(session)
    audience, site = Audience(form.value("audience")), form.value("site")
    follows = view.follows if view is not None else None
    return visit.page(
        session,
        "district/group.html",
        200 if error is None else error.status,
        title=f"{'New group: ' if view is None else ''}{title(cards.site_names(session).get(site, site), audience)}",
        lead="Known by its networks, or by which of our addresses it asked.",
        follows=follows,
        action="/district/groups/new" if view is None else f"/district/groups/{view.group.id}",
        revision=form.value("revision") or (0 if view is None else view.revision),
        conflict=error.detail if isinstance(error, Conflict) else "",
        categories=[Option(one.id, one.title, one.description) for one in categories if not one.locked],
        locked=[one.title for one in categories if one.locked],
        services=_sections(blocking.services(session), categories, form),
        safe=_SAFE,
        modes=_YOUTUBE,
        changes=changes,
        rulings=_rulings(session, view),
        form=form,
    )


def _rulings(session: Session, view: GroupView | None) -> list[tuple[str, str, str, Ruling]]:
    """Which rule decides each thing for this group: its own, its level's, or the district's."""
    if view is None:
        return []
    named = titles(session)
    says = {"block": "blocked", "allow": "allowed", "inherit": "as its category"}
    by = view.follows or view.group.id
    return [
        (named.thing(one.thing), says[one.say], named.scope(one.scope) if one.scope else "as the group was made", one)
        for one in block_rules.inheritance(session, by)
    ]


def _sections(
    services: Sequence[ServiceView], categories: Sequence[CategoryRow], form: Form
) -> tuple[_ServiceSection, ...]:
    """The services of each category that can be switched; a category with a switched one stands open."""
    found = []
    for category in categories:
        members = tuple(
            _Switchable(one.id, one.title, form.value(f"service:{one.id}"))
            for one in services
            if one.category == category.id and not category.locked
        )
        switched = sum(bool(one.switch) for one in members)
        about = words.count(len(members), "service") + (f", {switched} switched" if switched else "")
        if members:
            found.append(_ServiceSection(category.title, about, bool(switched), members))
    return tuple(found)
