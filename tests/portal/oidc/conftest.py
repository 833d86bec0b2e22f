"""A real district's portal that signs in at a provider of our own: made once for the tests of this folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import httpx
import pytest
from sqlmodel import select

from portal.access import SYSTEM
from portal.config import OidcConfig, ProviderKind
from portal.database import reading, transaction
from portal.models.audit import AuditEvent
from portal.models.people import ExternalIdentity, User
from portal.oidc.fetching import Fetcher
from portal.oidc.provider import Provider
from portal.people import accounts, sessions
from portal.people.accounts import UserDraft
from tests.portal.gatehouse import Served, config_in, founded, free_port, serving
from tests.portal.oidc.idp import CLIENT, SECRET, Idp, running
from tests.portal.pages.gate import Browser

DOMAIN = "riverbend.example"
PATIENT = Fetcher(loopback=True, seconds=60)  # machines are slow and busy


@dataclass
class House:
    """The portal, the provider, and who has an account."""

    served: Served
    idp: Idp

    def account(self, name: str, *roles: str, password: str = "") -> int:
        """A new account, NAME@riverbend.example; return its number."""
        hashed = self.served.wired.passwords.hash(password) if password else ""
        with transaction(self.served.wired.engine) as session:
            draft = UserDraft(f"{name}@{DOMAIN}", name.title(), roles or ("requester",))
            return accounts.create_user(session, SYSTEM, time.time(), draft, hashed).id or 0

    def is_(self, name: str, subject: str = "") -> None:
        """Who is signed in at the provider."""
        self.idp.person = google(f"{name}@{DOMAIN}", subject or f"subject of {name}")

    def identities(self, number: int) -> list[str]:
        with reading(self.served.wired.engine) as session:
            mine = select(ExternalIdentity.subject).where(ExternalIdentity.user_id == number)
            return list(session.exec(mine))

    def tags(self, number: int) -> list[str]:
        """The audit's words about an account."""
        with reading(self.served.wired.engine) as session:
            mine = select(AuditEvent.tag).where(AuditEvent.subject == f"user:{number}").order_by(AuditEvent.id)  # type: ignore[arg-type]
            return list(session.exec(mine))

    def signed_in(self, browser: Browser) -> User | None:
        secret = browser.client.cookies.get(sessions.COOKIE)
        with reading(self.served.wired.engine) as session:
            found = sessions.resolve(session, secret, time.time()) if secret else None
            return None if found is None else session.get(User, found.actor.user_id)


def google(email: str, subject: str) -> dict[str, object]:
    return {"sub": subject, "email": email, "email_verified": True, "hd": DOMAIN}


def oidc(idp: Idp, **changes: object) -> OidcConfig:
    made = OidcConfig(ProviderKind.GOOGLE, idp.url, CLIENT, SECRET, domains=(DOMAIN,))
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running() as idp:
        config = replace(config_in(tmp_path_factory.mktemp("oidc"), free_port()), oidc=oidc(idp))
        engine = founded(config)
        with serving(config, engine) as served:
            served.app.state.deps = replace(served.wired, provider=Provider(oidc(idp), PATIENT))
            yield House(served, idp)
        engine.dispose()


@pytest.fixture(autouse=True)
def honest(request: pytest.FixtureRequest) -> None:
    """Every test begins with an honest provider."""
    if "house" in request.fixturenames:
        request.getfixturevalue("house").idp.honest()


@pytest.fixture
def visitor(house: House) -> Iterator[Callable[[], Browser]]:
    with ExitStack() as clients:

        def come() -> Browser:
            client = httpx.Client(base_url=house.served.url, follow_redirects=True, timeout=30, verify=False)
            return Browser(clients.enter_context(client))

        yield come
