"""The outbox against a real mail server: nothing lost, nothing twice, and never a password in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from portal.config import MailConfig, PortalConfig
from portal.database import reading, transaction
from portal.models.alerts import MailRow
from portal.upkeep import mail
from portal.upkeep.alertjob import AlertJob
from portal.upkeep.mail import BadMail, Standing
from tests.portal.gatehouse import NOW, config_in, founded
from tests.portal.mailroom import Mailroom, open_mailroom
from tests.resolver.upstreams.test_tls import Authority


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PortalConfig, Engine]]:
    config = config_in(tmp_path_factory.mktemp("mail"))
    engine = founded(config)
    yield config, engine
    engine.dispose()


@pytest.fixture
def outbox(portal: tuple[PortalConfig, Engine]) -> Iterator[tuple[PortalConfig, Engine]]:
    yield portal
    with transaction(portal[1]) as session:
        for row in session.exec(select(MailRow)):
            session.delete(row)


@pytest.fixture(scope="module")
def room() -> Iterator[Mailroom]:
    with open_mailroom() as found:
        yield found


def sender(outbox: tuple[PortalConfig, Engine], mail_config: MailConfig, deadline: float = 20.0) -> AlertJob:
    config, engine = outbox
    return AlertJob(engine, replace(config, mail=mail_config), lambda: NOW, dict, deadline=deadline)


def leave(engine: Engine, *to: str, key: str = "alert.1.begins", answers: str = "") -> None:
    with transaction(engine) as session:
        mail.write(session, NOW, to, key, "Schoolgate:\nedison-1 is silent", "Nothing is heard.\n", answers)


def standing(engine: Engine) -> Standing:
    with reading(engine) as session:
        return mail.standing(session)


def test_a_mail_says_who_and_what_and_that_no_person_wrote_it(
    outbox: tuple[PortalConfig, Engine], room: Mailroom
) -> None:
    leave(outbox[1], "amir@district.example")
    leave(outbox[1], "amir@district.example", key="alert.1.over", answers="alert.1.begins")
    assert sender(outbox, room.config()).send(NOW) == 2
    first, second = room.got
    assert (str(first["From"]), str(first["To"])) == ("Gate <gate@district.example>", "amir@district.example")
    assert first["Subject"] == "Schoolgate: edison-1 is silent"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first.get_content().strip() == "Nothing is heard."
    assert second["In-Reply-To"] == first["Message-ID"] != second["Message-ID"]
    assert standing(outbox[1]) == Standing(0, 2, 0, "")


def test_what_is_sent_is_not_sent_again(outbox: tuple[PortalConfig, Engine], room: Mailroom) -> None:
    room.got.clear()
    leave(outbox[1], "amir@district.example", "rosa@district.example")
    job = sender(outbox, room.config())
    assert [job.send(NOW), job.send(NOW + 1), job.send(NOW + 9_000)] == [2, 0, 0]
    assert sorted(room.to) == ["amir@district.example", "rosa@district.example"]


def test_a_refused_recipient_does_not_hold_up_the_others(outbox: tuple[PortalConfig, Engine], room: Mailroom) -> None:
    room.got.clear()
    room.refused = frozenset({"gone@district.example"})
    leave(outbox[1], "gone@district.example", "rosa@district.example")
    assert sender(outbox, room.config()).send(NOW) == 1
    room.refused = frozenset()
    assert room.to == ["rosa@district.example"]
    found = standing(outbox[1])
    assert (found.waiting, found.error) == (1, "550 nobody here has this name")


def test_mail_waits_longer_after_each_refusal_and_is_given_up_at_last(
    outbox: tuple[PortalConfig, Engine], room: Mailroom
) -> None:
    room.got.clear()
    room.says, room.tries = "451 try later", 0
    leave(outbox[1], "amir@district.example")
    job = sender(outbox, room.config())
    job.send(NOW)
    job.send(NOW + mail.RETRY - 1)
    assert room.tries == 1
    job.send(NOW + mail.RETRY)
    job.send(NOW + 3 * mail.RETRY - 1)
    assert room.tries == 2
    job.send(NOW + mail.PATIENCE + 1)
    assert room.tries == 3
    assert standing(outbox[1]) == Standing(0, 0, 1, "")
    room.says = ""
    assert job.send(NOW + 2 * mail.PATIENCE) == 0


def test_a_clock_set_back_holds_no_mail_up(outbox: tuple[PortalConfig, Engine], room: Mailroom) -> None:
    room.got.clear()
    leave(outbox[1], "amir@district.example")
    assert sender(outbox, room.config()).send(NOW - 86_400) == 1


def test_a_server_that_is_away_is_asked_with_one_mail_and_gets_all_when_it_is_back(
    outbox: tuple[PortalConfig, Engine],
) -> None:
    with open_mailroom() as room:
        pass
    leave(outbox[1], "amir@district.example", "rosa@district.example")
    job = sender(outbox, room.config())
    assert job.send(NOW) == 0
    with reading(outbox[1]) as session:
        assert sorted(session.exec(select(MailRow.tries))) == [0, 1]
    with open_mailroom(room=room):
        assert job.send(NOW + mail.RETRY) == 2
        assert job.send(NOW + 9_000) == 0
    assert len(room.got) == 2


def test_a_server_that_never_finishes_costs_one_deadline(outbox: tuple[PortalConfig, Engine], room: Mailroom) -> None:
    room.got.clear()
    leave(outbox[1], "amir@district.example", "rosa@district.example")
    room.pause = 3600.0
    assert sender(outbox, room.config(), deadline=1.0).send(NOW) == 0
    room.pause = 0.0
    found = standing(outbox[1])
    assert (found.waiting, found.error) == (2, "127.0.0.1 did not finish within 1 s")


def test_a_portal_that_died_before_it_noted_the_answer_sends_the_same_mail(
    outbox: tuple[PortalConfig, Engine], room: Mailroom
) -> None:
    room.got.clear()
    leave(outbox[1], "amir@district.example")
    config = room.config()
    with transaction(outbox[1]) as session:
        row = mail.claim(session, NOW)
    assert row is not None
    mail.deliver(config, row)
    job = sender(outbox, config)
    assert job.send(NOW + mail.LEASE - 1) == 0  # it may still be at work
    assert job.send(NOW + mail.LEASE) == 1
    assert len({str(one["Message-ID"]) for one in room.got}) == 1


def test_the_password_goes_over_tls_only_and_the_certificate_is_looked_at(
    outbox: tuple[PortalConfig, Engine], tmp_path: Path
) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    leave(outbox[1], "amir@district.example")
    with open_mailroom(ours.sign("127.0.0.1"), "correct horse") as room:
        whole = room.config(security="starttls", user="gate", password_file=secret, ca=ours.file)
        assert sender(outbox, replace(whole, ca=other.file)).send(NOW) == 0
        assert "certificate" in standing(outbox[1]).error
        assert sender(outbox, whole).send(NOW + 9_000) == 1
        assert room.clear == [False]
    leave(outbox[1], "amir@district.example", key="alert.2.begins")
    with open_mailroom() as plain:  # offers no STARTTLS
        assert sender(outbox, replace(whole, port=plain.port)).send(NOW) == 0
        assert (plain.got, plain.tries) == ([], 0)


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse")
    secret.chmod(0o640)
    config = MailConfig("127.0.0.1", 25, "starttls", "gate@district.example", user="gate", password_file=secret)
    with pytest.raises(BadMail, match="chmod 600"):
        mail.check(config)
    secret.chmod(0o600)
    mail.check(config)
    with pytest.raises(BadMail, match="cannot be read"):
        mail.check(replace(config, password_file=tmp_path / "missing"))
