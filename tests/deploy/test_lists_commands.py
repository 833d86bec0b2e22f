"""`schoolgate lists update | check | show | import`, with a real server of lists and without a running portal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlmodel import select

from deploy.cli import main
from portal.access import SYSTEM
from portal.database import connect, reading, transaction
from portal.lists import sources
from portal.lists.bases import Bases, current_base
from portal.lists.sources import SourceDraft
from portal.models.delivery import BaseFile
from resolver.delivery.policy_store import PolicyStore
from tests.blocklists.hostile_server import Server, ok, raw, serving
from tests.portal.gatehouse import NOW, config_in, founded
from tests.resolver.fake_portal import District

NAMES = b"".join(b"site%d.example.net\n" % number for number in range(20))
GONE = raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

pytestmark = pytest.mark.timeout(600)  # updates run at the lowest priority: beside other work they wait

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SCHOOLGATE_PORTAL__PRIVATE_LISTS", "true")
    monkeypatch.setenv("COLUMNS", "400")  # an error's words stay on one line

    def run(*words: str, status: int = 0) -> str:
        found = CliRunner().invoke(main, ["lists", words[0], "--data", str(tmp_path), *words[1:]])
        assert found.exit_code == status, found.output
        return found.output

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A list server, and a portal's database in which one list of it is on."""
    config = config_in(tmp_path, database=f"sqlite:///{tmp_path / 'portal' / 'portal.sqlite'}")
    engine = founded(config)
    with serving() as found:
        found.answers["/list"] = ok(NAMES)
        with transaction(engine) as session:
            draft = SourceDraft("ours", "Ours", "social-media", found.url("/list"))
            sources.add(session, SYSTEM, NOW, draft, private=True)
        engine.dispose()
        yield found


def bases_of(folder: Path) -> list[str]:
    """The bases that were ever made current."""
    engine = connect(f"sqlite:///{folder / 'portal' / 'portal.sqlite'}")
    with reading(engine) as session:
        found = [row.digest for row in session.exec(select(BaseFile))]
    engine.dispose()
    return found


def listed(folder: Path, name: str) -> list[str]:
    engine = connect(f"sqlite:///{folder / 'portal' / 'portal.sqlite'}")
    with reading(engine) as session:
        row = current_base(session)
        assert row is not None
        base = Bases(folder / "portal").open(row.digest)
    engine.dispose()
    return [base.lists[one.list].id for one in base.listings(name)]


def test_lists_are_updated_checked_and_held_from_the_command_line(run: Run, server: Server, tmp_path: Path) -> None:
    assert "published as a new version" in run("update")
    assert listed(tmp_path, "www.site3.example.net") == ["ours"]
    before = bases_of(tmp_path)

    server.answers["/list"] = ok(NAMES + b"more.example.net\n")
    assert "ours: +1 -0 (21 names)" in run("check")
    assert bases_of(tmp_path) == before and listed(tmp_path, "more.example.net") == []

    server.answers["/list"] = ok(NAMES + b"azureedge.net\nlogin.microsoftonline.com\n")
    held = run("update", status=1)
    assert "held: login.microsoftonline.com comes into social-media" in held
    assert "an administrator decides on the Lists page" in held
    assert bases_of(tmp_path) == before

    server.answers["/list"] = GONE
    assert "1 of 1 lists could not be fetched" in run("check", status=1)


def test_a_file_is_imported_again_and_refused(run: Run, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "Our games.txt"
    file.write_text("play.example.org\nnot a name!\n")
    told = run("import", str(file), "--category", "social-media")
    assert "our-games: 1 names, 1 lines rejected" in told
    assert "line 2: not a name!" in told
    assert listed(tmp_path, "play.example.org") == ["our-games"]
    file.write_text("play.example.org\nnewer.example.org\n")
    assert "our-games: 2 names, 0 lines rejected" in run("import", str(file), "--category", "social-media")
    assert listed(tmp_path, "newer.example.org") == ["our-games"]
    file.write_text("<!doctype html><title>Sign in</title>")
    assert "this is a web page, titled “Sign in”" in run("import", str(file), "--category", "social-media", status=1)
    assert listed(tmp_path, "newer.example.org") == ["our-games"]  # the last good copy stays
    refused = run("import", str(file), "--category", "nonsense", "--id", "other", status=1)
    assert "there is no category 'nonsense'" in refused


def test_what_the_node_serves_by_is_shown(run: Run, tmp_path: Path) -> None:
    assert "holds no policy yet" in run("show", status=1)
    store = PolicyStore(tmp_path / "node")
    store.create()
    district = District()
    offer, data = district.publish(1)
    store.accept(offer, data, district.source, district.pin)
    shown = run("show", "--services")
    assert f"version 1, base {offer.base[:16]}…" in shown
    assert "social-media\tlist\t" in shown


def test_without_a_portal_the_commands_say_what_to_do(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("play.example.org\n")
    for words in (("update",), ("check",), ("import", str(file), "--category", "adult")):
        assert "holds no portal yet: start it once" in run(*words, status=1)
    assert "all sound" in run("check", "--seed")
