"""Accounts."""

from __future__ import annotations

import pytest

from portal import audit
from portal.access import SYSTEM
from portal.database import connect, reading, transaction
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.migrations import upgrade
from portal.people import accounts
from portal.people.accounts import UserDraft
from portal.upkeep import demo
from tests.portal.frontdesk import NOW, Desk

JO = UserDraft("Jo.Park@Riverbend.Example", "Jo Park", ("reviewer", "requester"), "edison")


def test_an_account_is_made_once_with_its_roles_in_order(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        user = accounts.create_user(session, SYSTEM, NOW, JO, "")
        assert (user.email, user.roles) == ("jo.park@riverbend.example", ["requester", "reviewer"])
        assert accounts.by_email(session, " JO.PARK@riverbend.example") == user
        with pytest.raises(Invalid, match="mend") as refusal:
            accounts.create_user(session, SYSTEM, NOW, JO, "")
        assert refusal.value.errors[0].field == "email"
        with pytest.raises(NotFound):
            accounts.by_email(session, "nobody@x.example")


def test_every_mistake_of_an_account_is_told_at_once(desk: Desk) -> None:
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        accounts.create_user(session, SYSTEM, NOW, UserDraft("jo", " ", ("king",), "atlantis"), "")
    assert {error.field for error in refusal.value.errors} == {"email", "name", "roles[0]", "site"}


def test_another_address_is_on_record(desk: Desk) -> None:
    """An administrator who turns an account into another person's cannot do it unseen."""
    with transaction(desk.engine) as session:
        user = accounts.create_user(session, SYSTEM, NOW, JO, "")
        draft = UserDraft("other@riverbend.example", "Jo Park", ("requester",), "edison")
        accounts.update_user(session, desk.amir, NOW, user.id or 0, draft)
        (event,) = audit.find(session, desk.amir, f"user:{user.id}", "people.user.update", None, 9)
        address = event.detail["address"]
    assert address == {"before": "jo.park@riverbend.example", "after": "other@riverbend.example"}


def test_only_an_administrator_manages_accounts(desk: Desk) -> None:
    with reading(desk.engine) as session:
        for who in (desk.tess, desk.rosa, desk.ada):
            with pytest.raises(Forbidden):
                accounts.create_user(session, who, NOW, JO, "")
            with pytest.raises(Forbidden):
                accounts.users(session, who)
        assert len(accounts.users(session, desk.amir)) == 5


def test_the_last_administrator_is_never_lost(desk: Desk) -> None:
    amir = UserDraft("amir.khan@riverbend.example", "Amir Khan", ("requester",))
    with transaction(desk.engine) as session:
        with pytest.raises(Conflict, match="last administrator"):
            accounts.disable(session, desk.amir, NOW, desk.amir.id)
        other = accounts.create_user(session, SYSTEM, NOW, UserDraft("b@x.example", "B", ("administrator",)), "")
        accounts.disable(session, desk.amir, NOW, desk.amir.id)
        accounts.enable(session, SYSTEM, NOW, desk.amir.id)
        accounts.disable(session, SYSTEM, NOW, other.id or 0)
    with pytest.raises(Conflict, match="last administrator"), transaction(desk.engine) as session:
        accounts.update_user(session, SYSTEM, NOW, desk.amir.id, amir)
    with reading(desk.engine) as session:
        assert "administrator" in accounts.get(session, desk.amir.id).roles


def test_a_demo_never_runs_on_a_real_districts_database(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(Conflict, match="never runs"), transaction(desk.engine) as session:
        demo.seed(session, NOW, "http://127.0.0.1:8080")  # Ben and Ada are real accounts
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('real') / 'portal.sqlite'}")
    upgrade(engine)
    with transaction(engine) as session:
        demo.first_run(session, NOW, "http://127.0.0.1:8080")
        demo.first_run(session, NOW, "http://127.0.0.1:8081")
        assert demo.accounts(session) == ()
    with pytest.raises(Conflict, match="never runs"), transaction(engine) as session:
        demo.seed(session, NOW, "http://127.0.0.1:8080")
    engine.dispose()
