"""The Lists page: what an administrator sees and does, without a script; and what others may not."""

from __future__ import annotations

import time

from sqlmodel import Session, select

from portal.database import reading, transaction
from portal.models.lists import BaseBuild, BuildState, SourceRow
from tests.portal.gatehouse import Served
from tests.portal.pages.conftest import SignIn
from tests.portal.pages.gate import Browser

PATIENCE = 90.0


def until(portal: Served, state: BuildState) -> BaseBuild:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with reading(portal.wired.engine) as session:
            found = session.exec(select(BaseBuild).where(BaseBuild.state == state)).first()
        if found is not None:
            return found
        time.sleep(0.1)
    with reading(portal.wired.engine) as session:
        there = [*session.exec(select(BaseBuild)), *session.exec(select(SourceRow))]
    raise AssertionError(f"no update became {state}: {there}, {portal.wired.list_job.trouble}")


def uploaded(amir: Browser, text: str) -> None:
    fields = amir.form("/lists/sources")
    fields |= {"id": ["games"], "title": ["Games"], "category": ["social-media"], "format": [""]}
    fields.pop("file", None)
    data = {name: values[-1] for name, values in fields.items()}
    amir.page = amir.client.post("/lists/sources", data=data, files={"file": ("games.txt", text.encode())})


def test_an_administrator_uploads_a_list_sees_it_in_force_and_looks_a_name_up(portal: Served, sign_in: SignIn) -> None:
    amir = sign_in("amir")
    amir.open("/lists")
    assert "HaGeZi: social networks" in amir.text
    assert "GPL-3.0" in amir.text
    uploaded(amir, "play.example.org\nmore.example.org\nnot a name!\n")
    assert amir.path() == "/lists"
    until(portal, BuildState.CURRENT)
    amir.open("/lists?name=www.play.example.org")
    assert "Games (social-media), by the entry play.example.org" in amir.text
    assert "Nearby: more.example.org" in amir.text
    assert "1 lines rejected" in amir.text
    amir.open("/lists?name=never.example.net")
    assert "No list has never.example.net" in amir.text


def test_a_held_update_says_why_and_what_it_changes_and_a_reason_is_needed(portal: Served, sign_in: SignIn) -> None:
    with transaction(portal.wired.engine) as session:
        number = _held(session)
    amir = sign_in("amir")
    amir.open("/lists")
    assert "An update is held" in amir.text
    amir.open(f"/lists/updates/{number}")
    assert "loses 30 of its 40 entries" in amir.text
    assert "gone.example.org" in amir.text
    assert "Platforms whose names it would list Register 2026-27: Notes home" in " ".join(amir.text.split())
    amir.send(f"/lists/updates/{number}/approve", {"reason": " "})
    assert amir.page is not None
    assert amir.page.status_code == 422
    assert "Say why" in amir.text
    rosa = sign_in("rosa")
    rosa.open(f"/lists/updates/{number}")
    assert "Approve" not in rosa.text


def test_a_failure_of_a_fetch_is_on_the_page(portal: Served, sign_in: SignIn) -> None:
    with transaction(portal.wired.engine) as session:
        row = SourceRow(id="hagezi-social", own=False, enabled=True, created_at=1, asked_at=1, failures=2)
        row.error_code, row.error, row.found, row.fetched_at, row.checked_at = "timeout", "the server slept", 9, 1, 1
        session.add(row)
    rosa = sign_in("rosa")
    rosa.open("/lists")
    assert "Failed; the last good copy serves" in rosa.text
    assert "The server slept" in rosa.text
    assert "Switch off" not in rosa.text


def _held(session: Session) -> int:
    change = {
        "id": "seed-social-media",
        "before": 40,
        "after": 10,
        "added": 0,
        "dropped": 30,
        "added_examples": [],
        "dropped_examples": ["gone.example.org"],
    }
    reason = {"guard": "loss", "subject": "social-media", "sentence": "social-media loses 30 of its 40 entries (75 %)"}
    platform = {"guard": "platform", "subject": "notes.example.org", "sentence": "register 2026-27: Notes home"}
    reasons = [reason, platform]
    row = BaseBuild(state=BuildState.HELD, started_at=1, made_at=1, digest="0" * 64, changes=[change], reasons=reasons)
    session.add(row)
    session.flush()
    return row.id or 0
