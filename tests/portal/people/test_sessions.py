"""Signing in, browser sessions, form tokens, bearer tokens, passwords."""

from __future__ import annotations

import threading

import pytest
from sqlmodel import select

from portal import access
from portal.access import Actor
from portal.database import reading, transaction
from portal.errors import Forbidden, Invalid, NotFound
from portal.models.people import ApiToken, WebSession
from portal.models.words import Role
from portal.people import accounts, browsers, sessions, signing_in
from portal.people.accounts import TokenDraft, UserDraft
from portal.people.browsers import Known
from portal.people.passwords import Passwords
from portal.people.sessions import SignedIn, Throttle
from portal.sealing import Sealer
from tests.portal.frontdesk import NOW, PASSWORDS, Desk

EMAIL, PASSWORD = "jo.park@riverbend.example", "correct horse battery"
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def jo(desk: Desk) -> int:
    hashed = PASSWORDS.hash(PASSWORD)
    with transaction(desk.engine) as session:
        user = accounts.create_user(
            session, desk.amir, NOW, UserDraft(EMAIL, "Jo Park", ("requester",), "edison"), hashed
        )
        assert user.id is not None
        return user.id


def sign_in(
    desk: Desk,
    email: str = EMAIL,
    password: str = PASSWORD,
    now: float = NOW,
    throttle: Throttle | None = None,
    address: str = HERE,
) -> SignedIn:
    return signing_in.sign_in(desk.engine, PASSWORDS, throttle or Throttle(), email, password, now, address, 12)


def resolve(desk: Desk, secret: str, now: float = NOW) -> Actor | None:
    with reading(desk.engine) as session:
        found = sessions.resolve(session, secret, now)
    return None if found is None else found.actor


def test_the_right_password_begins_a_session_whose_secret_is_not_stored(desk: Desk, jo: int) -> None:
    signed_in = sign_in(desk, email=f"  {EMAIL.upper()} ")
    actor = resolve(desk, signed_in.secret)
    assert actor is not None
    assert (actor.user_id, actor.name, actor.roles, actor.site_id) == (jo, "Jo Park", {Role.REQUESTER}, "edison")
    with reading(desk.engine) as session:
        (row,) = session.exec(select(WebSession))
    assert signed_in.secret not in str(row.model_dump())


def test_every_way_to_be_wrong_gets_the_same_sentence(desk: Desk, jo: int) -> None:
    with transaction(desk.engine) as session:
        accounts.create_user(session, desk.amir, NOW, UserDraft("no@pass.example", "No", ("requester",)), "")
        gone = accounts.create_user(
            session, desk.amir, NOW, UserDraft("gone@x.example", "Gone", ("requester",)), PASSWORDS.hash(PASSWORD)
        )
        accounts.disable(session, desk.amir, NOW, gone.id or 0)
    said = set()
    for email, password in (
        (EMAIL, "wrong"),
        (EMAIL, ""),
        (EMAIL, PASSWORD + "x" * 5000),
        ("nobody@x.example", PASSWORD),
        ("no@pass.example", ""),
        ("gone@x.example", PASSWORD),
        ("tess.okafor@riverbend.example", ""),
    ):
        with pytest.raises(Forbidden) as refusal:
            sign_in(desk, email, password)
        said.add(refusal.value.detail)
    assert len(said) == 1


def test_failures_make_one_wait_here_but_lock_nobody_out_elsewhere(desk: Desk, jo: int) -> None:
    throttle = Throttle()
    for _ in range(Throttle.FREE):
        with pytest.raises(Forbidden, match="do not belong together"):
            sign_in(desk, password="wrong", throttle=throttle)
    with pytest.raises(Forbidden, match="Try again in less than a minute"):
        sign_in(desk, throttle=throttle)
    assert sign_in(desk, throttle=throttle, address=THERE).actor.user_id == jo
    assert sign_in(desk, throttle=throttle, now=NOW + 2).actor.user_id == jo
    assert throttle.wait(EMAIL, HERE, NOW + 2) == 0


def test_waits_double_are_bounded_and_do_not_fill_the_memory() -> None:
    throttle = Throttle()
    waits = []
    for _ in range(20):
        throttle.failed(EMAIL, HERE, NOW)
        waits.append(throttle.wait(EMAIL, HERE, NOW))
    assert waits[:8] == [0, 0, 0, 0, 1, 2, 4, 8]
    assert waits[-1] == Throttle.MAX_WAIT
    for number in range(2 * Throttle.KEPT):
        throttle.failed(f"{number}@x", f"address {number}", NOW)
    assert len(throttle._failures) <= Throttle.KEPT


