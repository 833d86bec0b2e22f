"""`/sites`, `/groups`, `/categories`, `/services`: who is where, and what is blocked for whom."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from sqlmodel import Session

from blocklists import policy
from blocklists.policy import AnswerStyle, Audience, Switch, YouTube
from portal import access
from portal.api.dependencies import CHANGES, READS, Answer, Call, Caller, Message, Revision, Slug, Word
from portal.places import district
from portal.places.district import GroupDraft, GroupView, SiteDraft
from portal.rules import blocking
from portal.rules import services as service_book
from portal.rules.blocking import CategoryDraft, ServiceView

router = APIRouter(tags=["district"])

Id = Annotated[str, Field(max_length=60)]
Words = Annotated[tuple[Word, ...], Field(max_length=1000)]
Switches = Annotated[dict[Id, Word], Field(max_length=1000, default_factory=dict)]
_NOT_YOURS = "Only reviewers, administrators and auditors see how the district is set up."


class SiteIn(Message):
    id: Id
    name: Word
    level: Word = ""


class SitePatch(Message):
    name: Word | None = None
    level: Word | None = None


class SiteOut(Answer):
    id: str
    name: str
    level: str


class SiteList(Answer):
    sites: list[SiteOut]


class GroupIn(Message):
    """`services`: service id -> allow | block; the rest follows its category. `safe_search`: search engines answer as
    their safe versions. `youtube`: off | moderate | strict, YouTube's own restricted modes."""

    site: Id
    audience: Word
    networks: Words = ()
    asked: Words = ()
    blocks: Words = ()
    services: Switches
    safe_search: bool = False
    youtube: Word = "off"


class GroupPatch(Message):
    """What is left out stays."""

    revision: Revision
    networks: Words | None = None
    asked: Words | None = None
    blocks: Words | None = None
    services: Annotated[dict[Id, Word], Field(max_length=1000)] | None = None
    safe_search: bool | None = None
    youtube: Word | None = None


class PreviewIn(Message):
    groups: Annotated[tuple[GroupIn, ...], Field(max_length=1000)]


class GroupOut(Answer):
    """`follows`: the group whose blocks it takes."""

    id: str
    site: str
    audience: Audience
    networks: list[str]
    asked: list[str]
    blocks: list[str]
    services: dict[str, Switch]
    safe_search: bool
    youtube: YouTube
    revision: int
    follows: str | None


class GroupList(Answer):
    groups: list[GroupOut]


class ChangeOut(Answer):
    group: str
    what: str
    before: str
    after: str


class PreviewOut(Answer):
    changes: list[ChangeOut]


class CategoryIn(Message):
    id: Id
    title: Word
    description: Annotated[str, Field(max_length=1000)] = ""
    locked: bool = False
    style: Word = "nxdomain"


class CategoryPatch(Message):
    title: Word | None = None
    description: Annotated[str, Field(max_length=1000)] | None = None
    locked: bool | None = None
    style: Word | None = None


class CategoryOut(Answer):
    id: str
    title: str
    description: str
    locked: bool
    style: AnswerStyle


class CategoryList(Answer):
    categories: list[CategoryOut]


class ServiceFields(Message):
    """A whole service: its names with all below them, without `exceptions`; `why` stays with the edit."""

    title: Word
    category: Word
    kind: Word
    names: Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=2000)]
    exceptions: Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=2000)] = ()
    why: Annotated[str, Field(max_length=1000)]


class ServiceEdit(ServiceFields):
    revision: Annotated[int, Field(ge=0)]  # 0: as it ships with the product


class ServicePatch(Message):
    """Switch the service for these groups (`switch` null: it follows its category again), or set its bundle."""

    groups: Words = ()
    switch: Switch | None = None
    edit: ServiceEdit | None = None


class ServiceIn(ServiceFields):
    id: Id


class ServiceOut(Answer):
    id: str
    title: str
    category: str
    kind: str
    names: list[str]
    exceptions: list[str]
    origin: str
    revision: int
    switches: dict[str, Switch]


class ServiceList(Answer):
    services: list[ServiceOut]


@router.get("/sites", responses=READS)
def sites(call: Caller) -> SiteList:
    with call.reading() as session:
        return SiteList(sites=[SiteOut.model_validate(site) for site in district.sites(session)])


@router.post("/sites", status_code=201, responses=CHANGES)
def create_site(call: Caller, message: SiteIn) -> SiteOut:
    draft = SiteDraft(message.id, message.name, message.level)
    with call.writing() as session:
        return SiteOut.model_validate(district.create_site(session, call.actor, call.now, draft))


@router.patch("/sites/{site}", responses=CHANGES)
def update_site(call: Caller, site: Slug, message: SitePatch) -> SiteOut:
    with call.writing() as session:
        old = district.site(session, site)
        draft = (
            SiteDraft(site, old.name, old.level) if message.name is None else SiteDraft(site, message.name, old.level)
        )
        if message.level is not None:
            draft = SiteDraft(site, draft.name, message.level)
        return SiteOut.model_validate(district.update_site(session, call.actor, call.now, site, draft))


def _group_out(view: GroupView) -> GroupOut:
    group = view.group
    return GroupOut(
        id=group.id,
        site=group.site,
        audience=group.audience,
        networks=list(group.networks),
        asked=list(group.asked),
        blocks=list(group.blocks),
        services=_switches(group),
        safe_search=group.safe_search,
        youtube=group.youtube,
        revision=view.revision,
        follows=view.follows,
    )


