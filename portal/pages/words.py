"""The words and colours of every state, in one place: a page never shows a state by colour alone, nor an id for a word.

Pure look-ups from the closed sets of the vocabulary; a new member without a word fails the tests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from blocklists.policy import Action, Audience, AuthorityKind, Match, ReasonKind
from portal.models.words import State, Use

Tone = Literal["open", "wait", "shut", "info", "done"]


@dataclass(frozen=True, slots=True)
class Word:
    """A state as people read it. `tone` is a class of the stylesheet, `icon` a symbol of icons.svg."""

    text: str
    tone: Tone
    icon: str


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a form."""

    value: str
    text: str
    about: str = ""


STATES: dict[State, Word] = {
    State.SUBMITTED: Word("Waiting for the desk", "wait", "wait"),
    State.ASKED: Word("The desk has a question", "info", "info"),
    State.APPROVED: Word("Approved", "open", "yes"),
    State.DENIED: Word("Denied", "shut", "no"),
    State.NOT_OUR_BLOCK: Word("Not our block", "done", "done"),
    State.WITHDRAWN: Word("Withdrawn", "done", "done"),
}

USES: dict[Use, Option] = {
    Use.VIEW: Option(Use.VIEW, "To look at", "Students watch, read or listen; nobody signs in"),
    Use.STUDENTS_POST: Option(Use.STUDENTS_POST, "Students sign in or post", "They need accounts of their own"),
    Use.CLASS_POST: Option(Use.CLASS_POST, "I post for the class", "One account, run by the teacher"),
    Use.MESSAGES: Option(Use.MESSAGES, "Messages with students", "Any kind of direct communication"),
}

AUDIENCES: dict[Audience, Option] = {
    Audience.STUDENTS: Option(Audience.STUDENTS, "Students"),
    Audience.STAFF: Option(Audience.STAFF, "Staff"),
    Audience.GUESTS: Option(Audience.GUESTS, "Guests"),
}

MATCHES: dict[Match, Option] = {
    Match.SUBTREE: Option(Match.SUBTREE, "and all below it"),
    Match.EXACT: Option(Match.EXACT, "this name only"),
    Match.VIA: Option(Match.VIA, "only on the way"),
}

AUTHORITIES: dict[AuthorityKind, str] = {
    AuthorityKind.REQUEST: "request",
    AuthorityKind.REGISTER: "register entry",
    AuthorityKind.EXCEPTION: "operational exception",
}

ACTIONS: dict[Action, Word] = {
    Action.ALLOW: Word("Allowed", "open", "open"),
    Action.BLOCK: Word("Blocked", "shut", "shut"),
    Action.SYNTHESIZE: Word("Answered by us", "info", "info"),
    Action.REWRITE: Word("Answered safely", "open", "open"),
}

REASONS: dict[ReasonKind, str] = {
    ReasonKind.BRAKE: "an administrator's brake",
    ReasonKind.BYPASS: "a signal by which devices leave the filter",
    ReasonKind.LOCKED: "a locked category: no request opens it",
    ReasonKind.OWN: "the district's own name",
    ReasonKind.GRANT: "a grant",
    ReasonKind.CUSTOM: "an administrator's block",
    ReasonKind.SERVICE: "this group's setting for one service",
    ReasonKind.CATEGORY: "a category that is blocked for this group",
    ReasonKind.DEFAULT: "no rule forbids it",
    ReasonKind.OBSERVED: "observing: it would be blocked, and is only logged yet",
    ReasonKind.MODE: "a mode that an administrator switched on",
    ReasonKind.REWRITE: "this group's safe search or YouTube mode",
    ReasonKind.REBINDING: "a public name whose answer holds a private address",
}

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def count(number: int, one: str, many: str = "") -> str:
    """Return `1 name`, `2 names`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: list[str], conjunction: str = "and") -> str:
    """Return `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def sentence(text: str) -> str:
    """Return the text with a capital letter, unless it begins with a host name, which stays as it is written."""
    first = text.partition(" ")[0]
    return text if "." in first or first == "localhost" else text[:1].upper() + text[1:]


def picked_first(options: Iterable[Option], picked: Collection[str]) -> list[Option]:
    """Return the options of a long list that scrolls: those that are ticked on top, where they are seen."""
    return sorted(options, key=lambda option: option.value not in picked)
