"""What a name means before anybody decides, on the real seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from blocklists.policy import Action, Audience, ReasonKind
from blocklists.seed import load_seed
from blocklists.snapshot import Snapshot
from portal.access import Actor, ActorKind
from portal.database import reading, transaction
from portal.desk.evidence import Finding, evidence
from portal.doors import platforms
from portal.doors.platforms import Draft
from portal.errors import Invalid
from portal.lists.bases import Bases
from portal.models.levers import BrakeRow
from portal.models.requests import Request
from portal.models.words import Role, State
from portal.nodes.keys import Keyring
from portal.nodes.publication import Publisher
from portal.pages.findings import known
from portal.verdicts.current import Current, NothingPublished
from portal.verdicts.explain import SnapshotCatalogue, explain
from tests.portal.frontdesk import LISTS
from tests.portal.gatehouse import NOW, config_in, founded, grant


class Plant:
    def __init__(self, folder: Path) -> None:
        config = config_in(folder)
        self.engine: Engine = founded(config)
        self.bases = Bases(config.data)
        self.current = Current(self.bases)
        self.publisher = Publisher(self.engine, Keyring(config.data), self.bases, load_seed())

    def publish(self) -> Snapshot:
        self.publisher.publish_pending(lambda: NOW)
        with reading(self.engine) as session:
            return self.current.refresh(session)

    def find(self, text: str) -> Finding:
        with reading(self.engine) as session:
            (found,) = evidence(session, self.current.refresh(session), [text], NOW)
        return found


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    made = Plant(tmp_path_factory.mktemp("evidence"))
    made.publish()
    yield made
    made.engine.dispose()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Plant]:
    """One whose rows a test changes."""
    made = Plant(tmp_path)
    yield made
    made.engine.dispose()


def test_a_blocked_name_is_explained_with_audience_category_service_and_list(plant: Plant) -> None:
    found = plant.find("https://www.instagram.com/p/abc?x=1")
    assert (found.name, found.dropped_path, found.is_blocked) == ("www.instagram.com", True, True)
    assert (found.category, found.service, found.list) == ("social-media", "instagram", "instagram")
    assert found.category_title and found.service_title == "Instagram"
    assert found.entry == "instagram.com"
    assert {one.audience: (one.blocked, one.open) for one in found.blocked} == {
        Audience.STUDENTS: (("edison",), ()),
        Audience.STAFF: (("edison",), ()),
    }
    assert found.refusal is None
    assert found.entries[0] == "instagram.com" and len(found.entries) > 1
    assert "all of Instagram" in found.opens


def test_a_service_is_known_by_its_title_or_id(plant: Plant) -> None:
    assert plant.find(" instagram ").entries == plant.find("Instagram").entries == plant.find("instagram.com").entries


def test_a_service_begins_with_the_name_that_people_know(plant: Plant) -> None:
    assert plant.find("Pinterest").name == "pinterest.com"
    assert "all of Pinterest: pinterest.com, " in plant.find("pinterest.co.uk").opens


def test_a_pasted_page_of_a_host_says_that_all_of_it_opens(plant: Plant) -> None:
    found = plant.find("https://www.unlisted-tool.org/lessons/3")
    assert not found.is_blocked
    assert found.entries == ("unlisted-tool.org",)
    assert found.opens == "this opens all of unlisted-tool.org, not one page"
    assert plant.find("edu.unlisted-tool.org").opens.endswith("and everything below it")
    assert plant.find("edu.unlisted-tool.org").registrable == "unlisted-tool.org"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pornhub.com", "locked"),
        ("co.uk", "public suffix"),
        ("use-application-dns.net", "leave the filter"),
        ("localhost.localhost", "localhost"),
    ],
)
def test_what_no_request_can_open_says_why(plant: Plant, text: str, sentence: str) -> None:
    refusal = plant.find(text).refusal
    assert refusal is not None and sentence in refusal


@pytest.mark.parametrize("text", ["192.0.2.1", "", "ftp://x.example", "a..b", "photography", "localhost", "x" * 5000])
def test_what_is_no_name_is_a_finding_with_a_sentence(plant: Plant, text: str) -> None:
    found = plant.find(text)
    assert found.problem and not found.name and not found.entries


def test_earlier_decisions_on_the_same_site_are_shown_and_only_those(fresh: Plant) -> None:
    fresh.publish()

    def request(state: State, *names: str) -> Request:
        return Request(
            uuid=f"{state}-{names}",
            requester_id=1,
            state=state,
            tools=[{"name": names[0], "service": None, "urls": [], "names": list(names), "dropped_path": False}],
            purpose="secret",
            starts_on="2023-11-14",
            ends_on="2024-05-01",
            created_at=NOW,
            updated_at=NOW,
        )

    with transaction(fresh.engine) as session:
        session.add_all(
            [
                request(State.DENIED, "www.padlet.com"),
                request(State.APPROVED, "padlet.com"),
                request(State.SUBMITTED, "padlet.com"),
                request(State.APPROVED, "notpadlet.com"),
                request(State.APPROVED, "padlet.com.example"),
                request(State.APPROVED, "museum.co.uk"),
            ]
        )
    assert [one.state for one in fresh.find("padlet.com").earlier] == [
        State.APPROVED,
        State.DENIED,
    ]
    assert fresh.find("museum.co.uk").earlier and not fresh.find("co.uk").earlier  # a suffix is nobody's site


def test_the_catalogue_knows_locked_names_and_every_list(plant: Plant) -> None:
    catalogue = SnapshotCatalogue(plant.current)
    assert catalogue.locked("www.pornhub.com") is not None
    assert catalogue.locked("instagram.com") is None
    assert catalogue.locked("accounts.google.com") is None
    assert catalogue.lists()["instagram"] == "social-media"


def test_a_brake_does_not_hide_that_a_name_is_locked(fresh: Plant) -> None:
    with transaction(fresh.engine) as session:
        session.add(BrakeRow(name="pornhub.com", reason="x", created_by=1, created_at=NOW))
        session.add(BrakeRow(name="padlet.com", reason="x", created_by=1, created_at=NOW))
    fresh.publish()
    assert SnapshotCatalogue(fresh.current).locked("pornhub.com") is not None
    refusal = fresh.find("padlet.com").refusal
    assert refusal is not None and "brake" in refusal


def test_before_the_first_publication_nothing_is_guessed(fresh: Plant) -> None:
    with pytest.raises(NothingPublished):
        SnapshotCatalogue(fresh.current).locked("pornhub.com")


def test_explain_is_the_resolvers_decision_with_every_step_and_the_grant(fresh: Plant) -> None:
    number = grant(fresh.engine, "instagram.com", starts_at=NOW + 100)
    snapshot = fresh.publish()
    before = explain(snapshot, "www.instagram.com", NOW, client="127.0.1.7")
    assert (before.group, before.by) == ("edison/students", "127.0.1.0/24")
    assert before.verdict.action is Action.BLOCK
    after = explain(snapshot, "www.instagram.com", NOW + 100, group="edison/students")
    assert after.verdict.action is Action.ALLOW
    assert (after.verdict.reason.kind, after.verdict.reason.number) == (ReasonKind.GRANT, number)
    assert [step.number for step in after.steps] == [1, 2, 3, 4, 5, 6, 9]  # 9: what comes back, unknown here
    assert explain(snapshot, "instagram.com", NOW, client="192.0.2.1").group == "unassigned"
    assert explain(snapshot, "instagram.com", time.time()).group == "unassigned"


def test_a_name_that_a_published_platform_opens_says_which_one_until_it_is_retired(fresh: Plant) -> None:
    dora = Actor(ActorKind.USER, 1, "Dora", frozenset({Role.DESIGNEE}), user_id=1)
    draft = Draft(
        "Notes", "Notes home", "The office reads", "automatic", names=("instagram.com",), audiences=("staff",)
    )
    with transaction(fresh.engine) as session:
        made = platforms.create(session, dora, NOW, "2023-24", draft, LISTS)
        entry = platforms.publish(session, dora, NOW, "2023-24", made.id, made.revision, LISTS)
    fresh.publish()
    found = fresh.find("www.instagram.com")
    assert (found.is_blocked, found.platforms) == (True, ("register 2023-24: Notes",)), "students are still shut out"
    assert "Open already as a platform, by register 2023-24: Notes." in known(found).lines
    with transaction(fresh.engine) as session:
        platforms.retire(session, dora, NOW, "2023-24", entry.id, entry.revision, "Not used any more")
    fresh.publish()
    assert fresh.find("www.instagram.com").platforms == ()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"name": "a..b"}, "name"),
        ({"name": "a.example", "client": "here"}, "client"),
        ({"name": "a.example", "group": "nowhere"}, "group"),
        ({"name": "a.example", "group": "edison/staff", "client": "127.0.0.1"}, "client"),
    ],
)
def test_explain_says_what_cannot_be(plant: Plant, words: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        explain(plant.current.get(), at=NOW, **words)
    assert [error.field for error in caught.value.errors] == [field]
