"""The lists at work, from a real server that misbehaves to the base that is published: real process, real database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from blocklists.exchange import AskedDay, AskedName
from blocklists.seed import load_seed
from portal.access import Actor, ActorKind
from portal.database import reading, transaction
from portal.doors import platforms
from portal.doors.platforms import Draft
from portal.errors import Conflict, Invalid
from portal.lists import asked, bases, builds, sources
from portal.lists.bases import Bases, current_base
from portal.lists.listjob import ListJob
from portal.lists.sources import SourceDraft, SourceView
from portal.models.audit import AuditEvent
from portal.models.delivery import Node, Publication
from portal.models.lists import BaseBuild, BuildState
from portal.models.words import Role
from portal.upkeep import figures
from tests.blocklists.hostile_server import Answer, Server, ok, raw, redirect, serving
from tests.portal import gatehouse
from tests.portal.frontdesk import LISTS
from tests.portal.gatehouse import NOW

AMIR = Actor(ActorKind.USER, 1, "Amir", frozenset({Role.ADMINISTRATOR}), user_id=1)
pytestmark = pytest.mark.timeout(600)  # updates run at the lowest priority: beside other work they wait

DAY = 86_400
NAMES = b"".join(b"site%d.example.net\n" % number for number in range(20))


@dataclass
class House:
    engine: Engine
    files: Bases
    job: ListJob
    server: Server
    now: float = NOW

    def add(self, id: str, answer: Answer | list[Answer], category: str = "social-media") -> None:
        self.server.answers[f"/{id}"] = answer
        with transaction(self.engine) as session:
            draft = SourceDraft(id, f"List {id}", category, self.server.url(f"/{id}"))
            sources.add(session, AMIR, self.now, draft, private=True)

    def work(self) -> None:
        """Everything that is due, an hour and then some later."""
        self.now += 8 * 86_400
        with transaction(self.engine) as session:
            for view in sources.sources(session, self.now):
                if view.enabled and view.url:
                    sources.fetch_now(session, AMIR, self.now, view.id)
        self.job.run_once()

    def source(self, id: str) -> SourceView:
        with reading(self.engine) as session:
            return sources.source(session, self.now, id)

    def listed(self, name: str) -> list[str]:
        with reading(self.engine) as session:
            row = current_base(session)
            assert row is not None
            base = self.files.open(row.digest)
            return [base.lists[one.list].id for one in base.listings(name)]

    def newest(self) -> BaseBuild:
        with reading(self.engine) as session:
            return builds.recent(session)[0]

    def count(self, session: Session) -> int:
        return len(session.exec(select(Publication)).all())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = gatehouse.config_in(tmp_path)
    engine = gatehouse.founded(config)
    files = Bases(config.data, engine)
    with serving() as server:
        found = House(engine, files, None, server)  # type: ignore[arg-type]
        found.job = ListJob(
            engine, files, config.data / "lists", load_seed(), lambda: found.now, lambda: None, private=True, patience=5
        )
        yield found
    engine.dispose()


def test_a_list_that_is_added_is_fetched_compiled_and_asks_for_a_publication(house: House) -> None:
    with reading(house.engine) as session:
        before = house.count(session)
    house.add("ours", ok(NAMES + b"not a name at all!\n"))
    assert house.job.run_once()
    view = house.source("ours")
    assert (view.found, view.rejected, view.failures, view.error) == (20, 1, 0, "")
    assert view.examples[0]["line"] == 21
    assert house.listed("www.site3.example.net") == ["ours"]
    assert "instagram" in house.listed("instagram.com")
    assert house.newest().state is BuildState.CURRENT
    with reading(house.engine) as session:
        assert house.count(session) == before + 1
        tags = [row.tag for row in session.exec(select(AuditEvent).order_by(col(AuditEvent.id)))]
    assert tags[-2:] == ["lists.source.create", "lists.update.adopt"]
    assert not house.job.run_once(), "nothing is due any more"


MISBEHAVIOUR: dict[str, tuple[Answer, str]] = {
    "a web page": (ok(b"<!DOCTYPE html><html><title>Sign in</title></html>"), "not-a-list"),
    "a 404": (ok(b"gone", status="404 Not Found"), "http-status"),
    "cut short": (ok(NAMES, length=len(NAMES) + 500), "cut-short"),
    "nonsense": (ok(b"?? ??\n" * 50), "not-a-list"),
    "a loop": (redirect("/ours"), "redirects"),
}


@pytest.mark.slow
def test_whatever_the_server_does_the_last_good_list_stays_and_the_failure_is_told(house: House) -> None:
    house.add("ours", ok(NAMES))
    house.job.run_once()
    for failures, (case, (answer, code)) in enumerate(MISBEHAVIOUR.items(), 1):
        house.server.answers["/ours"] = answer
        house.work()
        view = house.source("ours")
        assert (view.error_code, view.failures, view.found) == (code, failures, 20), case
        assert view.error
        assert view.due_at is not None and view.due_at > house.now, "it is asked again, later"
    assert house.listed("site3.example.net") == ["ours"]
    assert house.newest().state is BuildState.CURRENT


def test_failures_and_rejected_lines_are_in_the_metrics(house: House) -> None:
    house.add("good", ok(NAMES + b"not a name at all\n"))
    house.add("gone", raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    house.job.run_once()
    with reading(house.engine) as session:
        samples = [one for found in figures.families(session, (), None, house.now) for one in found.samples]
    told = {(one.name, *one.labels.values()): one.value for one in samples}
    assert told["schoolgate_portal_list_failures", "gone", "http-status"] == 1
    assert told["schoolgate_portal_list_failures", "good", ""] == 0
    assert told["schoolgate_portal_list_rejected_lines", "good"] == 1
    assert told["schoolgate_portal_update_held",] == 0


def test_a_list_that_loses_too_much_waits_and_an_administrator_lets_it_out_or_not(house: House) -> None:
    many = b"".join(b"n%d.example.net\n" % number for number in range(2_000))
    house.add("ours", [ok(many), ok(many[:2_000]), ok(many + b"m.example.net\n")], "vpn-proxy")
    house.job.run_once()
    house.work()
    held = house.newest()
    assert held.state is BuildState.HELD
    assert {one["guard"] for one in held.reasons} == {"loss"}
    assert house.listed("n1999.example.net") == ["ours"], "the present base serves on"
    with transaction(house.engine) as session, pytest.raises(Invalid):
        builds.approve(session, AMIR, house.now, house.files, held.id or 0, "  ")
    with transaction(house.engine) as session:
        builds.refuse(session, AMIR, house.now, held.id or 0, "The keeper's mistake")
    with transaction(house.engine) as session, pytest.raises(Conflict, match="refused by Amir"):
        builds.approve(session, AMIR, house.now, house.files, held.id or 0, "Yes")
    house.work()
    assert house.newest().state is BuildState.CURRENT
    assert house.listed("m.example.net") == ["ours"]


def test_a_protected_name_and_a_live_grants_name_hold_an_update(house: House) -> None:
    gatehouse.grant(house.engine, "lesson.example.org", at=house.now)
    protected = load_seed().protected[0].name
    house.add("ours", ok(NAMES + f"{protected}\nlesson.example.org\n".encode()))
    house.job.run_once()
    held = house.newest()
    assert held.state is BuildState.HELD
    assert {one["guard"] for one in held.reasons} == {"protected", "grant"}
    with transaction(house.engine) as session:
        builds.approve(session, AMIR, house.now, house.files, held.id or 0, "Looked at both")
    assert house.listed("lesson.example.org") == ["ours"]


def test_a_published_platforms_name_holds_an_update_by_the_platforms_name_until_it_is_retired(house: House) -> None:
    dora = Actor(ActorKind.USER, 1, "Dora", frozenset({Role.DESIGNEE}), user_id=1)
    draft = Draft("Notes home", "Notes", "The office reads along", "automatic", names=("notes.example.org",))
    with transaction(house.engine) as session:
        made = platforms.create(session, dora, house.now, "2023-24", draft, LISTS)
        entry = platforms.publish(session, dora, house.now, "2023-24", made.id, made.revision, LISTS)
    house.add("ours", [ok(NAMES + b"notes.example.org\n"), ok(NAMES + b"notes.example.org\nmore.example.org\n")])
    house.job.run_once()
    held = house.newest()
    assert held.state is BuildState.HELD
    (reason,) = held.reasons
    assert (reason["guard"], reason["subject"]) == ("platform", "notes.example.org")
    assert "(list ours): register 2023-24: Notes home, grant 1" in reason["sentence"]
    assert house.listed("notes.example.org") == [], "what is published stays as it is"
    with transaction(house.engine) as session:
        builds.refuse(session, AMIR, house.now, held.id or 0, "Ask the keeper of the list")
        platforms.retire(session, dora, house.now, "2023-24", entry.id, entry.revision, "Not used any more")
    house.work()
    assert (house.newest().state, house.listed("notes.example.org")) == (BuildState.CURRENT, ["ours"])


def test_a_roll_back_is_an_earlier_base_as_a_new_version_and_the_next_update_waits(house: House) -> None:
    house.add("ours", [ok(NAMES), ok(NAMES + b"new.example.net\n")])
    house.job.run_once()
    with reading(house.engine) as session:
        seed = builds.earlier(session, house.files)
        before = house.count(session)
    with transaction(house.engine) as session:
        builds.roll_back(session, AMIR, house.now, house.files, seed[0].digest, "It blocked the wrong site")
    assert house.listed("site3.example.net") == []
    with reading(house.engine) as session:
        assert house.count(session) == before + 1
    house.work()
    held = house.newest()
    assert (held.state, [one["guard"] for one in held.reasons]) == (BuildState.HELD, ["rollback"])


def test_a_list_that_is_switched_off_leaves_the_base_and_is_no_loss(house: House) -> None:
    house.add("ours", ok(NAMES), "vpn-proxy")
    house.job.run_once()
    with transaction(house.engine) as session:
        sources.switch(session, AMIR, house.now, "ours", False)
    house.job.run_once()
    assert house.newest().state is BuildState.CURRENT
    assert house.listed("site3.example.net") == []


def test_an_uploaded_file_is_a_list_too(house: House) -> None:
    with transaction(house.engine) as session:
        draft = SourceDraft("games", "Games", "social-media")
        sources.add_with_file(session, AMIR, house.now, draft, b"0.0.0.0 play.example.org\n", private=True)
    house.job.run_once()
    assert house.listed("play.example.org") == ["games"]
    assert house.source("games").due_at is None


def test_lists_of_one_address_are_fetched_once_each_with_its_own_outcome(house: House) -> None:
    house.server.answers["/one"] = ok(NAMES)
    with transaction(house.engine) as session:
        for id in ("first", "second"):
            draft = SourceDraft(id, id, "social-media", house.server.url("/one"))
            sources.add(session, AMIR, house.now, draft, private=True)
    house.job.run_once()
    assert house.listed("site1.example.net") == ["first", "second"]
    assert len(house.server.asked) == 1
    house.now += 30 * 86_400
    house.server.answers["/one"] = ok(NAMES + b"more.example.net\n")
    with transaction(house.engine) as session:
        sources.fetch_now(session, AMIR, house.now, "second")  # the other list comes along
    house.job.run_once()
    assert house.listed("more.example.net") == ["first", "second"]
    assert len(house.server.asked) == 2
    house.server.answers["/one"] = [ok(b"<html>no list</html>")]
    house.work()
    assert [house.source(id).error_code for id in ("first", "second")] == ["not-a-list", "not-a-list"]
    assert house.listed("more.example.net") == ["first", "second"]


def test_a_name_that_many_devices_asked_for_holds_an_update(house: House) -> None:
    day = int(house.now) // DAY * DAY
    with transaction(house.engine) as session:
        session.add_all([Node(name=f"edison-{n}", credential_hash=str(n), enrolled_at=1) for n in (1, 2)])
        session.flush()
        names = [AskedName(name="site3.example.net", permille=42), AskedName(name="other.example.net", permille=900)]
        asked.keep(session, 1, AskedDay(day=day, names=names))
        asked.keep(session, 1, AskedDay(day=day - DAY, names=[]))  # an older day comes late: nothing changes
        asked.keep(session, 2, AskedDay(day=day, names=[AskedName(name="site3.example.net", permille=17)]))
    house.add("sites", ok(NAMES))
    house.job.run_once()
    held = house.newest()
    assert held.state is BuildState.HELD
    assert [(one["guard"], one["subject"]) for one in held.reasons] == [("recent", "site3.example.net")]
    assert "4.2 % of a resolver's devices asked for it" in held.reasons[0]["sentence"]
    with reading(house.engine) as session:
        assert asked.watched(session, day + 10 * DAY) == ()  # long ago


def test_a_portal_on_another_machine_builds_from_the_same_lists(house: House, tmp_path: Path) -> None:
    house.add("fetched", ok(NAMES))
    with transaction(house.engine) as session:
        draft = SourceDraft("games", "Games", "social-media")
        sources.add_with_file(session, AMIR, house.now, draft, b"0.0.0.0 play.example.org\n", private=True)
    house.job.run_once()
    asked_before = len(house.server.asked)
    files = Bases(tmp_path / "elsewhere", house.engine)
    with reading(house.engine) as session:
        row = current_base(session)
        assert row is not None
        present = house.files.path(row.digest)
    if not bases.shares(house.engine):  # one machine, whose lists were lost
        files.folder.mkdir(parents=True)
        (files.folder / present.name).write_bytes(present.read_bytes())
    house.files = files
    folder = tmp_path / "elsewhere" / "lists"
    house.job = ListJob(
        house.engine, files, folder, load_seed(), lambda: house.now, lambda: None, private=True, patience=5
    )
    with transaction(house.engine) as session:
        builds.rebuild(session, AMIR, house.now, "on another machine")
    house.job.run_once()
    assert (house.listed("play.example.org"), house.listed("site3.example.net")) == (["games"], ["fetched"])
    assert (len(house.server.asked) == asked_before) is bases.shares(house.engine)
    with transaction(house.engine) as session:
        sources.uploaded(session, AMIR, house.now, "games", b"0.0.0.0 newer.example.org\n0.0.0.0 play.example.org\n")
    house.job.run_once()
    assert house.listed("newer.example.org") == ["games"]
