"""Why is this name blocked, or not? And what the district's policy says."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import Session
from starlette.responses import Response

from blocklists import returned
from blocklists.decide import Step
from blocklists.policy import UNASSIGNED, Reason
from portal.doors import register_grants
from portal.errors import Invalid
from portal.pages import forms, words
from portal.pages.forms import Form
from portal.pages.web import AnyVisit, PersonVisit
from portal.pages.words import Option, Word
from portal.places import district
from portal.verdicts import explain
from portal.verdicts.explain import Explained

router = APIRouter()


@dataclass(frozen=True, slots=True)
class _Fact:
    label: str
    text: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    name: str
    word: Word
    group: str
    why: str
    steps: tuple[Step, ...]
    facts: tuple[_Fact, ...]


@router.get("/explain")
def page(
    visit: PersonVisit, name: str = "", group: str = "", client: str = "", type: str = "A", answer: str = ""
) -> Response:
    form = Form(forms.of(name=name, group=group, client=client, type=type, answer=answer))
    found: Explained | None = None
    status = 200
    if name.strip():
        with visit.reading() as session:
            snapshot = visit.wired.current.refresh(session)
        try:
            rtype = type if type in returned.TYPES else "A"
            ask = explain.asks(visit.wired.look_up, answer.replace(",", " ").split(), rtype)  # no session waits for it
            found = explain.explain(
                snapshot, name, visit.now, None if client else group or None, client or None, rtype, ask
            )
        except Invalid as error:
            form, status = forms.refused(form.typed, error), error.status
    with visit.reading() as session:
        groups = _groups(session)
        titles = {option.value: option.text for option in groups}
        entry = None if found is None else register_grants.named(session, found.verdict.reason.authority)
        return visit.page(
            session,
            "explain.html",
            status,
            form=form,
            groups=groups,
            types=returned.TYPES,
            answer=None if found is None else _answer(found, titles, entry),
        )


def _groups(session: Session) -> list[Option]:
    return [
        Option("", "choose a group"),
        *(
            Option(view.group.id, title(view.site_name, view.group.audience))
            for view in district.groups_by_name(session)
        ),
        Option(UNASSIGNED, "an address in no group"),
    ]


def title(site_name: str, audience: str) -> str:
    return f"{audience} at {site_name}"


def _answer(found: Explained, titles: dict[str, str], entry: str | None) -> _Answer:
    """`entry`: of the register, whose grant it is."""
    verdict = found.verdict
    by = f" ({found.by})" if found.by else ""
    return _Answer(
        name=found.name,
        word=words.ACTIONS[verdict.action],
        group=titles.get(found.group, found.group) + by,
        why=words.REASONS[verdict.reason.kind],
        steps=found.steps,
        facts=(
            *_reason(verdict.reason),
            *((_Fact("Lifts", f"{_category(verdict.lifted)}"),) if verdict.lifted else ()),
            *((_Fact("Request", f"№ {found.request}", f"/requests/{found.request}"),) if found.request else ()),
            *((_Fact("Authority", entry, f"/platforms/{register_grants.year_of(entry)}"),) if entry else ()),
            *((_Fact("Answered as", verdict.style.upper()),) if verdict.style else ()),
            *((_Fact("Devices are told", found.told),) if found.told else ()),
            _Fact("Policy", f"version {found.version}"),
        ),
    )


def _reason(reason: Reason) -> tuple[_Fact, ...]:
    pairs = (
        ("Rule", words.REASONS[reason.kind]),
        ("Entry", reason.entry),
        ("Category", reason.category),
        ("Service", reason.service),
        ("List", reason.list),
    )
    facts = [_Fact(label, text) for label, text in pairs if text]
    if reason.number is not None:
        href = f"/grants/{reason.number}" if reason.authority is not None else ""
        facts.append(_Fact("Grant" if href else "Number", f"№ {reason.number}", href))
    return tuple(facts)


def _category(reason: Reason) -> str:
    if reason.category is None:
        return f"custom block {reason.number} at {reason.entry}"
    return f"{reason.category}: {reason.entry} in {reason.list}"


@router.get("/about")
def about(visit: AnyVisit) -> Response:
    with visit.reading() as session:
        return visit.page(session, "about.html")
