"""The district: its sites, client groups, categories and service switches. Rows in, rows and policy values out.

Every change is compare-and-set on the group's `revision` where two administrators could meet, audited with the changed
values, and asks for publication. `preview` shows a change before it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from sqlmodel import Session

from blocklists import policy
from blocklists.policy import AnswerStyle, Switch
from portal.access import Actor
from portal.models import CategoryRow, District, Site


@dataclass(frozen=True, slots=True)
class SiteDraft:
    id: str  # small letters, digits and hyphens; never changes
    name: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class GroupDraft:
    """A whole group as it shall be. `services`: service id -> allow | block; the rest follows its category."""

    site: str
    audience: str
    networks: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    services: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class CategoryDraft:
    title: str
    description: str
    locked: bool
    style: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group with its revision, to compare and set."""

    group: policy.Group
    site_name: str
    revision: int


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service of the seed, and the groups that switch it."""

    id: str
    title: str
    category: str
    kind: str
    names: tuple[str, ...]
    switches: Mapping[str, Switch]  # group id -> switch


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a preview: what of which group becomes what."""

    group: str
    what: str  # networks | asked | blocks | service ID | group
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    before: tuple[policy.Group, ...]
    after: tuple[policy.Group, ...]
    changes: tuple[Change, ...]


def get(session: Session) -> District:
    """Return the one district; raises `NotFound` before the first run."""
    raise NotImplementedError


def zone(session: Session) -> ZoneInfo:
    raise NotImplementedError


def today(session: Session, now: float) -> date:
    """Return the date in the district's zone."""
    raise NotImplementedError


def sites(session: Session) -> tuple[Site, ...]:
    raise NotImplementedError


def create_site(session: Session, actor: Actor, now: float, draft: SiteDraft) -> Site:
    raise NotImplementedError


def update_site(session: Session, actor: Actor, now: float, site_id: str, draft: SiteDraft) -> Site:
    raise NotImplementedError


def groups(session: Session) -> tuple[GroupView, ...]:
    """Return every group, by id; `[view.group for view in groups(session)]` is what a policy holds."""
    raise NotImplementedError


def group(session: Session, group_id: str) -> GroupView:
    raise NotImplementedError


def create_group(session: Session, actor: Actor, now: float, draft: GroupDraft) -> GroupView:
    raise NotImplementedError


def update_group(
    session: Session, actor: Actor, now: float, group_id: str, revision: int, draft: GroupDraft
) -> GroupView:
    raise NotImplementedError


def preview(session: Session, drafts: Mapping[str, GroupDraft]) -> Preview:
    """Return what setting these groups (by id; new ones too) would change. Writes nothing; raises `Invalid` as the
    change itself would."""
    raise NotImplementedError


def categories(session: Session) -> tuple[CategoryRow, ...]:
    raise NotImplementedError


def policy_categories(session: Session) -> tuple[policy.Category, ...]:
    raise NotImplementedError


def update_category(session: Session, actor: Actor, now: float, category_id: str, draft: CategoryDraft) -> CategoryRow:
    """A category that ships locked (law, safety) stays locked."""
    raise NotImplementedError


def services(session: Session) -> tuple[ServiceView, ...]:
    raise NotImplementedError


def switch_service(
    session: Session, actor: Actor, now: float, service_id: str, group_ids: tuple[str, ...], switch: Switch | None
) -> ServiceView:
    """Switch one service for these groups; None: it follows its category again."""
    raise NotImplementedError


ANSWER_STYLES = tuple(AnswerStyle)
