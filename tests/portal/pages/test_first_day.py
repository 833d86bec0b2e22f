"""Set-up and modes in a browser without scripts."""

from __future__ import annotations

from sqlmodel import col, select

from portal.database import reading
from portal.models.delivery import Publication
from tests.portal.gatehouse import Served
from tests.portal.pages.conftest import SignIn

FILE = "site,name,level,audience,networks\ntesla,Tesla,high,students,10.20.0.0/16\ntesla,,,staff,10.21.0.0/16\n"


def test_sites_come_in_by_dry_run_then_import_and_are_enforced_from_the_check_list(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/set-up/sites")
    browser.send("/set-up/sites", {"csv": "nonsense", "action": "dry-run"})
    assert "there is no column" in browser.text
    browser.send("/set-up/sites", {"csv": FILE, "action": "dry-run"})
    assert "3 changes" in browser.text and "tesla/staff" in browser.text
    browser.send("/set-up/sites", {"action": "import"})
    assert "2 groups log what would be blocked" in browser.text
    browser.send("/set-up/observed", {"groups": ["tesla/students", "tesla/staff"], "action": "enforce"})
    assert "Observed, not enforced" not in browser.text
    browser.send("/set-up/observed", {"groups": ["tesla/staff"], "action": "observe", "days": "9"})
    assert "say why" in browser.text.lower()


def test_the_settings_keep_what_was_typed_and_the_answer_is_on_record(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/set-up")
    browser.send("/set-up/settings", {"name": "Riverbend ISD", "zone": "Mars", "contact": "555 0100"})
    assert "is not a time zone" in browser.text and browser.form("/set-up/settings")["name"] == ["Riverbend ISD"]
    browser.send("/set-up/settings", {"zone": "America/Chicago"})
    assert "Riverbend ISD" in browser.text
    browser.send("/set-up/staff", {"answer": "no"})
    assert "On record: no , Amir Khan" in browser.text


def test_an_address_is_told_its_group_and_why(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/set-up/sites?client=127.0.0.3")
    assert "127.0.0.3 is in staff at Edison High School, by 127.0.0.3/32." in browser.text
    browser.open("/set-up/sites?client=10.1.1.1")
    assert "no group claims it" in browser.text
    browser.open("/set-up/sites?client=x")
    assert "is not an IP address" in browser.text


def test_a_mode_is_prepared_drilled_and_switched_off(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/modes")
    browser.send("/modes", {"title": "State test", "kind": "testing", "sites": "edison", "minutes": "60"})
    assert "say who" in browser.text.lower()
    browser.send("/modes", {"audiences": "students", "pins": "vendor.example"})
    assert "Opens vendor.example" in browser.text
    browser.send("/modes/1/start", {"reason": "March drill", "drill": "yes"})
    assert "On: drill" in browser.text and "March drill" in browser.text
    browser.send("/modes/runs/1/end")
    assert "Switch on State test" in browser.text


def test_eighty_sites_from_a_file_are_enforced_and_locked_down_with_one_button_each(
    portal: Served, sign_in: SignIn
) -> None:
    both = list(enumerate(("students", "staff")))
    lines = [f"s{at},School {at},high,{who},10.{at}.{n}.0/24" for at in range(80) for n, who in both]
    browser = sign_in("amir")
    browser.open("/set-up/sites")
    text = "\n".join(["site,name,level,audience,networks", *lines])
    browser.send("/set-up/sites", {"csv": text, "action": "import"})
    assert "160 groups log what would be blocked" in browser.text
    browser.send("/set-up/observed", {"action": "enforce-all"})
    assert "Observed, not enforced" not in browser.text
    browser.open("/modes")
    draft = {"title": "Storm", "kind": "lock-down", "sites": "*", "audiences": ["students", "staff"], "minutes": "60"}
    browser.send("/modes", draft)
    browser.send("/modes/1/start", {"reason": "The sirens"})
    with reading(portal.wired.engine) as session:
        asked = select(Publication).where(col(Publication.because).like("lever.mode.%"))
        assert len(session.exec(asked).all()) == 1, "one version and one receipt, for eighty sites"
