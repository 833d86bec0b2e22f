"""`schoolgate setup` and `schoolgate sites`: from an empty folder to enforced groups."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import httpx
from click.testing import CliRunner

from deploy.cli import main
from portal.app import prepare
from tests.portal.gatehouse import config_in, free_port, serving

FILE = "site,name,level,audience,networks\ntesla,Tesla,high,students,10.20.0.0/16\ntesla,,,staff,10.21.0.0/16\n"


def test_a_district_is_set_up_from_the_command_line(tmp_path: Path) -> None:
    prepare(config_in(tmp_path)).dispose()
    file = tmp_path / "sites.csv"
    file.write_text(FILE)

    def run(*words: str, status: int = 0) -> str:
        name, sub, *rest = words
        found = CliRunner().invoke(main, [name, sub, "--data", str(tmp_path), *rest])
        assert found.exit_code == status, found.output
        return found.output

    about = ("--name", "Riverbend", "--zone", "America/Chicago", "--contact", "desk@r.example")
    assert "Riverbend, America/Chicago" in run("setup", "district", *about)
    assert "is not a time zone" in run("setup", "district", *about[:3], "Mars", *about[4:], status=1)
    assert run("setup", "staff-social-media", "no") == "on record: no\n"
    assert "3 things would change" in run("sites", "import", str(file), "--dry-run")
    assert "no group claims it" in run("sites", "whose", "10.20.3.4")
    assert "3 things changed" in run("sites", "import", str(file))
    assert run("sites", "whose", "10.20.3.4") == "tesla/students\tby 10.20.0.0/16\n"
    assert "write it like" in run("sites", "whose", "nonsense", status=1)
    assert "2 of 2 groups only observed" in run("setup", "show")
    assert run("setup", "enforce", "--all") == "2 groups are enforced from now on\n"
    assert "done\tEvery group enforced" in run("setup", "show")
    assert "observed for 7 days" in run("setup", "observe", "tesla/staff", "--days", "7", "--reason", "A new wing")


def test_an_old_allowlist_is_one_exception_of_the_administrator_who_answers_for_it(tmp_path: Path) -> None:
    config = replace(config_in(tmp_path, free_port()), demo=True)
    engine = prepare(config)
    with serving(config, engine) as served:
        while httpx.get(f"{served.url}/readyz").status_code != 200:
            time.sleep(0.02)
    engine.dispose()
    file = tmp_path / "allowed.txt"
    file.write_text("# the old box\n*.vendor.example\nnews.example\nnot a name!\n")
    told = [str(file), "--data", str(tmp_path), "--reason", "From the old box", "--by"]

    def run(*words: str) -> str:
        return CliRunner().invoke(main, ["exceptions", "import", *words]).output

    assert "2 names would be opened" in run(*told, "amir.khan@riverbend.example", "--dry-run")
    assert "there is no account" in run(*told, "nobody@riverbend.example")
    assert "Only an administrator" in run(*told, "tess.okafor@riverbend.example")
    assert "2 names opened by grant 1" in run(*told, "amir.khan@riverbend.example")
