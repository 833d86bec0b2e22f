"""One-time codes: enrolled, confirmed, asked for, counted once, recovered, reset by somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pyotp
import pytest
from sqlmodel import select

from portal.access import SYSTEM
from portal.database import reading, transaction
from portal.errors import Conflict, Forbidden, Invalid
from portal.models.audit import AuditEvent
from portal.models.people import SecondFactor, WebSession
from portal.nodes.keys import BadKey
from portal.people import accounts, second_factor, sessions, signing_in
from portal.people.accounts import UserDraft
from portal.people.sessions import SignedIn, Throttle, user_actor
from portal.people.signing_in import Finished, Step
from portal.sealing import KEY_FILE, Sealer, sealing_key
from tests.portal.frontdesk import NOW, PASSWORDS, Desk

SEALER = Sealer(os.urandom(32))
EMAIL, PASSWORD, HERE = "jo@riverbend.example", "four random words here", "192.0.2.1"


def made(desk: Desk, *roles: str) -> int:
    with transaction(desk.engine) as session:
        draft = UserDraft(EMAIL, "Jo", roles or ("reviewer",))
        return accounts.create_user(session, SYSTEM, NOW, draft, PASSWORDS.hash(PASSWORD)).id or 0


def enrolled(desk: Desk, user: int) -> tuple[pyotp.TOTP, tuple[str, ...]]:
    with transaction(desk.engine) as session:
        totp = pyotp.TOTP(second_factor.begin(session, SEALER, NOW, user).secret)
        codes = second_factor.confirm(session, SEALER, NOW, accounts.get(session, user), totp.at(int(NOW)))
        return totp, codes


def required(desk: Desk) -> None:
    enrolled(desk, desk.amir.id)
    with transaction(desk.engine) as session:
        second_factor.require(session, desk.amir, NOW, True)


def password(desk: Desk, now: float = NOW) -> SignedIn | Step:
    return signing_in.sign_in(desk.engine, PASSWORDS, Throttle(), EMAIL, PASSWORD, now, HERE, 12)


def finish(desk: Desk, step: SignedIn | Step, code: str, now: float, throttle: Throttle | None = None) -> Finished:
    return signing_in.finish(desk.engine, SEALER, throttle or Throttle(), step.secret, code, now, 12)


def test_who_has_a_second_factor_gets_no_session_for_the_password_alone(desk: Desk) -> None:
    totp, _ = enrolled(desk, made(desk))
    step = password(desk)
    assert isinstance(step, Step)
    with reading(desk.engine) as session:
        assert sessions.resolve(session, step.secret, NOW) is None
    later = NOW + 30
    signed = finish(desk, step, totp.at(int(later)), later).signed_in
    with reading(desk.engine) as session:
        assert sessions.resolve(session, signed.secret, later) is not None
    with pytest.raises(Forbidden, match="too long"):  # the step is spent
        finish(desk, step, totp.at(int(later) + 30), later + 30)


def test_a_code_counts_once_even_in_another_browser(desk: Desk) -> None:
    totp, _ = enrolled(desk, made(desk))
    later = NOW + 60
    code = totp.at(int(later))
    first, second = password(desk, later), password(desk, later)
    finish(desk, first, code, later)
    with pytest.raises(Invalid):
        finish(desk, second, code, later)
    with pytest.raises(Invalid):  # nor one from before it
        finish(desk, second, totp.at(int(later) - 30), later)


def test_the_code_that_confirmed_the_enrolment_does_not_sign_in(desk: Desk) -> None:
    totp, _ = enrolled(desk, made(desk))
    with pytest.raises(Invalid):
        finish(desk, password(desk), totp.at(int(NOW)), NOW)


@pytest.mark.parametrize("code", ["", "000 00", "12345a", "１２３４５６", "1234567", "x" * 500])
def test_what_is_no_code_is_wrong(desk: Desk, code: str) -> None:
    enrolled(desk, made(desk))
    with pytest.raises(Invalid):
        finish(desk, password(desk), code, NOW)


def test_a_recovery_code_works_once(desk: Desk) -> None:
    _, recovery = enrolled(desk, made(desk))
    assert len(set(recovery)) == second_factor.RECOVERY_CODES
    finish(desk, password(desk), f" {recovery[3].upper()} ", NOW)
    with pytest.raises(Invalid):
        finish(desk, password(desk), recovery[3], NOW)
    finish(desk, password(desk), recovery[4], NOW)


def test_who_has_the_password_gets_few_guesses_at_codes_in_a_day() -> None:
    """As the portal counts them: 20 of 1,000,000 a day."""
    throttle, now, guesses = Throttle(max_wait=4 * 3600, window=86_400), NOW, 0
    while now < NOW + 86_400:
        guesses += 1
        throttle.failed("", "code of 1", now)
        now += max(1, throttle.wait("", "code of 1", now))
    assert guesses <= 25


def test_wrong_codes_are_slowed_down_for_the_account_and_nobody_else(desk: Desk) -> None:
    totp, _ = enrolled(desk, made(desk))
    throttle = Throttle()
    for _ in range(Throttle.FREE):
        with pytest.raises(Invalid):
            finish(desk, password(desk), "000000", NOW, throttle)
    later = NOW + 0.5
    with pytest.raises(Forbidden, match="Too many wrong codes"):
        finish(desk, password(desk), totp.at(int(NOW) + 30), later, throttle)
    other, _ = enrolled(desk, desk.ben.id)
    assert throttle.wait("", f"code of {desk.ben.id}", later) == 0
    assert other is not totp


def test_the_district_requires_it_of_reviewers_and_administrators_only(desk: Desk) -> None:
    made(desk)
    assert isinstance(password(desk), SignedIn)
    with transaction(desk.engine) as session:
        with pytest.raises(Conflict, match="your own account first"):
            second_factor.require(session, desk.amir, NOW, True)
        with pytest.raises(Forbidden):
            second_factor.require(session, desk.rosa, NOW, True)
    required(desk)
    with reading(desk.engine) as session:
        assert session.exec(select(WebSession)).first() is None  # who had not enrolled was signed out
    step = password(desk)
    found = signing_in.waiting(desk.engine, SEALER, step.secret, NOW)
    assert isinstance(step, Step) and found is not None and found.enrolment is not None
    again = signing_in.waiting(desk.engine, SEALER, step.secret, NOW)
    assert again is not None and again.enrolment == found.enrolment  # a reload keeps the secret
    code = pyotp.TOTP(found.enrolment.secret).at(int(NOW))
    assert len(finish(desk, step, code, NOW).recovery) == second_factor.RECOVERY_CODES


def test_a_requester_is_not_asked(desk: Desk) -> None:
    made(desk, "requester", "auditor")
    required(desk)
    assert isinstance(password(desk), SignedIn)


def test_another_administrator_resets_it_and_nobody_their_own(desk: Desk) -> None:
    user = made(desk)
    enrolled(desk, user)
    enrolled(desk, desk.amir.id)
    with transaction(desk.engine) as session:
        with pytest.raises(Forbidden, match="Another administrator"):
            second_factor.reset(session, desk.amir, NOW, desk.amir.id)
        with pytest.raises(Forbidden):
            second_factor.reset(session, desk.rosa, NOW, user)
        second_factor.reset(session, desk.amir, NOW, user)
    assert isinstance(password(desk), SignedIn)


def test_secrets_are_sealed_at_rest_and_bound_to_their_person(desk: Desk) -> None:
    user = made(desk)
    totp, recovery = enrolled(desk, user)
    with reading(desk.engine) as session:
        row = session.get(SecondFactor, user)
        assert row is not None
        assert totp.secret not in row.sealed
        assert not any(code in str(row.recovery) for code in recovery)
        assert SEALER.open(f"second-factor:{user}", row.sealed) == totp.secret.encode()
        assert SEALER.open("second-factor:1", row.sealed) is None
        assert Sealer(os.urandom(32)).open(f"second-factor:{user}", row.sealed) is None
        said = str([(event.tag, event.detail) for event in session.exec(select(AuditEvent))])
        assert "people.second-factor.enrol" in said and totp.secret not in said and recovery[0] not in said


def test_a_disabled_person_does_not_finish(desk: Desk) -> None:
    user = made(desk)
    totp, _ = enrolled(desk, user)
    step = password(desk)
    with transaction(desk.engine) as session:
        accounts.disable(session, desk.amir, NOW, user)
    with pytest.raises(Forbidden):
        finish(desk, step, totp.at(int(NOW) + 30), NOW + 30)
    with reading(desk.engine) as session:
        assert user_actor(accounts.get(session, user)).user_id == user


def test_the_key_is_made_once_for_its_owner_alone_and_refused_when_others_can_read_it(tmp_path: Path) -> None:
    key = sealing_key(tmp_path)
    assert sealing_key(tmp_path) == key
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(BadKey, match="others can read"):
        sealing_key(tmp_path)
