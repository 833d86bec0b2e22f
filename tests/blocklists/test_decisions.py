"""The decision order, sentence by sentence: every scenario of tests/data/decisions on the pure decider."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from blocklists import decide as decide_module
from blocklists.base import Base
from blocklists.decide import decide, explain
from blocklists.policy import (
    EVERY_SITE,
    FOREVER,
    UNASSIGNED,
    Answering,
    AnswerStyle,
    Audience,
    AuthorityKind,
    Category,
    Grant,
    Group,
    Hours,
    Mode,
    Policy,
    ReasonKind,
    Verdict,
    Window,
    YouTube,
)
from blocklists.snapshot import Snapshot
from tests import support

Make = Callable[[Policy, Base], Snapshot]
FOLDER = Path(__file__).parent.parent / "data" / "decisions"
MONDAY_AT_TEN = datetime(2026, 10, 5, 10)
STEP_OF_REASON = {
    ReasonKind.BRAKE: 1,
    ReasonKind.BYPASS: 3,
    ReasonKind.LOCKED: 4,
    ReasonKind.OWN: 5,
    ReasonKind.GRANT: 6,
    ReasonKind.CUSTOM: 6,
    ReasonKind.SERVICE: 7,
    ReasonKind.CATEGORY: 7,
    ReasonKind.MODE: 7,
    ReasonKind.OBSERVED: 7,
    ReasonKind.DEFAULT: 8,
}


@dataclass(frozen=True)
class Scenario:
    file: str
    plain: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.plain['sentence']}: {self.plain['says']}"


def scenarios() -> Iterator[Scenario]:
    for path in sorted(FOLDER.glob("[0-9]*.toml")):
        for plain in tomllib.loads(path.read_text())["scenario"]:
            yield Scenario(path.name, plain)


SCENARIOS = list(scenarios())
SENTENCES: dict[str, dict[str, str]] = tomllib.loads((FOLDER / "sentences.toml").read_text())
KNOWN = frozenset(
    {
        "sentence",
        "says",
        "lists",
        "services",
        "blocks",
        "switches",
        "styles",
        "grants",
        "corrections",
        "protected",
        "brakes",
        "custom",
        "own",
        "ask",
        "as",
        "at",
        "modes",
        "observe_until",
        "via",
        "zone",
        "created_at",
        "expect",
    }
)


def moment(local: datetime) -> int:
    """Times in the files are Chicago's, whatever the policy's zone."""
    return int(local.replace(tzinfo=ZoneInfo(support.ZONE)).timestamp())


def hours(text: str) -> Hours:
    """`0-4 08:00-15:00`."""
    days, _, span = text.partition(" ")
    first, last = (int(day) for day in days.split("-"))
    start, end = (int(time[:2]) * 60 + int(time[3:]) for time in span.split("-"))
    return Hours(tuple(range(first, last + 1)), start, end)


def audiences(plain: Mapping[str, Any]) -> tuple[Audience, ...]:
    return tuple(Audience(one) for one in plain.get("audiences", support.EVERYBODY))


def read_grant(number: int, plain: Mapping[str, Any]) -> Grant:
    start = moment(plain["from"]) if "from" in plain else 0
    end = moment(plain["until"]) if "until" in plain else None
    made = support.grant(
        number,
        *plain["opens"],
        sites=tuple(plain.get("sites", (EVERY_SITE,))),
        audiences=audiences(plain),
        window=Window(start, end, tuple(hours(text) for text in plain.get("hours", ()))),
        authority=AuthorityKind(plain.get("authority", "request")),
    )
    return replace(made, lifts_rewrites=plain.get("lifts_rewrites", False))


def asking_group(plain: Mapping[str, Any]) -> Group:
    """The group that asks; for the unassigned, a group beside them, so that its settings can be seen not to matter."""
    who = plain.get("as", "north students")
    site, _, audience = ("north students" if who == UNASSIGNED else who).partition(" ")
    blocks = tuple(plain.get("blocks", ("social-media", "messaging")))
    until = moment(plain["observe_until"]) if "observe_until" in plain else None
    made = support.group(
        "asking",
        site,
        Audience(audience),
        blocks=blocks,
        services=plain.get("switches", {}),
        observe_until=until,
    )
    return replace(made, safe_search=plain.get("safe_search", False), youtube=YouTube(plain.get("youtube", "off")))


def answering(plain: Mapping[str, Any]) -> Answering:
    found = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.get("answers", {}).items()}
    return Answering(**found)


def read_mode(number: int, plain: Mapping[str, Any]) -> Mode:
    sites = tuple(plain.get("sites", (EVERY_SITE,)))
    start, end = moment(plain["from"]), moment(plain["until"])
    return support.mode(number, plain["kind"], start, end, plain.get("suspends", ()), sites, audiences(plain))


def snapshot_of(
    plain: Mapping[str, Any], networks: tuple[str, ...] = (), make: Make = support.make_test_snapshot
) -> Snapshot:
    base = support.make_base(plain.get("lists"), plain.get("services"))
    categories: list[Category] = [
        replace(one, style=AnswerStyle(plain.get("styles", {}).get(one.id, "nxdomain"))) for one in support.CATEGORIES
    ]
    policy = support.make_policy(
        base,
        zone=plain.get("zone", support.ZONE),
        created_at=moment(plain["created_at"]) if "created_at" in plain else support.CREATED_AT,
        categories=tuple(categories),
        groups=(replace(asking_group(plain), networks=networks),),
        grants=tuple(read_grant(number, one) for number, one in enumerate(plain.get("grants", ()), 1)),
        corrections=tuple(
            support.correction(number, one["at"], *one.get("lists", ()))
            for number, one in enumerate(plain.get("corrections", ()), 1)
        ),
        protected=tuple(support.entry(text) for text in plain.get("protected", ())),
        brakes=tuple(support.brake(number, name) for number, name in enumerate(plain.get("brakes", ()), 1)),
        blocks=tuple(
            support.custom_block(number, one["at"], tuple(one.get("sites", (EVERY_SITE,))), audiences(one))
            for number, one in enumerate(plain.get("custom", ()), 1)
        ),
        own=tuple(plain.get("own", ())),
        modes=tuple(read_mode(number, one) for number, one in enumerate(plain.get("modes", ()), 1)),
        answering=answering(plain),
    )
    return make(policy, base)


def verdict_of(plain: Mapping[str, Any], make: Make) -> Verdict:
    snapshot = snapshot_of(plain, make=make)
    rules = snapshot.rules(UNASSIGNED if plain.get("as") == UNASSIGNED else "asking")
    now = moment(plain.get("at", MONDAY_AT_TEN))
    via = frozenset(plain.get("via", ()))
    verdict = decide(plain["ask"], rules, now, via)
    explanation = explain(plain["ask"], rules, now, via)
    assert explanation.verdict == verdict
    assert [step.decided for step in explanation.steps] == [False] * (len(explanation.steps) - 1) + [True]
    assert explanation.steps[-1].number == STEP_OF_REASON[verdict.reason.kind]
    return verdict


def seen(verdict: Verdict, field: str) -> object:
    if field == "action":
        return verdict.action
    if field == "reason":
        return verdict.reason.kind
    if field == "style":
        return verdict.style
    if field == "lifted":
        return verdict.lifted.kind if verdict.lifted is not None else "nothing"
    if field == "authority":
        authority = verdict.reason.authority
        return authority and f"{authority.kind} {authority.number}"
    if field == "until":
        if verdict.valid_until == FOREVER:
            return "never"
        local = datetime.fromtimestamp(verdict.valid_until, ZoneInfo(support.ZONE))
        return local.strftime("%Y-%m-%dT%H:%M")
    return getattr(verdict.reason, field)


@pytest.mark.parametrize("make", [support.make_test_snapshot, support.make_mapped_snapshot], ids=["read", "mapped"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_scenario_gets_the_verdict_that_it_expects(scenario: Scenario, make: Make) -> None:
    assert scenario.plain.keys() <= KNOWN
    verdict = verdict_of(scenario.plain, make)
    expected = scenario.plain["expect"]
    assert {"action", "reason"} <= expected.keys()
    assert {field: seen(verdict, field) for field in expected} == expected


def test_every_sentence_of_the_decision_has_a_scenario() -> None:
    sentences = SENTENCES["decide"].keys() | SENTENCES["design"].keys()
    assert {scenario.plain["sentence"] for scenario in SCENARIOS} == sentences
    assert len({str(scenario) for scenario in SCENARIOS}) == len(SCENARIOS) >= 70


def test_the_sentences_stand_word_for_word_in_the_deciders_docstring() -> None:
    docstring = " ".join((decide_module.__doc__ or "").split())
    assert [text for text in SENTENCES["decide"].values() if text not in docstring] == []
