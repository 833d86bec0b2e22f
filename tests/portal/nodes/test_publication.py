"""Live rows become versions: what is in them, who wins, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from blocklists import policy_codec, signature
from blocklists.base import ListKind
from blocklists.compile import Source, compile_base
from blocklists.exchange import Ack
from blocklists.policy import Match, ModeKind, Policy
from blocklists.seed import load_seed
from portal import audit
from portal.access import SYSTEM
from portal.config import PortalConfig
from portal.database import connect, reading, transaction
from portal.doors import modes
from portal.lists.bases import Bases, adopt_base, current_base, ensure_base
from portal.models.delivery import Node, PolicyVersion, Publication
from portal.models.district import ClientGroup, District, Site
from portal.models.levers import BrakeRow, CorrectionRow, GrantRow, ModeRow, ModeRun
from portal.models.people import User
from portal.nodes import reports
from portal.nodes.keys import Keyring
from portal.nodes.publication import BadPublication, Publisher
from portal.outbox import record_change
from portal.people.sessions import user_actor
from portal.verdicts.current import Current
from portal.verdicts.explain import SnapshotCatalogue
from tests.portal.gatehouse import NOW, config_in, founded, grant, revoke, tags


class Desk:
    """A database and a publisher, without a server."""

    def __init__(self, config: PortalConfig, engine: Engine) -> None:
        self.config, self.engine, self.now = config, engine, float(NOW)
        self.key = Keyring(config.data)
        self.bases = Bases(config.data)

    def publisher(self) -> Publisher:
        return Publisher(self.engine, self.key, self.bases, load_seed())

    def publish(self) -> Policy:
        published = self.publisher().publish_pending(lambda: self.now)
        assert published is not None
        return published.snapshot.policy

    def versions(self) -> list[PolicyVersion]:
        with reading(self.engine) as session:
            return list(session.exec(select(PolicyVersion).order_by(PolicyVersion.version)))  # type: ignore[arg-type]

    def change(self, *rows: object) -> None:
        with transaction(self.engine) as session:
            session.add_all(rows)
            record_change(session, SYSTEM, self.now, "district.test.change", "district")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    config = config_in(tmp_path)
    engine = founded(config)
    yield Desk(config, engine)
    engine.dispose()


def test_the_first_start_asks_for_the_first_version_and_a_second_start_for_none(desk: Desk) -> None:
    assert desk.publish().version == 1
    with transaction(desk.engine) as session:
        ensure_base(desk.config, session, NOW)
    assert desk.publisher().publish_pending(lambda: NOW) is None


def test_a_version_holds_exactly_the_signed_bytes(desk: Desk) -> None:
    policy = desk.publish()
    (row,) = desk.versions()
    assert policy_codec.load(row.body) == policy
    signature.verify(row.body, row.signature, desk.key.current.public)
    assert signature.digest(row.body) == row.digest


def test_grants_live_and_scheduled_are_in_it_and_ended_and_revoked_ones_are_not(desk: Desk) -> None:
    live = grant(desk.engine, "a.example")
    scheduled = grant(desk.engine, "b.example", starts_at=NOW + 1000)
    grant(desk.engine, "c.example", starts_at=NOW - 1000, ends_at=NOW)
    revoked = grant(desk.engine, "d.example")
    revoke(desk.engine, revoked)
    assert [one.number for one in desk.publish().grants] == [live, scheduled]


def test_a_grant_is_marked_with_its_first_version_and_a_revocation_with_the_one_that_drops_it(desk: Desk) -> None:
    number = grant(desk.engine)

    def marked() -> int | None:
        with reading(desk.engine) as session:
            return session.get_one(GrantRow, number).in_version

    assert marked() is None
    desk.publish()
    grant(desk.engine, "other.example")
    desk.publish()
    assert marked() == 1
    revoke(desk.engine, number)
    assert marked() is None
    desk.publish()
    assert marked() == 3


def test_a_policy_carries_the_audit_head_the_protected_set_brakes_and_own_names(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        session.get_one(District, 1).own_names = ["riverbend.example"]
    desk.change(
        BrakeRow(name="evil.example", reason="x", created_by=1, created_at=NOW),
        BrakeRow(name="tame.example", reason="x", created_by=1, created_at=NOW, released_at=NOW, released_by=1),
    )
    with reading(desk.engine) as session:
        head = audit.head(session)
    policy = desk.publish()
    assert policy.audit_head == head
    assert [brake.name for brake in policy.brakes] == ["evil.example"]
    assert policy.own == ("riverbend.example",)
    assert {entry.name for entry in policy.protected} == {one.name for one in load_seed().protected}


def test_a_correction_in_a_locked_category_waits_for_the_second_person(desk: Desk) -> None:
    def correction(name: str, lists: list[str], confirmed: int | None = None) -> CorrectionRow:
        return CorrectionRow(
            name=name,
            match=Match.SUBTREE,
            lists=lists,
            reason="x",
            review_on="2030-01-01",
            created_by=1,
            created_at=NOW,
            confirmed_by=confirmed,
        )

    with transaction(desk.engine) as session:
        session.add(User(email="second@riverbend.example", name="Second", created_at=NOW))
    desk.change(
        correction("open.example", ["seed-messaging"]),
        correction("waits.example", ["seed-adult"]),
        correction("confirmed.example", ["seed-adult"], 2),
    )
    assert {one.name for one in desk.publish().corrections} == {"open.example", "confirmed.example"}


def test_a_policy_that_no_node_would_load_is_never_stored(desk: Desk) -> None:
    desk.publish()
    desk.change(ClientGroup(id="tesla/staff", site_id="tesla", audience="staff", networks=["127.0.1.0/24"]))
    with pytest.raises(BadPublication, match=r"127\.0\.1\.0/24"):
        desk.publish()
    assert [row.version for row in desk.versions()] == [1]
    with transaction(desk.engine) as session:
        session.get_one(ClientGroup, "tesla/staff").networks = []
        assert session.exec(select(Publication).where(Publication.version == None)).all()  # noqa: E711
    assert desk.publish().version == 2


def test_a_damaged_base_file_stops_the_publication_and_says_so(desk: Desk) -> None:
    with reading(desk.engine) as session:
        row = current_base(session)
    assert row is not None
    path = desk.bases.path(row.digest)
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadPublication, match="damaged"):
        desk.publish()
    with transaction(desk.engine) as session:
        ensure_base(desk.config, session, NOW)
    assert desk.publish().version == 1


def test_created_at_never_goes_back_with_the_clock(desk: Desk) -> None:
    first = desk.publish()
    desk.now -= 86_400
    grant(desk.engine, ends_at=NOW + 10)
    assert desk.publish().created_at >= first.created_at


def test_an_adopted_base_is_published_and_outlives_a_restart(desk: Desk, tmp_path: Path) -> None:
    desk.publish()
    names = [f"host{index}.example" for index in range(1000)]
    path = tmp_path / "big.base"
    path.write_bytes(compile_base([Source("big", "Big", "messaging", ListKind.LIST, names)]))
    with transaction(desk.engine) as session:
        adopted = adopt_base(desk.config, session, path, NOW).digest
    assert desk.publish().base == adopted
    with transaction(desk.engine) as session:
        assert ensure_base(desk.config, session, NOW).digest == adopted
    assert desk.publisher().publish_pending(lambda: NOW) is None


def test_publishers_that_race_make_one_gapless_sequence_and_answer_each_row_once(desk: Desk) -> None:
    stop = threading.Event()

    def run() -> None:
        publisher = desk.publisher()
        while not stop.is_set():
            publisher.publish_pending(lambda: NOW)

    racers = [threading.Thread(target=run) for _ in range(3)]
    for racer in racers:
        racer.start()
    numbers = [grant(desk.engine, f"site{index}.example") for index in range(30)]
    stop.set()
    for racer in racers:
        racer.join()
    desk.publisher().publish_pending(lambda: NOW)
    rows = desk.versions()
    assert [row.version for row in rows] == list(range(1, len(rows) + 1))
    held = [{one.number for one in policy_codec.load(row.body).grants} for row in rows]
    with reading(desk.engine) as session:
        for number in numbers:
            first = session.get_one(GrantRow, number).in_version
            assert first is not None
            assert [number in one for one in held] == [row.version >= first for row in rows]
        assert all(one.version is not None for one in session.exec(select(Publication)))
    assert tags(desk.engine).count("policy.version.publish") == len(rows)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from portal.nodes import live, publication
    from portal.app import create_app
    from portal.database import connect
    from tests.portal.gatehouse import config_in, grant, serving

    def die(*arguments, **words):
        os.kill(os.getpid(), signal.SIGKILL)

    point = sys.argv[2]
    config = config_in(Path(sys.argv[1]), database=sys.argv[3])
    engine = connect(config.database)
    if point == "building":
        publication.open_snapshot = die
    elif point == "storing":
        record = publication.audit.record
        publication.audit.record = lambda session, actor, now, tag, *rest: (
            die() if tag == "policy.version.publish" else record(session, actor, now, tag, *rest)
        )
    elif point == "announcing":
        live.Live.publish = die
    grant(engine)
    if point == "committed":
        die()
    app = create_app(config, engine)
    app.state.deps.jobs.start()
    app.state.deps.jobs._thread.join()
"""


