"""A request's story and its state, in words for pages. Pure, from views."""

from __future__ import annotations

from dataclasses import dataclass

from portal.desk.queue import RequestView
from portal.desk.workflow import Event
from portal.models.words import State
from portal.pages import words
from portal.pages.cards import Card
from portal.pages.words import Word


@dataclass(frozen=True, slots=True)
class Chapter:
    who: str
    did: str
    at: int
    text: str
    word: Word


_DID: dict[Event, Word] = {
    Event.SUBMIT: Word("sent the request", "info", "plus"),
    Event.ASK: Word("asked", "wait", "info"),
    Event.ANSWER: Word("answered", "info", "info"),
    Event.APPROVE: Word("approved it", "open", "yes"),
    Event.DENY: Word("denied it", "shut", "no"),
    Event.NOT_OUR_BLOCK: Word("answered: not our block", "done", "done"),
    Event.WITHDRAW: Word("withdrew it", "done", "done"),
    Event.APPEAL: Word("asked for another look", "wait", "wait"),
    Event.RENEW: Word("renewed it", "info", "plus"),
}


def story(request: RequestView, cards: tuple[Card, ...]) -> tuple[Chapter, ...]:
    """Return what happened, oldest first: what people did to the request, and to its grants."""
    found = [
        Chapter(note.author, _DID[note.event].text, note.at, note.text, _DID[note.event]) for note in request.notes
    ]
    for card in cards:
        if card.revoked_at is not None:
            did = f"revoked grant № {card.id}"
            word = Word(did, "shut", "shut")
            found.append(Chapter(card.revoked_by or "Somebody", did, card.revoked_at, card.revoke_reason, word))
    return tuple(sorted(found, key=lambda one: one.at))


def state(request: RequestView, cards: tuple[Card, ...]) -> Word:
    """Return the state as people read it: an approved request shows how far its newest grant has come."""
    if request.state is State.APPROVED and cards:
        return cards[-1].word
    return words.STATES[request.state]


def tools(request: RequestView) -> str:
    return words.listed([tool.name for tool in request.tools])
