"""A backup made while the portal works, restored elsewhere: held, told by its nodes what it missed, released."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import zstandard
from sqlalchemy import Engine, func
from sqlmodel import SQLModel, select

from blocklists import policy_codec
from blocklists.exchange import NodeStatus
from portal import access, audit
from portal.access import Actor, ActorKind
from portal.config import PortalConfig
from portal.database import connect, reading, transaction
from portal.doors import levers
from portal.errors import Conflict, Invalid
from portal.lists import copies
from portal.models.delivery import PolicyVersion
from portal.models.levers import BrakeRow, GrantRow
from portal.models.lists import UploadedList
from portal.models.words import Role
from portal.nodes import restoration
from portal.nodes.reports import Heartbeat, write_heartbeats
from portal.upkeep import backup
from portal.upkeep.backup import BadBackup
from tests.portal import databases
from tests.portal.gatehouse import FakeNode, free_port, grant, revoke, serving, tags, token

CHIEF = Actor(ActorKind.USER, 1, "Desk", frozenset({Role.ADMINISTRATOR}), user_id=1)
SECRET = "correct horse battery staple"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[PortalConfig]:
    """Another machine: an empty folder and an empty database."""
    folder = tmp_path / "second" / "portal"
    folder.mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    found = PortalConfig(folder, databases.new(folder), "127.0.0.1", port, url, ("localhost",))
    yield found
    databases.drop(found.database)


def counts(engine: Engine) -> dict[str, int]:
    with reading(engine) as session:
        return {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in SQLModel.metadata.sorted_tables
            if table.name not in ("web_session", "enrolment_token", "base_chunk", "list_copy")
        }


def test_everything_comes_back_and_the_new_portal_signs_with_the_same_key(
    config: PortalConfig, engine: Engine, elsewhere: PortalConfig, tmp_path: Path
) -> None:
    grant(engine, "instagram.com")
    with transaction(engine) as session:
        copies.put(session, UploadedList, "our-list", (b"bad.exa", b"mple\n"))
    with serving(config, engine) as portal:
        node = FakeNode.enrolled(portal.url, token(config, engine, time.time()))
        with node.client() as client:
            offer = next(node.offers(client))
        done = backup.write(engine, config.data, tmp_path / "b", SECRET, time.time())
        key = portal.wired.keys.current.public
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert done.keys and done.district == "riverbend" and done.version == 1
    read = backup.read(tmp_path / "b", elsewhere.data, elsewhere.database, SECRET)
    assert read == done
    again = connect(elsewhere.database)
    with reading(again) as session:
        copies.write(session, UploadedList, "our-list", tmp_path / "our-list")
    assert (tmp_path / "our-list").read_text() == "bad.example\n"
    kept = counts(again)
    assert {name: kept[name] for name in done.rows} == done.rows
    with reading(again) as session:
        assert audit.verify(session).sound
    number = grant(again, "tiktok.com")  # numbers go on where they were
    assert number == 2
    with serving(elsewhere, again) as second:
        assert second.wired.keys.current.public == key
        with reading(again) as session:
            assert second.wired.current.refresh(session).base.digest == offer.base  # it came with it
        assert httpx.get(f"{second.url}/healthz").status_code == 200
    again.dispose()


def test_a_held_portal_learns_what_it_missed_and_publishes_above_it(
    config: PortalConfig, engine: Engine, elsewhere: PortalConfig, tmp_path: Path
) -> None:
    kept, closed = grant(engine, "instagram.com"), grant(engine, "tiktok.com")
    with serving(config, engine) as portal:
        node = FakeNode.enrolled(portal.url, token(config, engine, time.time()))
        with node.client() as client:
            next(node.offers(client))
        backup.write(engine, config.data, tmp_path / "b", SECRET, time.time())
        revoke(engine, closed, time.time())
        late = grant(engine, "x.com", at=time.time())
        with transaction(engine) as session:
            levers.set_brake(session, CHIEF, time.time(), "evil.example", "It attacks us.")
        portal.wired.wake()
        with node.client() as client:
            for offer in node.offers(client):
                with reading(engine) as session:
                    row = session.get_one(PolicyVersion, offer.version)
                if policy_codec.load(row.body).brakes:
                    break

    backup.read(tmp_path / "b", elsewhere.data, elsewhere.database, SECRET)
    restored = connect(elsewhere.database)
    node.url = elsewhere.url
    with serving(elsewhere, restored) as portal:
        with transaction(restored) as session:
            status = NodeStatus(
                version=row.version, digest=row.digest, workers=1, workers_ready=1, clock=time.time(), queries=0,
                blocked=0, listening=[],
            )  # fmt: skip
            write_heartbeats(session, [(node.number, Heartbeat(status, int(time.time() * 1000) + 2000))])
        with node.client() as client, client.stream("GET", "/stream", headers={"Last-Event-ID": "9"}) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: recall"
            assert row.digest in next(line for line in lines if line.startswith("data:"))
        with node.client() as client:
            forged = give_back(client, row.digest, row.body, "0" * 128)
            assert forged.status_code == 422 and "signed" in forged.json()["detail"]
            assert give_back(client, row.digest, row.body, row.signature).status_code == 204
        with reading(restored) as session:
            found = restoration.standing(session, CHIEF, time.time())
        assert found is not None and found.newest == row.version and found.silent == ()
        assert found.difference is not None
        assert [one.number for one in found.difference.lost] == [late]
        assert [one.number for one in found.difference.reopened] == [closed]
        assert [one.name for one in found.difference.brakes] == ["evil.example"]
        with pytest.raises(Invalid), transaction(restored) as session:
            restoration.release(session, CHIEF, time.time(), " ")
        with transaction(restored) as session:
            restoration.release(session, CHIEF, time.time(), "The old machine burnt; all resolvers have spoken.")
        portal.wired.wake()
        with node.client() as client:
            offer = next(one for one in node.offers(client) if one.version > row.version)  # the old one may come first
        assert offer.version == row.version + 1
    with reading(restored) as session:
        policy = policy_codec.load(session.get_one(PolicyVersion, offer.version).body)
        assert session.get_one(GrantRow, closed).revoked_at is not None
        assert session.exec(select(BrakeRow.name)).all() == ["evil.example"]
        with pytest.raises(Conflict):
            restoration.release(session, CHIEF, time.time(), "again")
    assert [one.number for one in policy.grants] == [kept] and [one.name for one in policy.brakes] == ["evil.example"]
    assert "district.portal.release" in tags(restored)
    restored.dispose()


def give_back(client: httpx.Client, digest: str, body: bytes, signature: str) -> httpx.Response:
    packed = zstandard.ZstdCompressor().compress(body)
    return client.put(f"/objects/{digest}", content=packed, headers={"Signature": signature})


def test_only_an_administrator_lets_a_restored_portal_publish(engine: Engine) -> None:
    teacher = Actor(ActorKind.USER, 1, "Tess", frozenset({Role.REQUESTER}))
    with reading(engine) as session, pytest.raises(access.Forbidden):
        restoration.standing(session, teacher, time.time())
    with reading(engine) as session:
        assert restoration.standing(session, CHIEF, time.time()) is None


def test_without_a_passphrase_the_keys_stay_behind(
    config: PortalConfig, engine: Engine, elsewhere: PortalConfig, tmp_path: Path
) -> None:
    with serving(config, engine):
        pass
    done = backup.write(engine, config.data, tmp_path / "b", None, time.time())
    assert not done.keys
    assert b"PRIVATE" not in zstandard.ZstdDecompressor().stream_reader((tmp_path / "b").read_bytes()).read()
    backup.read(tmp_path / "b", elsewhere.data, elsewhere.database, None)
    assert not (elsewhere.data / "keys").exists()


def unpacked(packed: bytes) -> bytes | None:
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        content = frame.decompress(packed)
    except zstandard.ZstdError:
        return None
    return content if frame.eof and not frame.unused_data else None


def test_what_is_no_whole_backup_is_refused_and_nothing_is_written(
    config: PortalConfig, engine: Engine, elsewhere: PortalConfig, tmp_path: Path
) -> None:
    with serving(config, engine):
        pass
    file = tmp_path / "b"
    backup.write(engine, config.data, file, SECRET, time.time())
    whole = file.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(BadBackup):
            backup.read(file, elsewhere.data, elsewhere.database, SECRET)
    content = unpacked(whole)
    refused = 0
    for place in range(len(whole) - 1, 0, -(len(whole) // 40)):
        altered = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        if unpacked(altered) == content:
            continue  # zstd has bits that mean nothing: such a file is as good as the other
        refused += 1
        file.write_bytes(altered)
        with pytest.raises(BadBackup):
            backup.read(file, elsewhere.data, elsewhere.database, SECRET)
    assert refused >= 30
    file.write_bytes(whole)
    for passphrase, reason in ((None, "passphrase-file"), ("another one entirely", "does not open")):
        with pytest.raises(BadBackup, match=reason):
            backup.read(file, elsewhere.data, elsewhere.database, passphrase)
    assert not (elsewhere.data / "portal.sqlite").exists() and not (elsewhere.data / "keys").exists()
    with pytest.raises(BadBackup, match="empty folder"):
        backup.read(file, config.data, config.database, SECRET)
    assert backup.read(file, elsewhere.data, elsewhere.database, SECRET).keys
    with pytest.raises(BadBackup, match="empty"):
        backup.read(file, replace(elsewhere, data=tmp_path / "third").data, elsewhere.database, SECRET)