def test_a_known_browser_is_not_locked_out_by_who_guesses_from_the_same_school(desk: Desk, jo: int) -> None:
    """A student behind the school's one address tries a teacher's account, and everybody else's."""
    throttle, sealer = Throttle(), Sealer(bytes(32))
    for number in range(80):
        throttle.failed(EMAIL if number % 2 else f"{number}@x", HERE, NOW)
    with pytest.raises(Forbidden, match="Too many attempts"):
        sign_in(desk, throttle=throttle)
    own = browsers.known(sealer, browsers.mark(sealer, jo, NOW), NOW)
    other = browsers.known(sealer, browsers.mark(sealer, desk.tess.id, NOW), NOW)
    assert own is not None and other is not None

    def with_mark(browser: Known, password: str = PASSWORD) -> SignedIn | signing_in.Step:
        return signing_in.sign_in(desk.engine, PASSWORDS, throttle, EMAIL, password, NOW, HERE, 12, browser)

    assert with_mark(own).secret
    with pytest.raises(Forbidden, match="Too many attempts"):  # a mark is for its own account
        with_mark(other)
    for _ in range(Throttle.FREE):
        with pytest.raises(Forbidden, match="do not belong together"):
            with_mark(own, "wrong")
    with pytest.raises(Forbidden, match="Too many attempts"):  # and is slowed down like everybody
        with_mark(own)


def test_a_mark_is_ours_or_nothing_and_ends() -> None:
    sealer = Sealer(bytes(32))
    mark = browsers.mark(sealer, 1, NOW)
    assert browsers.known(sealer, mark, NOW + browsers.SECONDS - 1) is not None
    for cookie in ("", "x", mark[:-4], "x" * 5_000, sealer.seal("oidc", b"{}")):
        assert browsers.known(sealer, cookie, NOW) is None
    assert browsers.known(sealer, mark, NOW + browsers.SECONDS) is None
    assert browsers.known(Sealer(bytes(31) + b"1"), mark, NOW) is None


def test_old_mistakes_are_forgotten() -> None:
    """A school's typing errors of a term do not add up to a lock-out."""
    throttle = Throttle()
    for hour in range(200):
        throttle.failed(f"{hour}@x", HERE, NOW + 1_800 * hour)
    assert throttle.wait("next@x", HERE, NOW + 1_800 * 200) == 0


def test_one_address_that_tries_many_accounts_waits_too() -> None:
    throttle = Throttle()
    for number in range(60):
        throttle.failed(f"{number}@x", HERE, NOW)
    assert throttle.wait("another@x", HERE, NOW) > 0
    assert throttle.wait("another@x", THERE, NOW) == 0


def test_a_session_ends_by_time_by_idleness_by_signing_out_and_with_the_account(desk: Desk, jo: int) -> None:
    secret = sign_in(desk).secret
    assert resolve(desk, secret, NOW + sessions.IDLE_SECONDS - 1) is not None
    assert resolve(desk, secret, NOW + 2 * sessions.IDLE_SECONDS - 2) is not None  # it was used in between
    assert resolve(desk, secret, NOW + 3 * sessions.IDLE_SECONDS) is None
    assert resolve(desk, secret, NOW + 12 * 3600) is None
    assert resolve(desk, "x" * 43) is None
    with transaction(desk.engine) as session:
        found = sessions.resolve(session, secret, NOW)
        assert found is not None
        sessions.sign_out(session, found.actor, NOW)
    assert resolve(desk, secret) is None
    other = sign_in(desk).secret
    with transaction(desk.engine) as session:
        accounts.disable(session, desk.amir, NOW, jo)
    assert resolve(desk, other) is None


def test_a_new_password_ends_every_session(desk: Desk, jo: int) -> None:
    secret = sign_in(desk).secret
    hashed = PASSWORDS.hash("another good passphrase")
    with transaction(desk.engine) as session:
        accounts.reset_password(session, desk.amir, NOW, jo, hashed)
    assert resolve(desk, secret) is None
    assert sign_in(desk, password="another good passphrase").actor.user_id == jo


def test_one_click_is_for_demo_accounts_of_a_demo_portal(desk: Desk, jo: int) -> None:
    with transaction(desk.engine) as session:
        assert sessions.sign_in_demo(session, desk.tess.id, NOW, 12, demo=True).actor.name == "Tess Okafor"
        for user_id, demo in ((desk.tess.id, False), (jo, True), (999, True)):
            with pytest.raises(Forbidden):
                sessions.sign_in_demo(session, user_id, NOW, 12, demo)


def test_a_form_counts_only_with_its_own_sessions_token(desk: Desk, jo: int) -> None:
    mine, other = sign_in(desk), sign_in(desk)
    sessions.check_csrf(mine, mine.csrf)
    for sent in (None, "", other.csrf, mine.secret, "é"):
        with pytest.raises(Forbidden, match="too old"):
            sessions.check_csrf(mine, sent)