@pytest.mark.parametrize("point", ["committed", "building", "storing", "announcing"])
def test_a_kill_between_the_decision_and_its_publication_loses_nothing_and_does_nothing_twice(
    desk: Desk, tmp_path: Path, point: str
) -> None:
    desk.publish()
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), point, desk.config.database]
    killed = subprocess.run(command, cwd=Path(__file__).parents[3], env={**os.environ, "PYTHONPATH": "."}, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    engine = connect(desk.config.database)
    again = Desk(desk.config, engine)
    again.publisher().publish_pending(lambda: NOW)
    rows = again.versions()
    assert [row.version for row in rows] == [1, 2]
    assert [one.entries[0].name for one in policy_codec.load(rows[1].body).grants] == ["instagram.com"]
    assert tags(engine).count("policy.version.publish") == 2
    engine.dispose()


def test_while_a_test_is_on_only_what_is_urgent_goes_out(desk: Desk, tmp_path: Path) -> None:
    desk.publish()
    with transaction(desk.engine) as session:
        kinds = {"kind": ModeKind.TESTING, "sites": ["*"], "audiences": ["students"], "minutes": 60}
        session.add(ModeRow(title="Test", created_by=1, created_at=NOW, **kinds))
        session.flush()
        session.add(ModeRun(mode_id=1, reason="x", started_by=1, starts_at=NOW, ends_at=NOW + 3600))
        record_change(session, SYSTEM, NOW, "lever.mode.start", "mode-run:1")
    assert [mode.number for mode in desk.publish().modes] == [1]
    number = grant(desk.engine)
    assert desk.publisher().publish_pending(lambda: NOW + 1) is None
    with transaction(desk.engine) as session:
        record_change(session, SYSTEM, NOW, "lever.brake.set", "brake:1")
    assert number in {one.number for one in desk.publish().grants}
    with transaction(desk.engine) as session:
        record_change(session, SYSTEM, NOW, "register.grant.open", "grant:1")
    assert desk.publisher().publish_pending(lambda: NOW + 1) is None, "a platform that is published waits"
    with transaction(desk.engine) as session:
        record_change(session, SYSTEM, NOW, "register.grant.end", "grant:1")
    assert desk.publisher().publish_pending(lambda: NOW + 1) is not None, "one that is retired is closed"
    before = desk.versions()[-1].base
    path = tmp_path / "update.base"
    path.write_bytes(compile_base([Source("big", "Big", "messaging", ListKind.LIST, ["host.example"])]))
    with transaction(desk.engine) as session:
        adopted = adopt_base(desk.config, session, path, NOW).digest
        record_change(session, SYSTEM, NOW, "lever.brake.release", "brake:1")
        assert modes.held_back(session, NOW) == 2
    assert desk.publish().base == before, "an update of the lists waits, whatever else goes out"
    assert desk.publisher().publish_pending(lambda: NOW + 2) is None
    published = desk.publisher().publish_pending(lambda: NOW + 3600)
    assert published is not None and published.snapshot.policy.modes == ()
    assert published.snapshot.policy.base == adopted


def test_a_mode_on_eighty_sites_is_one_version_with_one_receipt(desk: Desk) -> None:
    desk.publish()
    sites = tuple(f"school-{number}" for number in range(80))
    with transaction(desk.engine) as session:
        session.add_all(Site(id=site, name=site) for site in sites)
        session.add_all(Node(name=f"n{at}", credential_hash=f"n{at}", enrolled_at=1) for at in (1, 2))
        actor = user_actor(session.exec(select(User)).one())
        draft = modes.ModeDraft("lock-down", "Everywhere", sites, ("students",), 60)
        mode = modes.prepare(session, actor, desk.now, draft, SnapshotCatalogue(Current(desk.bases)))
    with reading(desk.engine) as session:
        nodes = session.exec(select(Node.id)).all()
    with transaction(desk.engine) as session:
        modes.start(session, actor, desk.now, mode.id, "Now")
    publisher = Publisher(desk.engine, desk.key, desk.bases, load_seed(), lambda: nodes)
    published = publisher.publish_pending(lambda: desk.now)
    assert published is not None and publisher.publish_pending(lambda: desk.now) is None
    (found,) = published.snapshot.policy.modes
    assert found.sites == sites
    for at, node in enumerate(nodes, 1):
        with transaction(desk.engine) as session:
            message = Ack(version=published.offer.version, digest=published.offer.digest)
            assert reports.ack(session, node, message, int(desk.now * 1000) + 40 * at) is None
    with reading(desk.engine) as session:
        run = modes.prepared(session, desk.now)[0].run
    assert run is not None
    assert run.receipt == modes.Receipt(version=2, acked=2, offered=2, millis=80)
