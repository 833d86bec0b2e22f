"""The designee publishes a platform, the public reads it, the resolver answers, and no list closes it unseen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import httpx
import pytest

from portal.access import SYSTEM
from portal.database import connect, transaction
from portal.people import accounts
from portal.people.accounts import UserDraft
from tests.accounts import ADMINISTRATOR
from tests.flows.district import GUESTS, STAFF, STUDENTS, District, district, free_port, until
from tests.flows.list_server import ListServer
from tests.flows.upstream import world
from tests.portal.pages.gate import Browser

pytestmark = pytest.mark.timeout(600)  # a list is built at the lowest priority: beside other work it waits
DESIGNEE = "dora.lind@riverbend.example"
PATIENCE = 180.0  # seconds: lists are built at the lowest priority


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    port = free_port()
    settings = {"SCHOOLGATE_PORTAL__PRIVATE_LISTS": "true"}
    with world(port), district(tmp_path_factory.mktemp("register"), port, workers=1, settings=settings) as made:
        yield made


def designee(school: District) -> int:
    """Dora, who has no account yet; return her number."""
    engine = connect(f"sqlite:///{Path(school.data) / 'portal' / 'portal.sqlite'}")
    try:
        with transaction(engine) as session:
            draft = UserDraft(DESIGNEE, "Dora Lind", ("designee",))
            made = accounts.create_user(session, SYSTEM, time.time(), draft, "")
            made.demo = True
            return made.id or 0
    finally:
        engine.dispose()


def test_a_platform_is_entered_published_read_and_answered_and_an_update_that_would_close_it_waits(
    school: District,
) -> None:
    number = designee(school)
    assert not school.is_open("www.instagram.com", STUDENTS)
    with httpx.Client(base_url=school.url, follow_redirects=True, timeout=30) as hers:
        dora = Browser(hers)
        dora.open("/sign-in")
        dora.send("/sign-in/demo", {"account": str(number)})
        dora.open("/platforms")
        year = dora.path().removeprefix("/platforms/")
        dora.open(f"/platforms/{year}/new")
        entry = {
            "name": "Photo club",
            "purpose": "The club shows its week",
            "leaders": "The principal holds the account",
            "parents": "opt-in",
            "names": "instagram.com\nnotes.example.com\n",
            "services": "",
            "action": "save",
        }
        dora.send(dora.path(), entry)
        assert not school.is_open("www.instagram.com"), "a draft opens nothing"
        dora.send(dora.path(), {"action": "publish"})
        label = f"register {year}: Photo club"
        for client in (STUDENTS, STAFF):
            until(lambda client=client: school.is_open("www.instagram.com", client), PATIENCE, "the resolver")
        assert not school.is_open("www.instagram.com", GUESTS), "for whom it is not"

    public = httpx.get(f"{school.url}/platforms/{year}", timeout=30)
    assert public.status_code == 200 and "Photo club" in public.text and "Can opt in" in public.text
    told = httpx.get(f"{school.url}/api/v1/platforms/{year}", timeout=30).json()
    assert [one["name"] for one in told["platforms"]] == ["Photo club"]
    assert date.fromisoformat(told["first"]) <= date.fromisoformat(told["published_on"])

    with school.client(ADMINISTRATOR, "administrator") as admin, closing(ListServer()) as source:
        query = {"name": "www.instagram.com", "group": "edison/students"}
        explained = admin.get("/explain", params=query).raise_for_status().json()
        assert (explained["action"], explained["register_entry"]) == ("allow", label)
        assert explained["reason"]["authority"]["kind"] == "register"
        source.add("notes.example.com")
        draft = {"id": "careless", "title": "Careless", "category": "social-media", "url": source.url}
        assert admin.post("/lists/sources", json=draft).status_code == 201

        def held() -> bool:
            updates = admin.get("/lists/updates").raise_for_status().json()["updates"]
            return any(one["state"] == "held" for one in updates)

        until(held, PATIENCE, "the update to be held")
        update = next(one for one in admin.get("/lists/updates").json()["updates"] if one["state"] == "held")
        (reason,) = update["reasons"]
        assert (reason["guard"], reason["subject"]) == ("platform", "notes.example.com")
        assert label in reason["sentence"]
    assert school.is_open("notes.example.com"), "what is published stays as it is"
