"""Employees come from a OneRoster export; students never do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from sqlmodel import select

from portal.database import reading, transaction
from portal.errors import Forbidden, Invalid
from portal.models.audit import AuditEvent
from portal.models.people import User
from portal.people import accounts, roster
from tests.portal.frontdesk import NOW, Desk

ORGS = (
    "sourcedId,status,name,type,identifier\no1,active,Edison High School,school,\no2,active,Nowhere School,school,9\n"
)
USERS_11 = """sourcedId,status,enabledUser,orgSourcedIds,role,username,givenName,familyName,email
u1,active,true,o1,teacher,cora,Cora,Lee,Cora@Riverbend.example
u2,active,true,"o2,o1",administrator,dan,Dan,Roy,dan@riverbend.example
u3,active,true,o1,student,stu,Stu,Dent,stu@riverbend.example
u4,active,true,o1,guardian,gus,Gus,Dent,gus@home.example
u5,active,false,o1,teacher,eve,Eve,Old,eve@riverbend.example
"""
USERS_12 = """sourcedId,status,enabledUser,username,givenName,familyName,email,primaryOrgSourcedId
u1,active,true,cora,Cora,Lee,cora@riverbend.example,o1
u3,active,true,stu,Stu,Dent,stu@riverbend.example,o1
u6,active,true,both,Both,Ways,both@riverbend.example,o1
u7,active,true,none,No,Role,none@riverbend.example,o1
"""
ROLES_12 = """sourcedId,userSourcedId,roleType,role,orgSourcedId
r1,u1,primary,teacher,o1
r2,u3,primary,student,o1
r3,u6,primary,teacher,o1
r4,u6,secondary,student,o1
"""
FILES = {"orgs.csv": ORGS, "users.csv": USERS_11}


def imported(desk: Desk, files: dict[str, str] = FILES, dry: bool = False) -> roster.Report:
    with transaction(desk.engine) as session:
        return (roster.dry_run if dry else roster.run)(session, desk.amir, NOW, files)


def known(desk: Desk) -> dict[str, tuple[str | None, bool]]:
    with reading(desk.engine) as session:
        found = session.exec(select(User).where(User.sourced_id != None))  # noqa: E711
        return {user.email: (user.site_id, user.disabled_at is None) for user in found}


def test_employees_get_accounts_at_their_site_and_nobody_else_does(desk: Desk) -> None:
    report = imported(desk)
    assert known(desk) == {"cora@riverbend.example": ("edison", True), "dan@riverbend.example": ("edison", True)}
    assert (report.staff, report.left_out, report.unknown_orgs) == (3, 2, ("Nowhere School",))
    assert [line.what for line in report.lines] == ["create", "create"]


def test_nothing_of_a_student_is_kept_anywhere(desk: Desk) -> None:
    imported(desk)
    with reading(desk.engine) as session:
        said = str([(event.subject, event.detail) for event in session.exec(select(AuditEvent))])
        said += str([(user.email, user.name, user.sourced_id) for user in session.exec(select(User))])
    assert "Dent" not in said and "u3" not in said and "gus" not in said


def test_a_dry_run_changes_nothing_and_says_the_same(desk: Desk) -> None:
    dry = imported(desk, dry=True)
    assert known(desk) == {}
    assert imported(desk) == dry
    assert imported(desk).lines == ()  # a second import finds nothing to do


def test_one_role_of_a_student_is_enough_to_be_left_out_and_no_role_too(desk: Desk) -> None:
    report = imported(desk, {"orgs.csv": ORGS, "users.csv": USERS_12, "roles.csv": ROLES_12})
    assert set(known(desk)) == {"cora@riverbend.example"}
    assert report.left_out == 3


def test_a_role_that_has_ended_is_none_and_whose_last_one_ended_is_disabled(desk: Desk) -> None:
    """NOW is in March 2026. A former pupil who teaches is an employee."""
    files = {"users.csv": USERS_12}
    roles = "sourcedId,userSourcedId,roleType,role,orgSourcedId,beginDate,endDate\n"
    imported(
        desk,
        {
            **files,
            "roles.csv": roles + "r1,u1,primary,teacher,o1,,2027-06-01\nr2,u6,primary,teacher,o1,,\n"
            "r3,u6,secondary,student,o1,,2019-06-01\n",
        },
    )
    assert known(desk) == {"cora@riverbend.example": (None, True), "both@riverbend.example": (None, True)}
    ended = {**files, "roles.csv": roles + "r1,u1,primary,teacher,o1,,2026-03-01\nr2,u6,primary,student,o1,,\n"}
    report = imported(desk, ended, dry=True)
    assert [(line.what, line.email) for line in report.lines] == [
        ("disable", "cora@riverbend.example"),
        ("disable", "both@riverbend.example"),
    ]
    assert known(desk)["cora@riverbend.example"] == (None, True)
    imported(desk, ended)
    assert {enabled for _, enabled in known(desk).values()} == {False}


def test_who_leaves_is_disabled_and_who_is_missing_is_not_touched(desk: Desk) -> None:
    imported(desk)
    files = {"users.csv": USERS_11.replace("u1,active", "u1,tobedeleted").replace("u2,active", "zz,tobedeleted")}
    assert [line.what for line in imported(desk, files).lines] == ["disable"]
    assert known(desk)["cora@riverbend.example"] == ("edison", False)
    assert known(desk)["dan@riverbend.example"] == ("edison", True)


def test_an_account_that_was_there_keeps_its_roles_and_follows_a_new_address(desk: Desk) -> None:
    row = "u9,active,true,o1,teacher,rosa,Rosa,Diaz,rosa.diaz@riverbend.example\n"
    head = USERS_11.splitlines()[0] + "\n"
    imported(desk, {"users.csv": head + row})
    imported(desk, {"users.csv": head + row.replace("rosa.diaz@", "rosa@")})
    with reading(desk.engine) as session:
        rosa = accounts.get(session, desk.rosa.id)
        assert (rosa.email, "reviewer" in rosa.roles) == ("rosa@riverbend.example", True)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"orgs.csv": ORGS}, "no users.csv"),
        ({"users.csv": "a,b\n1,2\n"}, "no column"),
        ({"users.csv": USERS_11.replace("dan@riverbend.example", "nobody")}, "line|Nothing"),
        ({"users.csv": USERS_11.replace("dan@", "cora@")}, "Nothing"),
        ({"users.csv": USERS_11 + 'u8,"unclosed'}, "users.csv line"),
    ],
)
def test_a_damaged_export_changes_nothing(desk: Desk, files: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        imported(desk, files)
    assert known(desk) == {}


def test_only_an_administrator_imports(desk: Desk) -> None:
    with transaction(desk.engine) as session, pytest.raises(Forbidden):
        roster.run(session, desk.rosa, NOW, FILES)


def test_a_zip_and_a_folder_read_the_same_and_a_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in FILES.items():
            packed.writestr(f"export/{name}", "\ufeff" + text)
            (tmp_path / name).write_text(text, "utf-8")
        packed.writestr("demographics.csv", "secret")
    assert roster.unpack(data.getvalue()) == roster.read_files(tmp_path) == FILES
    monkeypatch.setattr(roster, "MAX_BYTES", 100)
    with pytest.raises(Invalid, match="more than"):
        roster.unpack(data.getvalue())
    with pytest.raises(Invalid, match="no zip file"):
        roster.unpack(b"PK\x03\x04" + b"x" * 50)
