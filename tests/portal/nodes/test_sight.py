"""What nodes counted: kept by the hour, summed by building, and never shown over fewer than five devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import Session, select

from blocklists.exchange import CategoryCount, GroupHour, MinuteCount, NodeStatus, Sight
from blocklists.policy import UNASSIGNED
from portal.access import SYSTEM
from portal.database import reading, transaction
from portal.models.alerts import AlertKind
from portal.models.delivery import Node
from portal.models.people import User
from portal.models.sight import GroupHourRow
from portal.models.words import Role
from portal.nodes import reports, sight
from portal.nodes.reports import Heartbeat
from portal.pages import charts
from portal.people import accounts, sessions
from portal.people.accounts import TokenDraft
from portal.upkeep import alerts
from portal.upkeep.alerts import Finding
from tests.portal.gatehouse import Served, config_in, founded, free_port, serving
from tests.resolver.fake_portal import until

HOUR = 500_000 * 3600
NOW = HOUR + 1805.0  # within a minute, within an hour: neither ends while a test runs


def hour(group: str, queries: int = 100, devices: int = 5, at: int = HOUR, **more: Any) -> GroupHour:
    categories = [CategoryCount(category="social-media", blocked=40, devices=devices)]
    values = {"blocked": 40, "bypass": 0, "bypass_devices": 0, "forwarder": False, "categories": categories, **more}
    return GroupHour(hour=at, group=group, queries=queries, devices=devices, **values)


def told(session: Session, node: int, *groups: GroupHour) -> None:
    minute = int(NOW) // 60 * 60
    minutes = [MinuteCount(at=minute - 60, queries=1200, blocked=300)]
    status = NodeStatus(
        version=None,
        digest=None,
        workers=1,
        workers_ready=1,
        clock=NOW,
        queries=1000,
        blocked=10,
        cached=700,
        listening=[],
        engine="plain",
        sight=Sight(minutes=minutes, groups=list(groups)),
    )
    reports.write_heartbeats(session, [(node, Heartbeat(status, int(NOW * 1000)))])


@pytest.fixture
def served(tmp_path: Path):  # type: ignore[no-untyped-def]
    config = config_in(tmp_path, free_port())
    engine = founded(config)
    with transaction(engine) as session:
        session.add_all([Node(name=f"edison-{n}", credential_hash=str(n), enrolled_at=1) for n in (1, 2)])
    with serving(config, engine, lambda: NOW) as portal:
        until(lambda: httpx.get(f"{portal.url}/readyz").status_code == 200)
        yield portal
    engine.dispose()


def get(served: Served, path: str) -> str:
    with transaction(served.wired.engine) as session:
        user = session.exec(select(User)).one()
        user.demo = True
        session.add(user)
        signed = sessions.sign_in_demo(session, user.id or 0, NOW, 1, True)
    answer = httpx.get(f"{served.url}{path}", cookies={sessions.COOKIE: signed.secret})
    assert answer.status_code == 200
    return answer.text


def test_of_two_figures_for_one_hour_the_larger_is_kept_and_groups_stay_out_of_the_node_s_row(served: Served) -> None:
    with transaction(served.wired.engine) as session:
        told(session, 1, hour("edison/students", 100), hour("edison/students", 50, at=HOUR - 3600))
        told(session, 1, hour("edison/students", 120, forwarder=True))
        told(session, 1, hour("edison/students", 7))  # its state folder was emptied
        rows = session.exec(select(GroupHourRow).order_by(GroupHourRow.hour)).all()
        assert [(row.queries, row.forwarder) for row in rows] == [(50, False), (120, True)]
        node = session.get(Node, 1)
        assert node is not None
        assert node.status["sight"]["groups"] == []


def test_old_hours_are_forgotten_when_a_new_one_begins(served: Served) -> None:
    with transaction(served.wired.engine) as session:
        told(session, 1, hour("edison/students", at=HOUR - sight.KEEP - 3600))
        told(session, 1, hour("edison/students"))
        assert [row.hour for row in session.exec(select(GroupHourRow))] == [HOUR]


def test_buildings_come_by_their_signals_and_clients_of_no_group_last(served: Served) -> None:
    with transaction(served.wired.engine) as session:
        told(session, 1, hour("edison/students", bypass=9, bypass_devices=5), hour(UNASSIGNED), hour("gone/staff"))
        told(session, 2, hour("edison/students", bypass=2, bypass_devices=1), hour("edison/staff", devices=2))
    with reading(served.wired.engine) as session:
        found = sight.buildings(session, SYSTEM, NOW)
    assert [one.name for one in found] == ["Edison", "No group"]
    edison = found[0]
    assert (edison.all.queries, edison.all.bypass) == (
        200,
        11,
    )  # the one group with two devices is not to be found by subtraction
    assert {audience: counts.hidden for audience, counts in edison.groups} == {"staff": True, "students": False}


def test_two_nodes_with_four_devices_each_are_not_eight_devices(served: Served) -> None:
    with transaction(served.wired.engine) as session:
        told(session, 1, hour("edison/students", devices=4))
        told(session, 2, hour("edison/students", devices=4))
    with reading(served.wired.engine) as session:
        (edison,) = sight.buildings(session, SYSTEM, NOW)
    assert edison.all.hidden


def test_the_pages_show_counts_and_none_below_five_devices(served: Served) -> None:
    with transaction(served.wired.engine) as session:
        told(session, 1, hour("edison/students", 4321, bypass=77, bypass_devices=3, forwarder=True))
        told(session, 2, hour("edison/staff", 1234, devices=3))
    page = get(served, "/traffic")
    assert "20 " in page.replace("\n", " ") and "<b>20</b>" in page
    assert "<polygon" in page and "Social media" in page
    assert page.count("Fewer than five devices have asked it") == 1
    assert "1,234" not in page
    page = get(served, "/signals")
    assert "from fewer than five devices" in page and "77" not in page.split("<main")[1].split("</main")[0]
    assert "1,234" not in page
    assert "In Edison, students: one address asks" in page
    assert "in no group" not in page
    page = get(served, "/nodes")
    assert "In Edison, students: one address asks" in page
    assert page.count("20 a second") == page.count('class="spark"') == page.count("few devices") == 1
    assert page.count("engine plain") == 2
    with transaction(served.wired.engine) as session:
        alerts.begin(session, NOW, Finding(AlertKind.CLOCK, "node:1", "The clock of edison-1 is wrong", "42 seconds"))
    assert "The clock of edison-1 is wrong" in get(served, "/nodes")
    first, second = nodes(served)
    counts = ("queries", "blocked", "cached", "per_second")
    assert [first["status"][name] for name in counts] == [1000, 10, 700, 20.0]
    assert [second["status"][name] for name in counts] == [None] * 4
    assert second["status"]["engine"] == "plain"


def nodes(served: Served) -> list[dict[str, Any]]:
    with transaction(served.wired.engine) as session:
        draft = TokenDraft("robot", Role.AUDITOR, machine=True)
        secret = accounts.create_token(session, SYSTEM, NOW, draft).secret
    answer = httpx.get(f"{served.url}/api/v1/nodes", headers={"Authorization": f"Bearer {secret}"})
    assert [one["kind"] for one in answer.json()["alerts"]] == ["node-clock"]
    found: list[dict[str, Any]] = answer.json()["nodes"]
    return found


def test_clients_of_no_group_are_named_with_their_counts(served: Served) -> None:
    with transaction(served.wired.engine) as session:
        told(session, 1, hour(UNASSIGNED, 2468))
    page = get(served, "/signals?days=7")
    assert "Some clients are in no group" in page and "2,468" in page


def test_a_chart_leaves_the_present_minute_out_and_fills_silent_ones() -> None:
    now = 100_000 * 60 + 30
    minutes = [MinuteCount(at=100_000 * 60, queries=999, blocked=0), MinuteCount(at=99_999 * 60, queries=10, blocked=5)]
    whole = charts.full(minutes, now)
    assert (len(whole), whole[-2:], whole[0]) == (charts.MINUTES, [(10, 5), (999, 0)], (0, 0))
    chart = charts.chart(whole)
    assert chart.peak == 10
    assert chart.queries.endswith("600,0 600,120")
    assert "10 questions in the last half hour, 5 of them blocked" in chart.about