def test_a_persons_token_speaks_for_the_person_while_they_have_the_role(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        made = accounts.create_token(session, desk.rosa, NOW, TokenDraft("script", "reviewer", machine=False, days=30))
        with pytest.raises(Invalid):
            accounts.create_token(session, desk.rosa, NOW, TokenDraft("script", "administrator", machine=False))
        with pytest.raises(Forbidden):
            accounts.create_token(session, desk.rosa, NOW, TokenDraft("robot", "reviewer", machine=True))
    assert made.secret.startswith("sgt_")
    assert made.secret not in str(made.token.model_dump())

    def speaks(now: float = NOW) -> Actor | None:
        with reading(desk.engine) as session:
            return sessions.resolve_token(session, made.secret, now)

    actor = speaks()
    assert actor is not None
    assert (actor.user_id, actor.machine, actor.roles) == (desk.rosa.id, False, {Role.REVIEWER})
    with reading(desk.engine) as session:
        assert session.exec(select(ApiToken.last_used_at)).one() == int(NOW)
    assert speaks(NOW + 30 * 86400) is None
    with transaction(desk.engine) as session:
        person = UserDraft("rosa.diaz@riverbend.example", "Rosa Diaz", ("requester",))
        accounts.update_user(session, desk.amir, NOW, desk.rosa.id, person)
    assert speaks() is None


def test_a_tokens_scope_is_told_apart_and_a_persons_token_is_made_by_that_person_alone(desk: Desk) -> None:
    """Not even an administrator speaks for a reviewer: deciding is the reviewer's own."""
    with transaction(desk.engine) as session:
        for scope in ("read", "change"):
            made = accounts.create_token(session, desk.rosa, NOW, TokenDraft("s", "reviewer", False, 30, scope))
            actor = sessions.resolve_token(session, made.secret, NOW)
            assert actor is not None and actor.reads_only is (scope == "read")
        for wrong in ("", "write", "*"):
            with pytest.raises(Invalid):
                accounts.create_token(session, desk.rosa, NOW, TokenDraft("s", "reviewer", False, 30, wrong))
        with pytest.raises(Invalid):
            accounts.create_token(session, desk.amir, NOW, TokenDraft("s", "reviewer", False, 30))
        robot = accounts.create_token(session, desk.amir, NOW, TokenDraft("s", "reviewer", True, 30))
        found = sessions.resolve_token(session, robot.secret, NOW)
        assert found is not None and not access.may_review(found) and not access.may_administer(found)


def test_a_revoked_token_is_nobody_and_others_cannot_revoke_it(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        made = accounts.create_token(session, desk.amir, NOW, TokenDraft("robot", "auditor"))
        assert made.token.id is not None
        assert accounts.tokens(session, desk.rosa) == ()
        with pytest.raises(NotFound):
            accounts.revoke_token(session, desk.rosa, NOW, made.token.id)
        actor = sessions.resolve_token(session, made.secret, NOW)
        assert actor is not None
        assert actor.machine
        assert not actor.is_person
        accounts.revoke_token(session, desk.amir, NOW, made.token.id)
        assert sessions.resolve_token(session, made.secret, NOW) is None


def test_a_password_has_a_sane_length() -> None:
    for password in ("short", "x" * 201):
        with pytest.raises(Invalid, match="cannot be used"):
            PASSWORDS.hash(password)


def test_hashing_waits_its_turn_and_nobody_is_lost() -> None:
    passwords = Passwords(at_once=1)
    hashed = passwords.hash(PASSWORD)
    right: list[bool] = []
    threads = [threading.Thread(target=lambda: right.append(passwords.check(hashed, PASSWORD))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6
    assert not passwords.check(None, PASSWORD)
    assert not passwords.check("", "")
    assert not passwords.check("not a hash", PASSWORD)


def test_a_person_sees_and_ends_their_own_sessions_and_an_administrator_anybodys(desk: Desk) -> None:
    assert desk.tess.user_id is not None
    with transaction(desk.engine) as session:
        here = sessions.sign_in_demo(session, desk.tess.user_id, NOW, 12, True)
        there = sessions.sign_in_demo(session, desk.tess.user_id, NOW + 1, 12, True)
        found = sessions.open_sessions(session, here.actor, NOW + 2, desk.tess.user_id)
        assert [one.mine for one in found] == [False, True]
        for nothing in ("", "%" * 16, "0" * 16, found[0].id[:15]):
            with pytest.raises(NotFound):
                sessions.end_session(session, here.actor, NOW + 2, desk.tess.user_id, nothing)
        for other in (desk.rosa, desk.ada):
            with pytest.raises(Forbidden):
                sessions.end_session(session, other, NOW + 2, desk.tess.user_id, found[0].id)
        sessions.end_session(session, here.actor, NOW + 2, desk.tess.user_id, found[0].id)
        assert sessions.resolve(session, there.secret, NOW + 3) is None
        sessions.end_session(session, desk.amir, NOW + 3, desk.tess.user_id, found[1].id)
        assert sessions.open_sessions(session, desk.amir, NOW + 4, desk.tess.user_id) == ()
