"""Scenarios on the engine, in DNS messages: policy, question, what upstream says, what the client must see.

The files are tests/data/wire/*.toml, and every scenario of the pure decision (tests/data/decisions), those about a
target (`via`) behind a name that the grant opens. For each, the query log, the extended error and `explain` (of the
name that was asked for, with what came back) name one and the same reason.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from blocklists import names, reasons
from blocklists.policy import UNASSIGNED, Action
from blocklists.returned import Returned, explain, given
from blocklists.snapshot import Snapshot
from resolver.log.querylog import Record
from tests.blocklists.test_decisions import MONDAY_AT_TEN, SCENARIOS, moment, snapshot_of
from tests.resolver.laboratory import STRANGER, STUDENT, Laboratory
from tests.resolver.messages import codes, reply, texts

FOLDER = Path(__file__).parent.parent / "data" / "wire"
NETWORKS = ("10.1.0.0/16",)
DECISIONS = [one for one in SCENARIOS if "via" not in one.plain]
TARGETS = [one for one in SCENARIOS if "via" in one.plain]


def wire_scenarios() -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for path in sorted(FOLDER.glob("*.toml")):
        found += tomllib.loads(path.read_text())["scenario"]
    return found


WIRE = wire_scenarios()


def seen(plain: Mapping[str, Any], snapshot: Snapshot) -> tuple[dns.message.Message, Record]:
    """What the client gets, and the record of it."""
    lab = Laboratory(snapshot)
    lab.now = float(moment(plain.get("at", MONDAY_AT_TEN)))
    client = STRANGER if plain.get("as") == UNASSIGNED else STUDENT
    options = {"use_edns": 0, "want_dnssec": plain.get("dnssec", False)}
    answer = lab.ask(plain["ask"], plain.get("type", "A"), client=client, **options)
    said = plain.get("upstream", [f"{plain['ask']}. 60 A 192.0.2.1"])
    while answer is None:
        serial, _, message, _ = lab.sent.pop(0)
        asked = str(dns.message.from_wire(message).question[0].name).lower()
        records = said if asked == f"{plain['ask']}." else plain.get("instead", said)
        lab.raw_upstream(reply(message, *records, rcode=plain.get("upstream_rcode", "NOERROR")), serial)
        answer = dns.message.from_wire(lab.late[-1]) if lab.late else None
    (record,) = lab.log
    return answer, record


def returned(plain: Mapping[str, Any], asked: str) -> Returned:
    """What upstream says of `asked`, as somebody tells `explain`: the addresses and names that its records end with."""
    said = plain.get("upstream", [f"{plain['ask']}. 60 A 192.0.2.1"])
    rtype = plain.get("type", "A")
    records = [line.split() for line in (said if asked == plain["ask"] else plain.get("instead", said))]
    on_the_way = {asked, *(one[3].rstrip(".") for one in records if one[2] in ("CNAME", "DNAME"))}
    telling = [one for one in records if one[0].rstrip(".") in on_the_way or one[2] == "DNAME"]
    ends = [one[4] if one[2] in ("HTTPS", "SVCB") else one[3] for one in telling]
    return given([end.rstrip(".") for end in ends if end != "."], rtype)


def check_one_reason(plain: Mapping[str, Any], answer: dns.message.Message, record: Record, snapshot: Snapshot) -> None:
    """The query log, the extended error and `explain` agree."""
    at = float(moment(plain.get("at", MONDAY_AT_TEN)))
    rules, rtype = snapshot.rules(record.group), plain.get("type", "A")
    explained = explain(plain["ask"], rules, snapshot.policy, at, rtype, lambda asked: returned(plain, asked))
    verdict, reason = explained.verdict, explained.verdict.reason
    found = (record.action, record.reason, record.number, record.entry, record.category, record.list)
    wanted = (verdict.action, reason.kind, reason.number, reason.entry, reason.category, reason.list)
    assert found == tuple("" if value is None and place != 2 else value for place, value in enumerate(wanted))
    assert texts(answer) == [one for one in [reasons.told(verdict, snapshot.policy)] if one]
    assert [step.decided for step in explained.steps] == [*[False] * (len(explained.steps) - 1), True] or (
        verdict.action in (Action.ALLOW, Action.REWRITE)
        and [step.decided for step in explained.steps[-2:]] == [True, False]
    )


@pytest.mark.parametrize("scenario", DECISIONS, ids=str)
def test_a_decision_is_the_same_in_a_message_in_the_log_and_when_explained(scenario: Any) -> None:
    plain = scenario.plain
    snapshot = snapshot_of(plain, NETWORKS)
    answer, record = seen(plain, snapshot)
    check_one_reason(plain, answer, record, snapshot)
    assert record.action == plain["expect"]["action"]
    if record.action == Action.ALLOW:
        assert str(answer.answer[0][0]) == "192.0.2.1"
    else:
        assert answer.answer == [] or plain["expect"].get("style") == "null"


@pytest.mark.parametrize("scenario", TARGETS, ids=str)
def test_a_target_is_judged_alike_behind_a_name_that_its_grant_opens(scenario: Any) -> None:
    plain = scenario.plain
    snapshot = snapshot_of(plain, NETWORKS)
    opens = plain["grants"][plain["via"][0] - 1]["opens"]
    asked = next(name for name in opens if name[0] not in "=~" and name != plain["ask"])
    said = [f"{asked}. 60 CNAME {plain['ask']}.", f"{plain['ask']}. 60 A 192.0.2.1"]
    whole = {**plain, "ask": asked, "upstream": said}
    answer, record = seen(whole, snapshot)
    check_one_reason(whole, answer, record, snapshot)
    assert record.action == plain["expect"]["action"]
    if record.action == Action.ALLOW:
        assert [str(rrset[0]) for rrset in answer.answer] == [f"{plain['ask']}.", "192.0.2.1"]
    else:
        assert answer.answer == []


@pytest.mark.parametrize("plain", WIRE, ids=lambda plain: plain["says"])
def test_the_client_sees_what_the_scenario_says(plain: Mapping[str, Any]) -> None:
    snapshot = snapshot_of(plain, NETWORKS)
    answer, record = seen(plain, snapshot)
    see = plain["see"]
    lines = [
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {one}".lower() for rrset in answer.answer for one in rrset
    ]
    assert dns.rcode.to_text(answer.rcode()) == see.get("rcode", "NOERROR")
    assert sorted(lines) == sorted(see.get("answer", []))
    assert codes(answer) == see.get("errors", [])
    assert answer.additional == []
    assert record.reason == see["reason"]
    check_one_reason(plain, answer, record, snapshot)
    assert names.from_wire(record.name) == plain["ask"]


def test_there_are_a_hundred_scenarios_and_each_says_something_else() -> None:
    assert len(DECISIONS) + len(TARGETS) + len(WIRE) >= 200
    assert {plain["see"]["reason"] for plain in WIRE} >= {"rebinding", "rewrite", "bypass", "locked", "brake"}
    assert len({plain["says"] for plain in WIRE}) == len(WIRE)
