"""Zone files: replaced whole, only when they say something new, and the name server is told until it listens."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blocklists.policy import Audience, Policy, Window
from blocklists.snapshot import Snapshot, make_snapshot
from deploy.rpz_files import UnknownGroup, ZoneFiles, tell, watch
from tests import support

GROUP = "north/students"
ALLOW, BLOCK = "allow.north-students.rpz", "block.north-students.rpz"
BASE = support.make_base({"social-media/social": ["facebook.com", "tiktok.com"]})
NOW = support.CREATED_AT


def _policy(**more: object) -> Policy:
    group = support.group(GROUP, "north", Audience.STUDENTS, blocks=("social-media",))
    return support.make_policy(BASE, groups=(group,), **more)


def _snapshot(policy: Policy, version: int = 1) -> Snapshot:
    return make_snapshot(replace(policy, version=version), "0" * 64, BASE)


def _serial(file: Path) -> int:
    found = re.search(r"^@ SOA \S+ \S+ (\d+)", file.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_an_approval_rewrites_the_allow_zone_and_leaves_the_block_zone_file_alone(tmp_path: Path) -> None:
    files = ZoneFiles(tmp_path, [GROUP])
    assert files.write(_snapshot(_policy()), NOW)[0] == [ALLOW, BLOCK]
    before = files.path(BLOCK).stat().st_ino
    granted = _snapshot(_policy(grants=(support.grant(1, "facebook.com"),)), 2)
    assert files.write(granted, NOW)[0] == [ALLOW]
    assert "\nfacebook.com CNAME rpz-passthru.\n" in files.path(ALLOW).read_text()
    assert "\n*.tiktok.com CNAME .\n" in files.path(BLOCK).read_text()
    assert files.path(BLOCK).stat().st_ino == before
    assert _serial(files.path(ALLOW)) > _serial(files.path(BLOCK)) == NOW


def test_a_restarted_writer_leaves_files_alone_that_say_the_same(tmp_path: Path) -> None:
    ZoneFiles(tmp_path, [GROUP]).write(_snapshot(_policy()), NOW)
    was = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ZoneFiles(tmp_path, [GROUP]).write(_snapshot(_policy(), 2), NOW + 5)[0] == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == was


def test_without_a_group_every_effective_policy_has_a_pair(tmp_path: Path) -> None:
    ZoneFiles(tmp_path).write(_snapshot(_policy()), NOW)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{kind}.{group}.rpz.zone" for kind in ("allow", "block") for group in ("north-students", "unassigned")
    }


def test_an_unknown_group_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownGroup, match="north/students"):
        ZoneFiles(tmp_path, ["west/staff"]).write(_snapshot(_policy()), NOW)


class _Stop(Exception):
    pass


def test_the_watcher_closes_a_window_at_its_end_and_tells_until_it_is_heard(tmp_path: Path) -> None:
    grant = support.grant(1, "facebook.com", window=Window(0, NOW + 60))
    snapshots = [_snapshot(_policy(grants=(grant,)))]
    heard = tmp_path / "heard"
    script = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]); n = len(p.read_text().splitlines()) if p.exists() else 0; "
    )
    script += "p.open('a').write(' '.join(sys.argv[2:]) + chr(10)); sys.exit(n == 0)"
    moments = iter([NOW + 0.0] * 6 + [NOW + 3.0] * 6 + [NOW + 59.9] * 3 + [NOW + 60.0] * 20)
    last = [float(NOW)]
    contents: list[bool] = []

    def clock() -> float:
        last[0] = next(moments, NOW + 60.0)
        return last[0]

    def sleep(_: float) -> None:
        contents.append("facebook.com" in (tmp_path / "zones" / f"{ALLOW}.zone").read_text())
        if not contents[-1]:
            raise _Stop

    files = ZoneFiles(tmp_path / "zones", [GROUP])
    with pytest.raises(_Stop):
        watch(
            files,
            lambda _: snapshots.pop() if snapshots else None,
            [sys.executable, "-c", script, str(heard)],
            clock,
            sleep,
        )
    assert contents[0] is True
    assert last[0] == NOW + 60.0
    assert heard.read_text().splitlines() == [f"{ALLOW} {BLOCK}", f"{ALLOW} {BLOCK}", ALLOW]


def test_a_reload_command_that_does_not_exist_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tell(["/nonexistent/knotc"], [ALLOW])
    assert "/nonexistent/knotc" in capsys.readouterr().err
