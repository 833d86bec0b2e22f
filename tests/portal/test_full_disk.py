"""A portal whose disk takes nothing any more: it goes on answering, says what is wrong wherever an administrator looks,
and carries on by itself once there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from blocklists.exchange import Offer
from portal import audit
from portal.access import SYSTEM, Actor, ActorKind
from portal.database import reading, transaction
from portal.models.levers import BrakeRow
from portal.models.people import User
from portal.models.words import Role
from portal.nodes.publication import newest_version
from portal.people import accounts, sessions
from portal.people.accounts import TokenDraft
from portal.upkeep import alertjob
from tests.portal import databases
from tests.portal.gatehouse import FakeNode, Served, config_in, founded, free_port, grant, serving, token
from tests.portal.mailroom import Mailroom, open_mailroom
from tests.resolver.fake_portal import until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or databases.POSTGRESQL, reason="only root can mount, and the tables are a file there"
)


COUNTS = {"queries": 0, "blocked": 0, "listening": []}
BRAKE = {"name": "evil.example", "reason": "It attacks us."}


@dataclass
class Small:
    """A portal on a disk of its own, and its mail."""

    disk: Path
    served: Served
    room: Mailroom
    cookies: dict[str, str]
    bearer: dict[str, str]
    administrator: dict[str, str]

    def page(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.served.url}{path}", cookies=self.cookies, headers=self.bearer, timeout=60)

    def decides(self) -> bool:
        """Decide something; False when the database has no room for it."""
        try:
            grant(self.served.wired.engine, at=time.time())
        except OperationalError:
            return False
        self.served.wired.wake()
        return True

    def version(self) -> int:
        with reading(self.served.wired.engine) as session:
            row = newest_version(session)
            return 0 if row is None else row.version


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)):
        pytest.skip("this container may not mount")
    monkeypatch.setattr(alertjob, "LOW_DISK", 1 << 20)  # the whole disk is smaller than what is little elsewhere
    try:
        with portal_on(disk) as served:
            yield served
    finally:
        unmount(disk)


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """On a file system of its own that can be made read-only while files are open, as it does itself after an error."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    if made is None or subprocess.run([made, "-q", str(image)], capture_output=True).returncode != 0:
        pytest.skip("there is no mkfs.ext4")
    if not mounted("-o", "loop", str(image), str(disk)):
        pytest.skip("this container may not mount")
    monkeypatch.setattr(alertjob, "LOW_DISK", 1 << 20)
    try:
        with portal_on(disk) as served:
            yield served
    finally:
        unmount(disk)


def mounted(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True).returncode == 0


def unmount(disk: Path) -> None:
    subprocess.run(["umount", "--lazy", str(disk)], check=False)


@contextlib.contextmanager
def portal_on(disk: Path) -> Iterator[Small]:
    with open_mailroom() as room:
        config = replace(config_in(disk, free_port()), mail=room.config())
        engine = founded(config)
        with transaction(engine) as session:
            user = session.get_one(User, 1)
            user.demo = True
            session.add(user)
            signed = sessions.sign_in_demo(session, 1, time.time(), 1, True)
            machine = TokenDraft("prometheus", Role.AUDITOR, machine=True)
            secret = accounts.create_token(session, SYSTEM, time.time(), machine).secret
            user.demo = False
            chief = Actor(ActorKind.USER, 1, user.name, frozenset({Role.ADMINISTRATOR}), 1)
            draft = TokenDraft("own", Role.ADMINISTRATOR, False)
            own = accounts.create_token(session, chief, time.time(), draft).secret
        with serving(config, engine) as served:
            cookies = {sessions.COOKIE: signed.secret}
            bearers = ({"Authorization": f"Bearer {one}"} for one in (secret, own))
            yield Small(disk, served, room, cookies, *bearers)
        engine.dispose()


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))


def acknowledged(small: Small) -> tuple[FakeNode, Offer]:
    """A node that enforces the newest version."""
    until(lambda: small.page("/readyz").status_code == 200)
    node = FakeNode.enrolled(small.served.url, token(small.served.wired.config, small.served.wired.engine, time.time()))
    with node.client() as client:
        first = next(node.offers(client))
        client.post("/acks", json={"version": first.version, "digest": first.digest}).raise_for_status()
    return node, first


