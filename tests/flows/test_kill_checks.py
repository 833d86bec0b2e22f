"""The kill loop's judges, with each forbidden thing planted: they say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from blocklists.decide import decide
from blocklists.names import to_wire
from blocklists.snapshot import Snapshot
from resolver.log.querylog import Record
from tests.flows import kill_checks, kill_log
from tests.support import grant, make_base, make_policy, make_test_snapshot

GROUP, NAME = "north-students", "instagram.com"
START = 1_800_000_000.0
BASE = make_base({"social-media": (NAME,)})
SHUT, OPEN = make_policy(BASE), make_policy(BASE, grants=(grant(7, NAME),))


class Versions:
    """Version 1 blocks NAME, version 2 opens it, version 3 blocks it again."""

    def __init__(self) -> None:
        policies = {1: SHUT, 2: OPEN, 3: SHUT}
        self._of = {
            version: make_test_snapshot(replace(one, version=version), BASE) for version, one in policies.items()
        }

    def of(self, version: int) -> Snapshot | None:
        return self._of[version]

    def __len__(self) -> int:
        return len(self._of)


VERSIONS = Versions()


def said(version: int, at: float) -> Record:
    """The record of a worker that decides by `version`, `at` seconds after the start."""
    snapshot = VERSIONS.of(version)
    assert snapshot is not None
    verdict = decide(NAME, snapshot.rules(GROUP), START + at)
    reason = verdict.reason
    return Record(
        START + at,
        version,
        b"",
        GROUP,
        to_wire(NAME),
        1,
        0,
        verdict.action,
        reason.kind,
        reason.number,
        reason.entry or "",
        reason.category or "",
        reason.list or "",
    )


GOOD = (said(1, 0), said(1, 1), said(2, 1.1), said(2, 5), said(3, 5.2))


def checked(*records: Record, restarts: Sequence[tuple[float, float]] = ()) -> kill_log.Findings:
    return kill_log.check(records, VERSIONS, restarts)


def test_a_log_in_which_every_verdict_is_its_versions_own_is_good() -> None:
    found = checked(*GOOD, restarts=[(START + 2, START + 3)])
    assert (found.wrong, found.records, found.versions, found.slow) == ([], 5, 3, 0)


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        (replace(said(1, 0), version=9), "version 9 was never published"),  # what was not verified
        (replace(said(2, 3), version=3), "version 3 says"),  # parts of two
        (replace(said(2, 3), version=0), "allowed without a version"),
        (replace(said(2, 3), number=8), "version 2 says"),  # another grant than that of its version
    ],
)
def test_a_verdict_of_no_published_version_or_of_parts_of_two_is_found(planted: Record, says: str) -> None:
    (wrong,) = checked(*GOOD, planted).wrong
    assert says in wrong


def test_workers_that_differ_for_longer_than_half_a_second_are_found() -> None:
    found = checked(*GOOD, said(1, 1.7))
    assert (found.wrong, found.slow, round(max(found.spreads), 3)) == ([], 1, 0.6)
    assert checked(*GOOD, said(1, 1.5)).slow == 0


def test_a_version_that_was_served_before_it_was_kept_is_found() -> None:
    (wrong,) = checked(said(1, 0), said(2, 1), said(1, 4), restarts=[(START + 2, START + 3)]).wrong
    assert "version 1 was served after a restart, 2 before it" in wrong


EVENTS = [
    {"tag": "request.decision.approve", "subject": "request:1"},
    {"tag": "request.decision.approve", "subject": "request:2"},
    {"tag": "grant.grant.revoke", "subject": "grant:1"},
    {"tag": "lists.source.create", "subject": "list:kills"},
]


def test_decisions_that_stand_in_the_audit_once_are_good() -> None:
    assert kill_checks.decisions(EVENTS, [1, 2], [1]) == []


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (EVENTS[1:], "request.decision.approve of 1 is not in the audit"),
        ([*EVENTS, EVENTS[0]], "request.decision.approve of 1 stands there 2 times"),
        ([*EVENTS, EVENTS[2]], "grant.grant.revoke of 1 stands there 2 times"),
        (EVENTS[:2], "grant.grant.revoke of 1 is not in the audit"),
        ([*EVENTS, {**EVENTS[0], "subject": "request:3"}], "request.decision.approve of 3 was never decided"),
    ],
)
def test_a_decision_that_is_lost_or_stands_twice_is_found(events: list[dict[str, str]], says: str) -> None:
    assert kill_checks.decisions(events, [1, 2], [1]) == [says]


def test_a_request_whose_grant_is_missing_or_was_made_twice_is_found() -> None:
    assert kill_checks.grants({1: ["a"], 2: []}) == ["request 2 has 0 grants"]
    assert kill_checks.grants({1: ["a", "b"]}) == ["request 1 has 2 grants"]


SEEN = [{"name": "near", "acked": 5, "behind": False}, {"name": "far", "acked": 5, "behind": False}]
SAYS = [{"node": name, "version": 5, "workers": 2, "workers_ready": 2} for name in ("near", "far")]


def test_nodes_on_the_newest_version_have_converged() -> None:
    assert kill_checks.convergence(SEEN, SAYS, 5) == []


@pytest.mark.parametrize(
    ("seen", "says", "wrong"),
    [
        ([SEEN[0], {**SEEN[1], "acked": 4}], SAYS, "far acknowledged 4, not 5"),
        ([SEEN[0], {**SEEN[1], "behind": True}], SAYS, "far is behind"),
        (SEEN, [SAYS[0], {**SAYS[1], "version": 4}], "far serves 4, not 5"),
        (SEEN, [SAYS[0], {**SAYS[1], "workers_ready": 1}], "far has 1 of 2 workers ready"),
        (SEEN[:1], SAYS, "the portal knows 1 nodes of 2"),
    ],
)
def test_a_node_that_does_not_converge_is_found(
    seen: list[dict[str, Any]], says: list[dict[str, Any]], wrong: str
) -> None:
    assert kill_checks.convergence(seen, says, 5) == [wrong]
