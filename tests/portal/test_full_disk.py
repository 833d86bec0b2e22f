"""A portal whose disk takes nothing any more: it goes on answering, says what is wrong wherever an administrator looks,
and carries on by itself once there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from portal.access import SYSTEM, Actor, ActorKind
from portal.database import reading, transaction
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
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this container may not mount")
    monkeypatch.setattr(alertjob, "LOW_DISK", 1 << 20)  # the whole disk is smaller than what is little elsewhere
    try:
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
                own = accounts.create_token(
                    session, chief, time.time(), TokenDraft("own", Role.ADMINISTRATOR, False)
                ).secret
            with serving(config, engine) as served:
                cookies = {sessions.COOKIE: signed.secret}
                yield Small(
                    disk, served, room, cookies, *(({"Authorization": f"Bearer {one}"}) for one in (secret, own))
                )
            engine.dispose()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))


@pytest.mark.slow
def test_a_full_disk_is_told_everywhere_and_decisions_go_on_once_there_is_room(small: Small) -> None:
    until(lambda: small.page("/readyz").status_code == 200)
    node = FakeNode.enrolled(small.served.url, token(small.served.wired.config, small.served.wired.engine, time.time()))
    with node.client() as client:
        first = next(node.offers(client))
        client.post("/acks", json={"version": first.version, "digest": first.digest}).raise_for_status()
    fill(small.disk)
    until(lambda: not small.decides(), 60, "the first decision that has no room")
    with node.client() as client:
        status = {"version": first.version, "digest": first.digest, "workers": 1, "workers_ready": 1}
        client.post("/status", json=status | COUNTS | {"clock": time.time()}).raise_for_status()
    until(lambda: small.served.wired.jobs.trouble, 60, "the trouble to be noticed")
    ready = small.page("/readyz")
    assert ready.status_code == 503 and "full" in ready.json()["publisher"]
    assert "full" in small.page("/nodes").text
    assert "schoolgate_portal_publishing 0.0" in small.page("/metrics").text
    refused = httpx.post(f"{small.served.url}/api/v1/brakes", json=BRAKE, headers=small.administrator, timeout=60)
    assert refused.status_code == 503, refused.text
    assert "full" in refused.json()["detail"]
    told = until(lambda: [one for one in small.room.got if "cannot write" in str(one["Subject"])], 60, "the mail")
    assert "full" in told[0].get_content()
    stuck = small.version()
    with node.client() as client:  # nodes are answered all the same
        assert client.get(f"/objects/{first.digest}").status_code == 200

    (small.disk / "filler").unlink()
    until(lambda: small.decides(), 60, "room for a decision")
    until(lambda: small.version() > stuck, 60, "the decision to be published")
    until(lambda: small.page("/readyz").status_code == 200)
    assert len([one for one in small.room.got if "cannot write" in str(one["Subject"])]) == 1