def told_everywhere(small: Small, node: FakeNode, first: Offer, word: str, mend: str) -> None:
    """Every place where an administrator looks says `word` and, but for the answer to a person, `mend`."""
    with node.client() as client:
        status = {"version": first.version, "digest": first.digest, "workers": 1, "workers_ready": 1}
        client.post("/status", json=status | COUNTS | {"clock": time.time()}).raise_for_status()
    until(lambda: small.served.wired.jobs.trouble, 60, "the trouble to be noticed")
    ready = small.page("/readyz")
    assert ready.status_code == 503 and word in ready.json()["publisher"] and mend in ready.json()["publisher"]
    page = small.page("/nodes").text
    assert word in page and mend in page
    assert "schoolgate_portal_publishing 0.0" in small.page("/metrics").text
    refused = httpx.post(f"{small.served.url}/api/v1/brakes", json=BRAKE, headers=small.administrator, timeout=60)
    assert refused.status_code == 503, refused.text
    assert word in refused.json()["detail"]
    until(lambda: [one for one in mails(small) if word in one.get_content() and mend in one.get_content()], 60, "mail")
    with node.client() as client:  # nodes are answered all the same
        assert client.get(f"/objects/{first.digest}").status_code == 200


def mails(small: Small) -> list[EmailMessage]:
    return [one for one in small.room.got if "cannot write" in str(one["Subject"])]


def carries_on(small: Small, stuck: int) -> None:
    until(lambda: small.decides(), 60, "a decision")
    until(lambda: small.version() > stuck, 60, "the decision to be published")
    until(lambda: small.page("/readyz").status_code == 200)
    assert len(mails(small)) == 1


@pytest.mark.slow
def test_a_full_disk_is_told_everywhere_and_decisions_go_on_once_there_is_room(
    small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    node, first = acknowledged(small)
    fill(small.disk)
    until(lambda: not small.decides(), 60, "the first decision that has no room")
    told_everywhere(small, node, first, "the disk is full", f"make room where {small.disk}")
    stuck = small.version()
    (small.disk / "filler").unlink()
    carries_on(small, stuck)
    assert not [one for one in caplog.records if one.exc_info]  # the log has sentences, no tracebacks


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_is_told_everywhere_and_nothing_confirmed_is_lost(
    real: Small, caplog: pytest.LogCaptureFixture
) -> None:
    node, first = acknowledged(real)
    data, own = real.served.wired.config.data, real.administrator
    files = [str(data), *(str(one) for one in data.glob("portal.sqlite*") if one.suffix != ".sqlite-shm")]
    subprocess.run(["chattr", "+i", *files], check=True)  # writes to files that are open already fail, too
    try:
        told_everywhere(real, node, first, "the data folder may not be written", "lsattr")
        assert not real.decides()
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)
    carries_on(real, real.version())
    body = {"name": "worse.example", "reason": "It attacks us, too."}
    confirmed = httpx.post(f"{real.served.url}/api/v1/brakes", json=body, headers=own, timeout=60)
    assert confirmed.status_code == 201, confirmed.text
    until(lambda: real.page("/readyz").status_code == 200)
    until(lambda: "the database can be written again" in caplog.messages, 60, "the end of the first trouble")

    if not mounted("-o", "remount,abort", str(real.disk)):  # what ext4 does upon an error: read-only for good
        pytest.skip("this kernel has no such file system")
    real.room.got.clear()
    told_everywhere(real, node, first, "the data folder is read-only", "Mount it writable again")
    assert not real.decides()
    command = [sys.executable, "-m", "deploy.cli"]
    environment = {**os.environ, "SCHOOLGATE_DATA": str(real.disk)}
    real.served.stop()
    for words in (["portal"], ["lists", "update"]):
        failed = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=120)
        assert failed.returncode == 1 and "Traceback" not in failed.stderr
        assert "the data folder is read-only" in failed.stderr and "Mount it writable again" in failed.stderr
    engine = real.served.wired.engine
    engine.dispose()
    unmount(real.disk)
    assert mounted("-o", "loop", str(real.disk.parent / "image"), str(real.disk))
    with reading(engine) as session:
        assert [row.name for row in session.exec(select(BrakeRow))] == ["worse.example"]
        assert audit.verify(session).sound
    assert not [one for one in caplog.records if one.exc_info]
