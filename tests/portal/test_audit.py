"""The audit: append-only for the portal, and tampering by somebody with the file is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session

from portal import audit
from portal.access import SYSTEM
from portal.audit import GENESIS, Verification
from portal.database import reading, transaction
from portal.errors import Forbidden
from tests.portal import databases
from tests.portal.frontdesk import NOW, Desk


@pytest.fixture
def session(desk: Desk) -> Iterator[Session]:
    with transaction(desk.engine) as session:
        for number in range(10):
            audit.record(session, desk.amir, int(NOW * 1000), "test.row.write", f"row:{number}", {"turn": number})
    with reading(desk.engine) as session:
        yield session


def tamper(desk: Desk, *statements: str) -> None:
    """As somebody who owns the database, and takes the triggers away first."""
    desk.engine.dispose()
    databases.tamper(desk.engine, *statements)


def verified(desk: Desk, head: str | None = None, count: int | None = None) -> Verification:
    with reading(desk.engine) as session:
        return audit.verify(session, head, count)


def test_an_untouched_chain_is_sound(desk: Desk, session: Session) -> None:
    found = audit.verify(session)
    assert found.sound
    assert found.head == audit.head(session) != GENESIS
    assert audit.verify(session, found.head, found.count).sound
    assert audit.verify(session, GENESIS).sound


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_event SET actor_name = 'Nobody'", "DELETE FROM audit_event", "DELETE FROM audit_event WHERE id = 1"],
)
def test_the_database_itself_refuses_to_change_the_audit(desk: Desk, session: Session, statement: str) -> None:
    session.close()
    with pytest.raises(DatabaseError, match="only ever added to"), desk.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert verified(desk).sound


@pytest.mark.parametrize(
    "change",
    [
        "actor_name = 'Rosa Diaz'",
        "actor = 'user:2'",
        "at_ms = at_ms + 1",
        "tag = 'test.row.erase'",
        "subject = 'row:9'",
        """detail = '{"turn": 99}'""",
    ],
)
def test_an_altered_row_is_found(desk: Desk, session: Session, change: str) -> None:
    session.close()
    tamper(desk, f"UPDATE audit_event SET {change} WHERE id = 6")
    assert [problem.id for problem in verified(desk).problems] == [6]


def test_an_altered_row_with_a_new_hash_breaks_the_next_one(desk: Desk, session: Session) -> None:
    session.close()
    tamper(desk, "UPDATE audit_event SET hash = 'x' || substr(hash, 2) WHERE id = 6")
    assert {problem.id for problem in verified(desk).problems} == {6, 7}


def test_a_removed_row_is_found(desk: Desk, session: Session) -> None:
    session.close()
    tamper(desk, "DELETE FROM audit_event WHERE id = 6")
    (missing, unlinked) = verified(desk).problems
    assert "row 7 stands where row 6 belongs" in missing.what
    assert unlinked.id == 7


def test_an_inserted_row_is_found(desk: Desk, session: Session) -> None:
    session.close()
    tamper(
        desk,
        "INSERT INTO audit_event SELECT 0, at_ms, actor, actor_name, tag, subject, detail, previous, 'forged'"
        " FROM audit_event WHERE id = 6",
    )
    assert verified(desk).problems[0].id == 0


def test_truncation_is_found_against_the_witnessed_head_or_count(desk: Desk, session: Session) -> None:
    known = audit.verify(session)
    session.close()
    tamper(desk, f"DELETE FROM audit_event WHERE id > {known.count - 2}")
    assert verified(desk).sound  # by itself, a shorter chain is a chain
    assert "witnessed" in verified(desk, known.head).problems[0].what
    assert "where there were" in verified(desk, count=known.count).problems[0].what


def test_a_chain_written_anew_from_the_start_is_found_against_the_witnessed_head(desk: Desk, session: Session) -> None:
    known = audit.head(session)
    session.close()
    tamper(desk, "DELETE FROM audit_event")
    with transaction(desk.engine) as fresh:
        for number in range(12):
            audit.record(fresh, SYSTEM, int(NOW * 1000), "test.row.write", f"row:{number}")
    assert verified(desk).sound
    assert not verified(desk, known).sound


def test_a_tag_has_three_parts(desk: Desk) -> None:
    with transaction(desk.engine) as session, pytest.raises(ValueError, match="three parts"):
        audit.record(session, SYSTEM, 0, "request.approve", "request:1")


def test_only_auditors_and_administrators_read_it(desk: Desk, session: Session) -> None:
    assert audit.find(session, desk.ada, tag="test.row", limit=3)[0].subject == "row:9"
    assert len(audit.find(session, desk.amir, subject="row:4")) == 1
    for who in (desk.tess, desk.rosa):
        with pytest.raises(Forbidden):
            audit.find(session, who)
