"""The life of a request: one table, (state, event) -> state. Pure.

    (new) ── submit ──> submitted ── approve ──────> approved ── renew ──> (a new request that renews it)
                        │   ▲  ▲ ──── deny ────────> denied ──── appeal ──> submitted
                   ask  │   │  └───── appeal ─────── not-our-block  <── not-our-block
                        ▼   │ answer
                        asked ── withdraw ──> withdrawn

The desk may also close a request whose question was never answered. A grant's end is the grant's affair: an approved
request stays approved.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from portal.errors import Conflict
from portal.models.words import State


class Event(StrEnum):
    SUBMIT = "submit"
    ASK = "ask"
    ANSWER = "answer"
    APPROVE = "approve"
    DENY = "deny"
    NOT_OUR_BLOCK = "not-our-block"
    WITHDRAW = "withdraw"
    APPEAL = "appeal"
    RENEW = "renew"


class Party(StrEnum):
    """Whose turn an event is."""

    REQUESTER = "requester"  # the person who wrote the request, nobody else
    REVIEWER = "reviewer"  # a reviewer who did not write it


PARTIES: Mapping[Event, Party] = {
    Event.SUBMIT: Party.REQUESTER,
    Event.ASK: Party.REVIEWER,
    Event.ANSWER: Party.REQUESTER,
    Event.APPROVE: Party.REVIEWER,
    Event.DENY: Party.REVIEWER,
    Event.NOT_OUR_BLOCK: Party.REVIEWER,
    Event.WITHDRAW: Party.REQUESTER,
    Event.APPEAL: Party.REQUESTER,
    Event.RENEW: Party.REQUESTER,
}

TABLE: Mapping[tuple[State | None, Event], State] = {
    (None, Event.SUBMIT): State.SUBMITTED,
    (State.SUBMITTED, Event.ASK): State.ASKED,
    (State.SUBMITTED, Event.APPROVE): State.APPROVED,
    (State.SUBMITTED, Event.DENY): State.DENIED,
    (State.SUBMITTED, Event.NOT_OUR_BLOCK): State.NOT_OUR_BLOCK,
    (State.SUBMITTED, Event.WITHDRAW): State.WITHDRAWN,
    (State.ASKED, Event.ANSWER): State.SUBMITTED,
    (State.ASKED, Event.APPROVE): State.APPROVED,
    (State.ASKED, Event.DENY): State.DENIED,
    (State.ASKED, Event.NOT_OUR_BLOCK): State.NOT_OUR_BLOCK,
    (State.ASKED, Event.WITHDRAW): State.WITHDRAWN,
    (State.DENIED, Event.APPEAL): State.SUBMITTED,
    (State.NOT_OUR_BLOCK, Event.APPEAL): State.SUBMITTED,
    (State.APPROVED, Event.RENEW): State.APPROVED,
}


STATE_WORDS: Mapping[State, str] = {
    State.SUBMITTED: "waiting for the service desk",
    State.ASKED: "waiting for the requester's answer",
    State.APPROVED: "approved",
    State.DENIED: "denied",
    State.NOT_OUR_BLOCK: "answered: not blocked by us",
    State.WITHDRAWN: "withdrawn",
}

PAST: Mapping[Event, str] = {
    Event.SUBMIT: "submitted",
    Event.ASK: "asked a question about",
    Event.ANSWER: "answered the question about",
    Event.APPROVE: "approved",
    Event.DENY: "denied",
    Event.NOT_OUR_BLOCK: "answered “not our block” to",
    Event.WITHDRAW: "withdrew",
    Event.APPEAL: "appealed",
    Event.RENEW: "renewed",
}

_DEEDS: Mapping[Event, str] = {
    Event.SUBMIT: "submitted",
    Event.ASK: "asked about",
    Event.ANSWER: "answered",
    Event.APPROVE: "approved",
    Event.DENY: "denied",
    Event.NOT_OUR_BLOCK: "answered with “not our block”",
    Event.WITHDRAW: "withdrawn",
    Event.APPEAL: "appealed",
    Event.RENEW: "renewed",
}


def after(state: State | None, event: Event) -> State:
    """Return the state that follows, or raise `Conflict` that names the present one."""
    following = TABLE.get((state, event))
    if following is None:
        now = "not submitted yet" if state is None else STATE_WORDS[state]
        raise Conflict(f"This request is {now}; it cannot be {_DEEDS[event]}.")
    return following


def events(state: State | None, party: Party) -> frozenset[Event]:
    """Return what `party` can do to a request in `state`."""
    return frozenset(event for (at, event) in TABLE if at is state and PARTIES[event] is party)
