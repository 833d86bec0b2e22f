"""Scenarios on the engine, in DNS messages: policy, question, what upstream says, what the client must see.

The files are tests/data/wire/*.toml, and every scenario of the pure decision (tests/data/decisions), those about a
target (`via`) behind a name that the grant opens. For each, the query log, the extended error and `explain` name one
and the same reason; the one exception is rebinding, which only an answer shows, and nobody can explain before.
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

from blocklists import names
from blocklists.decide import explain
from blocklists.policy import UNASSIGNED, Action, Verdict
from blocklists.snapshot import Snapshot
from resolver.log.querylog import Record
from resolver.message import reasons
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


def seen(plain: Mapping[str, Any], snapshot: Snapshot) -> tuple[dns.message.Message, Record, float]:
    """What the client gets, the record of it, and when."""
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
    return answer, record, lab.now


def check_one_reason(plain: Mapping[str, Any], answer: dns.message.Message, record: Record, verdict: Verdict) -> None:
    """Query log, extended error and `explain` agree. `verdict` is what `explain` says."""
    reason = verdict.reason
    found = (record.reason, record.number, record.entry, record.category, record.list)
    assert found == (reason.kind, reason.number, reason.entry or "", reason.category or "", reason.list or "")
    if record.action is Action.ALLOW:
        assert texts(answer) == []


@pytest.mark.parametrize("scenario", DECISIONS, ids=str)
def test_a_decision_is_the_same_in_a_message_in_the_log_and_when_explained(scenario: Any) -> None:
    plain = scenario.plain
    snapshot = snapshot_of(plain, NETWORKS)
    answer, record, now = seen(plain, snapshot)
    verdict = explain(plain["ask"], snapshot.rules(record.group), now).verdict
    check_one_reason(plain, answer, record, verdict)
    assert record.action == plain["expect"]["action"] == verdict.action
    if verdict.action is Action.ALLOW:
        assert str(answer.answer[0][0]) == "192.0.2.1"
    else:
        assert texts(answer) == [reasons.text(verdict, snapshot.policy)]
        assert answer.answer == [] or verdict.style == "null"


@pytest.mark.parametrize("scenario", TARGETS, ids=str)
def test_a_target_is_judged_alike_behind_a_name_that_its_grant_opens(scenario: Any) -> None:
    plain = scenario.plain
    snapshot = snapshot_of(plain, NETWORKS)
    opens = plain["grants"][plain["via"][0] - 1]["opens"]
    asked = next(name for name in opens if name[0] not in "=~" and name != plain["ask"])
    said = [f"{asked}. 60 CNAME {plain['ask']}.", f"{plain['ask']}. 60 A 192.0.2.1"]
    answer, record, now = seen({**plain, "ask": asked, "upstream": said}, snapshot)
    rules = snapshot.rules(record.group)
    target = explain(plain["ask"], rules, now, frozenset(plain["via"])).verdict
    assert target.action == plain["expect"]["action"]
    if target.action is Action.ALLOW:
        check_one_reason(plain, answer, record, explain(asked, rules, now).verdict)
        assert [str(rrset[0]) for rrset in answer.answer] == [f"{plain['ask']}.", "192.0.2.1"]
    else:
        check_one_reason(plain, answer, record, target)
        assert record.action is target.action and answer.answer == []
        assert texts(answer) == [reasons.text(target, snapshot.policy)]


@pytest.mark.parametrize("plain", WIRE, ids=lambda plain: plain["says"])
def test_the_client_sees_what_the_scenario_says(plain: Mapping[str, Any]) -> None:
    snapshot = snapshot_of(plain, NETWORKS)
    answer, record, now = seen(plain, snapshot)
    see = plain["see"]
    lines = [
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {one}".lower() for rrset in answer.answer for one in rrset
    ]
    assert dns.rcode.to_text(answer.rcode()) == see.get("rcode", "NOERROR")
    assert sorted(lines) == sorted(see.get("answer", []))
    assert codes(answer) == see.get("errors", [])
    assert answer.additional == []
    assert record.reason == see["reason"]
    judged = plain.get("target", plain["ask"])
    via = frozenset(plain.get("via", ()))
    if record.reason != "rebinding":
        verdict = explain(judged, snapshot.rules(record.group), now, via).verdict
        if "target" not in plain or record.action is not Action.REWRITE:
            check_one_reason(plain, answer, record, verdict)
        if see.get("errors"):
            assert texts(answer) == [reasons.text(verdict, snapshot.policy)]
    assert names.from_wire(record.name) == plain["ask"]


def test_there_are_a_hundred_scenarios_and_each_says_something_else() -> None:
    assert len(DECISIONS) + len(TARGETS) + len(WIRE) >= 200
    assert [plain["says"] for plain in WIRE if plain["see"]["reason"] == "rebinding"] == [
        "A public name with a private address is not answered"
    ]
    assert len({plain["says"] for plain in WIRE}) == len(WIRE)
