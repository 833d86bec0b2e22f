"""The table of a request's life, cell by cell, and under any order of events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.access import Actor
from portal.database import transaction
from portal.desk import queue, requests, workflow
from portal.desk.workflow import Event, Party
from portal.errors import Conflict, Forbidden, Refused
from portal.models.requests import Request
from portal.models.words import State
from tests.portal.frontdesk import LISTS, NOW, Desk, opened

# Rows: the state. Columns: submit ask answer approve deny not-our-block withdraw appeal renew. `.`: refused.
EXPECTED = """
new            submitted .     .         .        .      .             .         .         .
submitted      .         asked .         approved denied not-our-block withdrawn .         .
asked          .         .     submitted approved denied not-our-block withdrawn .         .
approved       .         .     .         .        .      .             .         .         approved
denied         .         .     .         .        .      .             .         submitted .
not-our-block  .         .     .         .        .      .             .         submitted .
withdrawn      .         .     .         .        .      .             .         .         .
"""
EVENTS = tuple(Event)
CELLS = [
    (None if row.split()[0] == "new" else State(row.split()[0]), event, None if cell == "." else State(cell))
    for row in EXPECTED.strip().splitlines()
    for event, cell in zip(EVENTS, row.split()[1:], strict=True)
]


def test_every_state_has_a_row() -> None:
    assert {state for state, _, _ in CELLS} == {None, *State}
    assert EVENTS == (
        Event.SUBMIT,
        Event.ASK,
        Event.ANSWER,
        Event.APPROVE,
        Event.DENY,
        Event.NOT_OUR_BLOCK,
        Event.WITHDRAW,
        Event.APPEAL,
        Event.RENEW,
    )


@pytest.mark.parametrize(("state", "event", "following"), CELLS)
def test_the_table_says_what_follows_and_what_is_refused(
    state: State | None, event: Event, following: State | None
) -> None:
    if following is not None:
        assert workflow.after(state, event) is following
        return
    with pytest.raises(Conflict) as refusal:
        workflow.after(state, event)
    assert (workflow.STATE_WORDS[state] if state else "not submitted yet") in refusal.value.detail


def test_every_event_is_somebodys_and_has_its_words() -> None:
    assert set(workflow.PARTIES) == set(Event) == set(workflow.PAST)
    assert set(workflow.STATE_WORDS) == set(State)
    reviewers = {event for event, party in workflow.PARTIES.items() if party is Party.REVIEWER}
    assert reviewers == {Event.ASK, Event.APPROVE, Event.DENY, Event.NOT_OUR_BLOCK}
    assert workflow.events(State.SUBMITTED, Party.REVIEWER) == reviewers
    assert workflow.events(State.DENIED, Party.REQUESTER) == {Event.APPEAL}
    assert workflow.events(State.WITHDRAWN, Party.REQUESTER) == frozenset()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk whose clock stands still, for many examples: one person's requests within the hour are not the point."""
    folder: Path = tmp_path_factory.mktemp("workflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "MAX_PER_HOUR", 1_000_000)
        desk = opened(folder)
        yield desk
        desk.engine.dispose()


@given(steps=st.lists(st.tuples(st.sampled_from(EVENTS[1:]), st.integers(0, 3), st.booleans()), max_size=8))
@settings(max_examples=40)
def test_no_order_of_events_leaves_the_table(shared: Desk, steps: list[tuple[Event, int, bool]]) -> None:
    people = (shared.tess, shared.rosa, shared.ben, shared.amir)
    number = shared.submit()
    state, revision = State.SUBMITTED, 1
    for event, person, stale in steps:
        who = people[person]
        expected = workflow.TABLE.get((state, event))
        theirs = who == shared.tess if workflow.PARTIES[event] is Party.REQUESTER else person in (1, 2)
        try:
            _do(shared, who, event, number, revision - 1 if stale else revision)
        except Refused as refusal:
            assert not theirs or stale or expected is None, (event, refusal.detail)
            assert isinstance(refusal, Conflict if theirs else Forbidden)
        else:
            assert theirs and not stale and expected is not None
            state, revision = expected, revision + 1
        with transaction(shared.engine) as session:
            row = session.get(Request, number)
            assert row is not None
            assert (row.state, row.revision) == (state, revision)
            view = queue.get(session, shared.rosa, NOW, number)
            assert view.may == workflow.events(state, Party.REVIEWER)
            assert len(view.grants) == (state is State.APPROVED)


def _do(desk: Desk, who: Actor, event: Event, number: int, revision: int) -> None:
    with transaction(desk.engine) as session:
        if workflow.PARTIES[event] is Party.REVIEWER:
            requests.decide(session, who, NOW, number, revision, event, "because", None, LISTS)
        elif event is Event.RENEW:
            try:
                requests.renew(session, who, NOW, number, revision)
            except Conflict as refusal:
                if "renews this one already" in refusal.detail:
                    row = session.get(Request, number)
                    assert row is not None
                    row.revision += 1  # as far as the model goes, a second renewal is one more event
                    return
                raise
        else:
            does = {Event.ANSWER: requests.answer, Event.WITHDRAW: requests.withdraw, Event.APPEAL: requests.appeal}
            does[event](session, who, NOW, number, revision, "because")
