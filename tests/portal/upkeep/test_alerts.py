"""Alerts: one word when something begins to be wrong, one when it is over, however long and often it is looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from blocklists.exchange import NodeStatus
from portal.config import PortalConfig
from portal.database import reading, transaction
from portal.lists.bases import require_base
from portal.models.alerts import AlertKind, AlertRow, MailRow
from portal.models.delivery import Delivery, Node, PolicyVersion
from portal.models.lists import SourceRow
from portal.models.people import User
from portal.upkeep import alertjob, alerts, mail
from portal.upkeep.alertjob import AlertJob
from tests.portal.gatehouse import NOW, config_in, founded
from tests.portal.mailroom import Mailroom, open_mailroom


@pytest.fixture(scope="module")
def room() -> Iterator[Mailroom]:
    with open_mailroom() as found:
        yield found


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, room: Mailroom) -> Iterator[tuple[PortalConfig, Engine]]:
    """A portal with mail, and one administrator beside people who are none."""
    config = replace(config_in(tmp_path_factory.mktemp("alerts")), mail=room.config())
    engine = founded(config)
    with transaction(engine) as session:
        for email, roles, disabled in (("tess", ["requester"], None), ("left", ["administrator"], NOW)):
            session.add(User(email=f"{email}@x.example", name="X", roles=roles, created_at=NOW, disabled_at=disabled))
    yield config, engine
    engine.dispose()


@pytest.fixture
def watched(portal: tuple[PortalConfig, Engine], room: Mailroom) -> Iterator[tuple[PortalConfig, Engine]]:
    room.got.clear()
    yield portal
    with transaction(portal[1]) as session:
        for table in (MailRow, AlertRow, Delivery, PolicyVersion, Node, SourceRow):
            for row in session.exec(select(table)):
                session.delete(row)


def add_node(engine: Engine, acked: int, newest: int = 2, at: int = NOW, name: str = "edison-1", skew: int = 0) -> int:
    """A node that acknowledged version `acked` of `newest`, each published at NOW, heard at `at`."""
    with transaction(engine) as session:
        base = require_base(session).digest
        node = Node(name=name, credential_hash=name, enrolled_at=NOW - 9_000, last_seen_at=at, skew_ms=skew)
        session.add(node)
        for number in range(1, newest + 1):
            if session.get(PolicyVersion, number) is None:
                session.add(
                    PolicyVersion(
                        version=number,
                        digest=f"{number:064x}",
                        base=base,
                        signature="",
                        body=b"",
                        decided_at_ms=NOW * 1000,
                        published_at_ms=NOW * 1000,
                    )
                )
        session.flush()
        assert node.id is not None
        for number in range(1, acked + 1):
            session.add(Delivery(node_id=node.id, version=number, offered_at_ms=NOW * 1000, acked_at_ms=NOW * 1000))
        return node.id


def hear(engine: Engine, number: int, at: int, error: str = "", skew: int = 0) -> None:
    status = NodeStatus(
        version=1,
        digest="0" * 64,
        workers=1,
        workers_ready=1,
        clock=float(at),
        queries=0,
        blocked=0,
        listening=[],
        last_error=error,
    )
    with transaction(engine) as session:
        node = session.get(Node, number)
        assert node is not None
        node.last_seen_at, node.status, node.skew_ms = at, status.model_dump(mode="json"), skew
        session.add(node)


def job(watched: tuple[PortalConfig, Engine], own: dict[AlertKind, str] | None = None) -> AlertJob:
    config, engine = watched
    found = AlertJob(engine, config, lambda: float(NOW), lambda: own or {}, deadline=20.0)
    found.look(NOW - 60)  # it has listened for as long
    return found


def open_kinds(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return sorted(str(row.kind) for row in alerts.current(session))


def subjects(room: Mailroom) -> list[str]:
    return [str(one["Subject"]) for one in room.got]


def test_a_node_behind_for_a_minute_is_told_once_and_once_when_it_has_caught_up(
    watched: tuple[PortalConfig, Engine], room: Mailroom
) -> None:
    engine = watched[1]
    number = add_node(engine, acked=1)
    watch = job(watched)
    for after in (0, 30, 60):
        hear(engine, number, NOW + after)
        watch.look(NOW + after)
        assert open_kinds(engine) == []
    for after in range(61, 400, 20):
        hear(engine, number, NOW + after)
        watch.look(NOW + after)
        watch.send(NOW + after)
    assert open_kinds(engine) == ["node-behind"]
    assert subjects(room) == ["Schoolgate: edison-1 is behind: it lacks the newest policy"]
    assert room.to == ["desk@riverbend.example"]
    assert "acknowledged version 1" in room.got[0].get_content()
    with transaction(engine) as session:
        session.add(Delivery(node_id=number, version=2, offered_at_ms=0, acked_at_ms=(NOW + 400) * 1000))
    for after in range(400, 600, 20):
        hear(engine, number, NOW + after)
        watch.look(NOW + after)
        watch.send(NOW + after)
    assert open_kinds(engine) == []
    assert len(room.got) == 2
    assert subjects(room)[1] == "Schoolgate: over: edison-1 is behind: it lacks the newest policy"
    assert room.got[1]["In-Reply-To"] == room.got[0]["Message-ID"]


def test_what_comes_and_goes_within_a_minute_is_one_alert(watched: tuple[PortalConfig, Engine], room: Mailroom) -> None:
    engine = watched[1]
    number = add_node(engine, acked=2)
    watch = job(watched)
    for after in range(0, 600, 15):
        hear(engine, number, NOW + after, skew=-40_000 if after % 60 else 0)
        watch.look(NOW + after)
        watch.send(NOW + after)
    assert open_kinds(engine) == ["node-clock"]
    assert subjects(room) == ["Schoolgate: The clock of edison-1 is wrong"]


def test_every_kind_of_trouble_is_found(watched: tuple[PortalConfig, Engine]) -> None:
    engine = watched[1]
    silent = add_node(engine, acked=2, name="tesla-1")
    troubled = add_node(engine, acked=2, name="edison-2", skew=31_000)
    refusing = add_node(engine, acked=1, name="edison-3")
    watch = job(watched, {AlertKind.PUBLISHING: "database or disk is full", AlertKind.LISTS: "no process"})
    with transaction(engine) as session:
        session.add(Delivery(node_id=refusing, version=2, offered_at_ms=0, nacked_at_ms=1, nack_reason="full disk"))
        for id, checked in (("dead", NOW - 4 * 86_400), ("late", NOW - 86_400)):
            session.add(
                SourceRow(
                    id=id, own=True, enabled=True, created_at=0, checked_at=checked, failures=9, error="404 Not Found"
                )
            )
    for after in (100, 170):
        hear(engine, troubled, NOW + after, "query log: no space left on device", skew=31_000)
        hear(engine, refusing, NOW + after)
        watch.look(NOW + after)
    with reading(engine) as session:
        found = {(str(row.kind), row.subject.partition(":")[2], row.detail) for row in alerts.current(session)}
    own = watch._portal.partition(":")[2]
    assert {(kind, subject) for kind, subject, _ in found} == {
        ("node-silent", str(silent)),
        ("node-trouble", str(troubled)),
        ("node-clock", str(troubled)),
        ("node-refused", str(refusing)),
        ("node-behind", str(refusing)),
        ("list", "dead"),
        ("publishing", own),
        ("lists", own),
    }
    assert {"query log: no space left on device", "full disk", "404 Not Found"} < {detail for *_, detail in found}


def test_a_disk_that_fills_is_told_while_it_can_still_be_written_down(
    watched: tuple[PortalConfig, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alertjob, "LOW_DISK", 1 << 62)
    job(watched).look(NOW)
    assert open_kinds(watched[1]) == ["disk"]


def test_a_database_that_cannot_be_written_is_mailed_past_it_once(
    watched: tuple[PortalConfig, Engine], room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_node(watched[1], acked=2)
    watch = job(watched)

    def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(alerts, "begin", full)
        for after in (100, 200, 300):
            watch.look(NOW + after)
    assert subjects(room) == ["Schoolgate: the portal cannot write its database"]
    assert "disk is full" in room.got[0].get_content()
    watch.look(NOW + 400)
    assert open_kinds(watched[1]) == ["node-silent"]


def test_of_several_portals_one_tells(watched: tuple[PortalConfig, Engine], room: Mailroom) -> None:
    config, engine = watched
    add_node(engine, acked=1)
    watches = [job((replace(config, port=8000 + at), engine)) for at in range(3)]
    for after in (100, 101):
        meet = threading.Barrier(len(watches))

        def work(watch: AlertJob, now: int = NOW + after, meet: threading.Barrier = meet) -> None:
            meet.wait(20)
            watch.look(now)
            watch.send(now)

        threads = [threading.Thread(target=work, args=(watch,)) for watch in watches]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
    assert open_kinds(engine) == ["node-behind", "node-silent"]
    (told,) = room.got
    assert told["Subject"] == "Schoolgate: 2 alerts, 0 over: edison-1 is silent …"
    assert "It acknowledged version 1 and enforces what it has." in told.get_content()


def test_a_portal_that_was_away_gives_nodes_a_minute_to_be_heard(
    watched: tuple[PortalConfig, Engine], room: Mailroom
) -> None:
    config, engine = watched
    for at in range(50):
        add_node(engine, acked=1, name=f"n{at}")
    watch = AlertJob(engine, config, lambda: NOW, dict, deadline=20.0)
    for after in (5_000, 5_060):
        watch.look(NOW + after)
        assert open_kinds(engine) == []
    watch.look(NOW + 5_061)
    watch.send(NOW + 5_061)
    assert len(open_kinds(engine)) == 100
    assert [str(one["Subject"]) for one in room.got] == ["Schoolgate: 100 alerts, 0 over: n0 is silent …"]


def test_an_alert_is_open_without_a_mail_server_too(watched: tuple[PortalConfig, Engine]) -> None:
    config, engine = watched
    add_node(engine, acked=2)
    job((replace(config, mail=None), engine)).look(NOW + 100)
    assert open_kinds(engine) == ["node-silent"]
    with reading(engine) as session:
        assert mail.standing(session).waiting == 0


def test_the_addresses_of_the_settings_take_the_place_of_the_administrators(
    watched: tuple[PortalConfig, Engine], room: Mailroom
) -> None:
    config, engine = watched
    add_node(engine, acked=2)
    named = replace(config, mail=room.config(to=("noc@x.example",)))
    watch = job((named, engine))
    watch.look(NOW + 100)
    watch.send(NOW + 100)
    assert room.to == ["noc@x.example"]