def _switches(group: policy.Group) -> dict[str, Switch]:
    return {one.service: one.switch for one in group.services}


def _visible(call: Call) -> None:
    access.require(access.may_see_district(call.actor), _NOT_YOURS)


@router.get("/groups", responses=READS)
def groups(call: Caller) -> GroupList:
    _visible(call)
    with call.reading() as session:
        return GroupList(groups=[_group_out(view) for view in district.groups(session)])


@router.get("/groups/{site}/{audience}", responses=READS)
def group(call: Caller, site: Slug, audience: Audience) -> GroupOut:
    _visible(call)
    with call.reading() as session:
        return _group_out(district.group(session, district.group_id(site, audience)))


@router.post("/groups", status_code=201, responses=CHANGES)
def create_group(call: Caller, message: GroupIn, response: Response) -> GroupOut:
    with call.writing() as session:
        view = district.create_group(session, call.actor, call.now, _draft(message))
        response.headers["Location"] = f"/api/v1/groups/{view.group.id}"
        return _group_out(view)


def _draft(message: GroupIn) -> GroupDraft:
    return GroupDraft(
        message.site,
        message.audience,
        message.networks,
        message.asked,
        message.blocks,
        dict(message.services),
        message.safe_search,
        message.youtube,
    )


@router.patch("/groups/{site}/{audience}", responses=CHANGES)
def update_group(call: Caller, site: Slug, audience: Audience, message: GroupPatch) -> GroupOut:
    with call.writing() as session:
        wanted = district.group_id(site, audience)
        draft = _patched(session, wanted, message)
        return _group_out(district.update_group(session, call.actor, call.now, wanted, message.revision, draft))


def _patched(session: Session, wanted: str, message: GroupPatch) -> GroupDraft:
    old = district.group(session, wanted).group
    return GroupDraft(
        site=old.site,
        audience=old.audience,
        networks=old.networks if message.networks is None else message.networks,
        asked=old.asked if message.asked is None else message.asked,
        blocks=old.blocks if message.blocks is None else message.blocks,
        services=_switches(old) if message.services is None else message.services,
        safe_search=old.safe_search if message.safe_search is None else message.safe_search,
        youtube=old.youtube if message.youtube is None else message.youtube,
    )


@router.post("/groups/preview", responses=CHANGES)
def preview(call: Caller, message: PreviewIn) -> PreviewOut:
    """What setting these groups would change. Changes nothing."""
    _visible(call)
    drafts = {f"{one.site}/{one.audience}": _draft(one) for one in message.groups}
    with call.reading() as session:
        found = district.preview(session, drafts)
    return PreviewOut(changes=[ChangeOut.model_validate(change) for change in found.changes])


@router.get("/categories", responses=READS)
def categories(call: Caller) -> CategoryList:
    with call.reading() as session:
        return CategoryList(categories=[CategoryOut.model_validate(row) for row in blocking.categories(session)])


@router.post("/categories", status_code=201, responses=CHANGES)
def create_category(call: Caller, message: CategoryIn) -> CategoryOut:
    draft = CategoryDraft(message.title, message.description, message.locked, message.style)
    with call.writing() as session:
        row = blocking.create_category(session, call.actor, call.now, message.id, draft)
        return CategoryOut.model_validate(row)


@router.patch("/categories/{category}", responses=CHANGES)
def update_category(call: Caller, category: Slug, message: CategoryPatch) -> CategoryOut:
    with call.writing() as session:
        old = blocking.category(session, category)
        draft = CategoryDraft(
            title=old.title if message.title is None else message.title,
            description=old.description if message.description is None else message.description,
            locked=old.locked if message.locked is None else message.locked,
            style=old.style if message.style is None else message.style,
        )
        row = blocking.update_category(session, call.actor, call.now, category, draft)
        return CategoryOut.model_validate(row)


def _service_out(view: ServiceView) -> ServiceOut:
    return ServiceOut(
        id=view.id,
        title=view.title,
        category=view.category,
        kind=view.kind,
        names=list(view.names),
        exceptions=list(view.exceptions),
        origin=view.origin,
        revision=view.revision,
        switches=dict(view.switches),
    )


@router.get("/services", responses=READS)
def services(call: Caller) -> ServiceList:
    with call.reading() as session:
        return ServiceList(services=[_service_out(view) for view in blocking.services(session)])


@router.post("/services", status_code=201, responses=CHANGES)
def create_service(call: Caller, message: ServiceIn) -> ServiceOut:
    """A service of the district's own: a tool to ask for, and a bundle in the next base."""
    with call.writing() as session:
        service_book.create(session, call.actor, call.now, service_book.Draft(**message.model_dump()))
        return _service_out(blocking.service(session, message.id))


@router.patch("/services/{service}", responses=CHANGES)
def switch_service(call: Caller, service: Slug, message: ServicePatch) -> ServiceOut:
    """Switch one service for these groups, or edit its bundle (`edit`): then the next base has it."""
    with call.writing() as session:
        if message.edit is not None:
            draft = service_book.Draft(id=service, **message.edit.model_dump(exclude={"revision"}))
            service_book.edit(session, call.actor, call.now, message.edit.revision, draft)
            return _service_out(blocking.service(session, service))
        return _service_out(
            blocking.switch_service(session, call.actor, call.now, service, message.groups, message.switch)
        )
