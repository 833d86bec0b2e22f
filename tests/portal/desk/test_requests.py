"""The written request: what is prefilled, what is refused and how, who decides, and who wins."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlmodel import select

from portal.access import Actor
from portal.database import reading, transaction
from portal.desk import queue, requests
from portal.desk.requests import Draft
from portal.desk.tools import ToolDraft
from portal.desk.workflow import Event
from portal.doors import grants
from portal.doors.grants import EntryDraft
from portal.errors import Conflict, Forbidden, Invalid, NotFound, Refused, TooMany
from portal.models.audit import AuditEvent
from portal.models.delivery import Publication
from portal.models.levers import GrantRow
from portal.models.requests import Request
from portal.models.words import Role, State
from tests.portal.frontdesk import LISTS, NODE, NOW, Desk, grant

PURPOSE = "Students compare how two newspapers tell the same story."


def fields(refusal: pytest.ExceptionInfo[Invalid]) -> dict[str, str]:
    return {error.field: error.message for error in refusal.value.errors}


def test_only_tools_and_purpose_are_required_and_the_rest_is_prefilled(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        row = requests.submit(session, desk.tess, NOW, Draft((ToolDraft("https://www.flickr.com/photos/x"),), PURPOSE))
        view = queue.get(session, desk.tess, NOW, row.id or 0)
    assert view.state is State.SUBMITTED
    assert (view.sites, [*view.audiences]) == (("edison",), ["students", "staff"])
    assert (view.starts_on, view.ends_on) == ("2026-03-04", "2026-05-22")
    assert view.tools[0].dropped_path
    assert "flickr.com" in view.tools[0].names
    assert view.may == {Event.WITHDRAW}
    assert [note.event for note in view.notes] == [Event.SUBMIT]


@pytest.mark.parametrize("typed", ["Instagram", "instagram", "instagram.com", "https://www.instagram.com/p/1"])
def test_a_service_is_known_by_title_id_name_and_address(desk: Desk, typed: str) -> None:
    number = desk.submit(typed)
    with reading(desk.engine) as session:
        tool = queue.get(session, desk.tess, NOW, number).tools[0]
    assert tool.service == "instagram"
    assert "cdninstagram.com" in tool.names


BAD_TOOLS = [
    ("", "say which website or app"),
    ("co.uk", "public suffix"),
    ("github.io", "public suffix"),
    ("10.0.0.1", "IP address"),
    ("http://[::1]/", "IP address"),
    ("localhost", "each computer's own name"),
    ("http://localhost:8080/", "each computer's own name"),
    ("a" * 64 + ".example.com", "at most 63"),
    (".".join(["abcdefgh"] * 30) + ".com", "at most 253"),
    ("Kahutt", "no site or app called"),
    ("ftp://files.example.com", "not a web address"),
    ("bad_host!.example.com", "character that no name can have"),
]


@pytest.mark.parametrize(("typed", "sentence"), BAD_TOOLS)
def test_a_tool_that_cannot_be_is_refused_with_the_reason(desk: Desk, typed: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        requests.submit(session, desk.tess, NOW, Draft((ToolDraft(typed),), PURPOSE))
    assert sentence in fields(refusal)["tools[0].name"]
    assert desk.count(Request) == 0


def test_every_mistake_is_told_at_once(desk: Desk) -> None:
    draft = Draft(
        tools=(ToolDraft("flickr.com"), ToolDraft("com"), ToolDraft("Maps", ("https://maps.example.org/x", "nowhere"))),
        purpose="  \x00 ",
        use="dance",
        audiences=("students", "parents"),
        sites=("edison", "atlantis"),
        starts_on="2026-03-03",
        ends_on="soon",
    )
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        requests.submit(session, desk.tess, NOW, draft)
    assert set(fields(refusal)) == {
        "tools[1].name",
        "tools[2].urls[1]",
        "purpose",
        "use",
        "audiences[1]",
        "sites[1]",
        "starts_on",
        "ends_on",
    }


def test_dates_must_be_in_order_and_in_reach(desk: Desk) -> None:
    def refused(**typed: str) -> dict[str, str]:
        with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
            requests.submit(session, desk.tess, NOW, replace(Draft((ToolDraft("flickr.com"),), PURPOSE), **typed))
        return fields(refusal)

    assert "before the first day" in refused(starts_on="2026-04-01", ends_on="2026-03-30")["ends_on"]
    assert "at most 400 days" in refused(ends_on="2027-12-31")["ends_on"]
    assert "year" in refused(starts_on="9999-12-31", ends_on="9999-12-31")["ends_on"]


def test_after_the_end_of_term_the_request_is_prefilled_with_a_month(desk: Desk) -> None:
    summer = NOW + 120 * 86400
    with transaction(desk.engine) as session:
        usual = requests.defaults(session, desk.tess, summer)
        late = requests.submit(
            session, desk.tess, NOW, Draft((ToolDraft("flickr.com"),), PURPOSE, starts_on="2026-06-01")
        )
    assert (usual.starts_on, usual.ends_on) == ("2026-07-02", "2026-08-01")
    assert late.ends_on == "2026-07-01"


def test_a_locked_name_can_be_asked_for_but_never_granted(desk: Desk) -> None:
    number = desk.submit("pornhub.com")
    with pytest.raises(Invalid) as refusal:
        desk.approve(number)
    assert "locked by law or for safety" in fields(refusal)["grant.entries[0].name"]
    assert (desk.count(GrantRow), desk.count(Request)) == (0, 1)


def test_an_approval_is_grant_event_and_publication_together(desk: Desk) -> None:
    number = desk.submit()
    before = desk.count(Publication)
    with transaction(desk.engine) as session:
        requests.decide(session, desk.rosa, NOW, number, 1, Event.APPROVE, "fine", grant("pinterest.com"), LISTS)
    with reading(desk.engine) as session:
        view = queue.get(session, desk.tess, NOW, number)
        newest = session.exec(select(AuditEvent).order_by(AuditEvent.id.desc())).first()  # type: ignore[union-attr]
        live = grants.live(session, NOW)
    assert (view.state, view.decided_by, view.revision) == (State.APPROVED, "Rosa Diaz", 2)
    assert [one.number for one in live] == [view.grants[0].id]
    assert (live[0].authority.kind, live[0].authority.number) == ("request", number)
    assert newest is not None
    assert (newest.tag, newest.subject, newest.actor) == ("request.decision.approve", f"request:{number}", "user:2")
    assert newest.detail["grant"] == view.grants[0].id
    assert desk.count(Publication) == before + 1


def test_a_decision_that_fails_half_way_leaves_nothing(desk: Desk) -> None:
    number = desk.submit()
    before = (desk.count(AuditEvent), desk.count(Publication))
    with pytest.raises(RuntimeError), transaction(desk.engine) as session:
        requests.decide(session, desk.rosa, NOW, number, 1, Event.APPROVE, "", None, LISTS)
        raise RuntimeError("the machine stops here")
    assert (desk.count(AuditEvent), desk.count(Publication), desk.count(GrantRow)) == (*before, 0)
    desk.approve(number)


def test_of_two_reviewers_who_decide_at_once_one_wins_and_the_other_is_told_who(desk: Desk) -> None:
    number = desk.submit()
    start = threading.Barrier(2)
    outcome: dict[str, Refused | None] = {}

    def decide(who: Actor, decision: Event) -> None:
        start.wait()
        try:
            with transaction(desk.engine) as session:
                requests.decide(session, who, NOW, number, 1, decision, "because", None, LISTS)
            outcome[who.name] = None
        except Refused as refusal:
            outcome[who.name] = refusal

    threads = [
        threading.Thread(target=decide, args=pair) for pair in ((desk.rosa, Event.APPROVE), (desk.ben, Event.DENY))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [name for name, refusal in outcome.items() if refusal is None]
    (loser,) = [refusal for refusal in outcome.values() if refusal is not None]
    assert isinstance(loser, Conflict)
    verb = "approved" if winner == "Rosa Diaz" else "denied"
    assert loser.detail == f"{winner} {verb} this at 10:42 CST; reload to see it."
    assert desk.count(GrantRow) == (winner == "Rosa Diaz")


def test_twenty_threads_approve_one_request_once(desk: Desk) -> None:
    number = desk.submit()
    refusals: list[Refused] = []

    def approve(who: Actor) -> None:
        try:
            desk.approve(number, actor=who)
        except Refused as refusal:
            refusals.append(refusal)

    threads = [threading.Thread(target=approve, args=((desk.rosa, desk.ben)[turn % 2],)) for turn in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 19
    assert desk.count(GrantRow) == 1


def test_nobody_decides_their_own_request(desk: Desk) -> None:
    number = desk.submit(actor=desk.rosa)
    with pytest.raises(Forbidden, match="their own"):
        desk.approve(number, actor=desk.rosa)
    desk.approve(number, actor=desk.ben)


@pytest.mark.parametrize("who", ["tess", "amir", "ada"])
def test_only_a_reviewer_decides(desk: Desk, who: str) -> None:
    number = desk.submit()
    with pytest.raises(Forbidden, match="Only a reviewer"):
        desk.approve(number, actor=getattr(desk, who))


def test_a_machine_decides_nothing_and_writes_no_request(desk: Desk) -> None:
    number = desk.submit()
    robot = desk.machine(Role.REVIEWER)
    with pytest.raises(Forbidden, match="machine"):
        desk.approve(number, actor=robot)
    for who in (robot, NODE):
        with pytest.raises(Forbidden):
            desk.submit(actor=who)


def test_a_request_of_somebody_else_does_not_exist_for_a_requester(desk: Desk) -> None:
    number = desk.submit(actor=desk.rosa)
    with reading(desk.engine) as session:
        with pytest.raises(NotFound):
            queue.get(session, desk.tess, NOW, number)
        assert queue.find(session, desk.tess, NOW) == ()
        assert [view.id for view in queue.find(session, desk.ada, NOW)] == [number]
        assert queue.waiting(session, desk.tess) == 0
        assert queue.waiting(session, desk.rosa) == 1
    with pytest.raises(NotFound), transaction(desk.engine) as session:
        requests.withdraw(session, desk.tess, NOW, number, 1)


def test_all_but_an_approval_need_a_reason_and_only_an_approval_gives_a_grant(desk: Desk) -> None:
    number = desk.submit()
    for decision in (Event.DENY, Event.ASK, Event.NOT_OUR_BLOCK):
        with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
            requests.decide(session, desk.rosa, NOW, number, 1, decision, " ", grant(), LISTS)
        assert set(fields(refusal)) == {"reason", "grant"}
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        requests.decide(session, desk.rosa, NOW, number, 1, Event.WITHDRAW, "x", None, LISTS)
    assert set(fields(refusal)) == {"decision"}


def test_question_answer_denial_appeal_approval(desk: Desk) -> None:
    number = desk.submit()
    with transaction(desk.engine) as session:
        requests.decide(session, desk.rosa, NOW, number, 1, Event.ASK, "Which class?", None, LISTS)
        requests.answer(session, desk.tess, NOW, number, 2, "Fourth hour.")
        requests.decide(session, desk.rosa, NOW, number, 3, Event.DENY, "Too wide.", None, LISTS)
        requests.appeal(session, desk.tess, NOW, number, 4, "It is one lesson.")
        row = session.get(Request, number)
        assert row is not None
        assert (row.decided_by, row.state) == (None, State.SUBMITTED)
        requests.decide(session, desk.ben, NOW, number, 5, Event.APPROVE, "", None, LISTS)
        notes = [(note.author, note.event, note.text) for note in queue.get(session, desk.tess, NOW, number).notes]
    assert notes[1:] == [
        ("Rosa Diaz", Event.ASK, "Which class?"),
        ("Tess Okafor", Event.ANSWER, "Fourth hour."),
        ("Rosa Diaz", Event.DENY, "Too wide."),
        ("Tess Okafor", Event.APPEAL, "It is one lesson."),
        ("Ben Ode", Event.APPROVE, ""),
    ]


def test_a_renewal_is_a_new_request_for_the_time_after(desk: Desk) -> None:
    number = desk.submit()
    desk.approve(number)
    with transaction(desk.engine) as session:
        row = requests.renew(session, desk.tess, NOW, number, 2)
        assert (row.renews_id, row.state, row.starts_on, row.ends_on) == (
            number,
            State.SUBMITTED,
            "2026-05-23",
            "2026-06-22",
        )
        with pytest.raises(Conflict, match=f"Request {row.id} renews"):
            requests.renew(session, desk.tess, NOW, number, 3)


def test_the_audit_never_holds_a_purpose_or_what_was_said(desk: Desk) -> None:
    number = desk.submit()
    with transaction(desk.engine) as session:
        requests.decide(session, desk.rosa, NOW, number, 1, Event.DENY, "Marlow's secret reason", None, LISTS)
        found = [str(event.detail) for event in session.exec(select(AuditEvent))]
    assert not any("Marlow" in text or "references" in text for text in found)


def test_a_reviewers_grant_replaces_what_was_asked_for(desk: Desk) -> None:
    number = desk.submit("instagram")
    with transaction(desk.engine) as session:
        wide = requests.proposal(session, number)
        assert EntryDraft("instagram.com") in wide.entries
        requests.decide(
            session, desk.rosa, NOW, number, 1, Event.APPROVE, "", grant("about.instagram.com", "exact"), LISTS
        )
        (given,) = grants.live(session, NOW)
    assert [(entry.name, entry.match) for entry in given.entries] == [("about.instagram.com", "exact")]


def test_nobody_sends_more_requests_in_an_hour_than_a_person_can_mean(desk: Desk) -> None:
    for _ in range(requests.MAX_PER_HOUR):
        desk.submit()
    with pytest.raises(TooMany, match="within an hour"):
        desk.submit()
    desk.submit(actor=desk.amir)
    with transaction(desk.engine) as session:
        draft = requests.Draft((ToolDraft("pinterest.com"),), "Students collect references.")
        requests.submit(session, desk.tess, NOW + 3600, draft)
