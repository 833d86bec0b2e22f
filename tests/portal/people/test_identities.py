"""Identities of a provider and accounts here: linked by a verified address once, or by the person; unlinked."""

from __future__ import annotations

import pytest

from portal.access import SYSTEM
from portal.config import OidcConfig, ProviderKind
from portal.database import transaction
from portal.errors import Conflict, Forbidden
from portal.models.people import User, WebSession
from portal.oidc.staff import Claimed
from portal.people import accounts, identities, sessions
from portal.people.accounts import UserDraft
from portal.people.identities import NoAccount
from portal.people.sessions import user_actor
from tests.portal.frontdesk import NOW, Desk
from tests.portal.gatehouse import tags

ISSUER = "https://idp.example"
CONFIG = OidcConfig(ProviderKind.GOOGLE, ISSUER, "c", "s", domains=("riverbend.example",))
BY_HAND = OidcConfig(ProviderKind.GOOGLE, ISSUER, "c", "s", domains=("riverbend.example",), link_by_email=False)


def made(desk: Desk, name: str) -> int:
    with transaction(desk.engine) as session:
        draft = UserDraft(f"{name}@riverbend.example", name, ("requester",))
        return accounts.create_user(session, SYSTEM, NOW, draft, "").id or 0


def account(desk: Desk, subject: str, email: str = "", config: OidcConfig = CONFIG) -> User:
    with transaction(desk.engine) as session:
        return identities.account(session, config, NOW, Claimed(ISSUER, subject, email))


def test_the_first_sign_in_finds_its_account_by_the_address_and_later_ones_by_the_subject(desk: Desk) -> None:
    jo, other = made(desk, "jo"), made(desk, "other")
    assert account(desk, "s1", "jo@riverbend.example").id == jo
    assert account(desk, "s1", "other@riverbend.example").id == jo  # the address is nothing any more
    assert account(desk, "s1", "").id == jo
    assert account(desk, "s2", "other@riverbend.example").id == other
    assert tags(desk.engine).count("people.identity.link") == 2


def test_an_address_that_was_given_to_somebody_else_opens_nothing(desk: Desk) -> None:
    jo = made(desk, "jo")
    account(desk, "s1", "jo@riverbend.example")
    with pytest.raises(Forbidden, match="another identity"):
        account(desk, "s2", "jo@riverbend.example")
    with transaction(desk.engine) as session:
        for actor in (desk.tess, desk.rosa, desk.ada):
            with pytest.raises(Forbidden):
                identities.unlink(session, actor, NOW, jo)
        open_one = sessions.begin(session, accounts.get(session, jo), NOW, 12, "session.oidc.begin")
        identities.unlink(session, desk.amir, NOW, jo)
        assert session.get(WebSession, sessions.hash_secret(open_one.secret)) is None
        with pytest.raises(Conflict):
            identities.unlink(session, desk.amir, NOW, jo)
    assert account(desk, "s2", "jo@riverbend.example").id == jo


def test_nobody_gets_an_account_by_authenticating(desk: Desk) -> None:
    for subject, email in (("s1", "student@riverbend.example"), ("s2", "")):
        with pytest.raises(NoAccount):
            account(desk, subject, email)
    with pytest.raises(NoAccount):  # a sample account has no address of anybody's
        account(desk, "s3", "tess.okafor@riverbend.example")


def test_a_disabled_account_stays_shut_and_is_not_linked(desk: Desk) -> None:
    jo = made(desk, "jo")
    with transaction(desk.engine) as session:
        accounts.disable(session, desk.amir, NOW, jo)
    with pytest.raises(Forbidden, match="disabled"):
        account(desk, "s1", "jo@riverbend.example")
    with transaction(desk.engine) as session:
        assert identities.all_of(session, jo) == ()
        accounts.enable(session, desk.amir, NOW, jo)
    account(desk, "s1", "jo@riverbend.example")
    with transaction(desk.engine) as session:
        accounts.disable(session, desk.amir, NOW, jo)
    with pytest.raises(Forbidden, match="disabled"):
        account(desk, "s1")


def test_where_addresses_do_not_count_people_link_their_own_account(desk: Desk) -> None:
    jo, other = made(desk, "jo"), made(desk, "other")
    with pytest.raises(NoAccount):
        account(desk, "s1", "jo@riverbend.example", BY_HAND)
    with transaction(desk.engine) as session:
        mine, theirs = (user_actor(accounts.get(session, one)) for one in (jo, other))
        identities.link(session, mine, NOW, Claimed(ISSUER, "s1", ""))
        identities.link(session, mine, NOW, Claimed(ISSUER, "s1", ""))  # again is nothing new
        with pytest.raises(Conflict, match="another account"):
            identities.link(session, theirs, NOW, Claimed(ISSUER, "s1", ""))
        with pytest.raises(Forbidden, match="another identity"):
            identities.link(session, mine, NOW, Claimed(ISSUER, "s2", ""))
        with pytest.raises(Forbidden):
            identities.link(session, SYSTEM, NOW, Claimed(ISSUER, "s3", ""))
    assert account(desk, "s1", "", BY_HAND).id == jo
