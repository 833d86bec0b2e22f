"""Sign-in at the district's identity provider: away, and back.

The button is a link, not a form: a form may not lead elsewhere (`form-action 'self'`). The way back is a GET from
elsewhere; it counts by the state in the browser's sealed cookie. Who is refused is told so in kind words, students
above all; the log has the check that failed, never who it was.
"""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import RedirectResponse, Response

from portal.database import transaction
from portal.errors import NotFound, Refused, TooMany
from portal.oidc import flow
from portal.oidc.fetching import ProviderTrouble
from portal.oidc.flow import Back, Cancelled, Lost
from portal.oidc.id_token import BadToken
from portal.oidc.provider import CodeRefused, Provider
from portal.oidc.staff import NotStaff
from portal.pages import web
from portal.pages.forms import Form
from portal.pages.sign_in import enter, page
from portal.pages.web import AnyVisit, Visit, go
from portal.people import identities, signing_in
from portal.people.identities import NoAccount

log = logging.getLogger(__name__)
router = APIRouter()


@router.get("/sign-in/oidc")
def away(visit: AnyVisit, next: Annotated[str, Query(max_length=2_000)] = "/") -> Response:
    """To the provider."""
    provider = provider_of(visit)
    address = visit.request.client.host if visit.request.client else ""
    known = web.known_browser(visit)
    if (wait := visit.wired.arrivals.wait(address if known is None else known.place, visit.now)) > 0:
        raise TooMany(f"Many sign-ins begin from your network just now. Try again in {wait} seconds.")
    try:
        begun = flow.begin(provider, visit.wired.sealer, return_address(visit), web.safe_next(next), visit.now)
    except ProviderTrouble as error:
        return _trouble(visit, provider, error, next)
    response = RedirectResponse(begun.url, 303)
    web.set_cookie(response, visit.wired, flow.COOKIE, begun.cookie, flow.SECONDS)
    return response


@router.get("/sign-in/oidc/callback")
def back(visit: AnyVisit) -> Response:
    """From the provider. The cookie of the way is over, whatever comes of it."""
    response = _back(visit, provider_of(visit))
    response.delete_cookie(flow.COOKIE, path="/")
    return response


def _back(visit: Visit, provider: Provider) -> Response:
    wired, cookie = visit.wired, visit.request.cookies.get(flow.COOKIE, "")
    known = flow.opened(wired.sealer, cookie, visit.now)
    wanted = "/" if known is None else known.next
    came = dict(visit.request.query_params)
    name = identities.name_of(provider.config)
    try:
        found = flow.finish(wired.engine, provider, wired.sealer, return_address(visit), cookie, came, visit.now)
        if found.away.link:
            return _linked(visit, found)
        with transaction(wired.engine) as session:
            user = identities.account(session, provider.config, visit.now, found.who)
            entered = signing_in.enter(session, user, visit.now, wired.config.session_hours, "session.oidc.begin")
        return enter(visit, entered, wanted)
    except ProviderTrouble as error:
        return _trouble(visit, provider, error, wanted)
    except (Lost, CodeRefused) as error:
        log.info("sign-in: %s", type(error).__name__)
        return _again(visit, "This sign-in took too long, or was finished already. Begin again.", wanted, 403)
    except Cancelled:
        return _again(visit, f"You did not sign in with {name}.", wanted, 403)
    except BadToken as error:
        log.warning("sign-in: what %s sent was refused: %s", name, error)
        return _again(
            visit, f"What {name} sent cannot be believed, and was refused. Tell an administrator.", wanted, 403
        )
    except (NotStaff, NoAccount) as error:
        log.info("sign-in: no employee's account: %s", error if isinstance(error, NotStaff) else "none")
        return _refused(visit, provider, by_hand=isinstance(error, NoAccount))
    except Refused as error:
        log.info("sign-in: refused: %s", error.detail)
        with visit.reading() as session:
            return visit.page(
                session,
                "sign_in_refused.html",
                error.status,
                title="You are not signed in",
                student=False,
                detail=error.detail,
            )


def _linked(visit: Visit, found: Back) -> Response:
    """Only the browser session that began it may end it: the cookie alone links nothing."""
    actor = None if visit.signed_in is None else visit.signed_in.actor
    if actor is None or actor.user_id != found.away.link:
        raise Lost
    with visit.writing() as session:
        identities.link(session, actor, visit.now, found.who)
    return go("/account")


def _again(visit: Visit, sentence: str, wanted: str, status: int) -> Response:
    with visit.reading() as session:
        return page(visit, session, Form(), wanted, status, sentence)


def _trouble(visit: Visit, provider: Provider, error: ProviderTrouble, wanted: str) -> Response:
    log.warning("sign-in: %s", error)
    name = identities.name_of(provider.config)
    return _again(visit, f"{name} does not answer as it should. Try again, or use a password.", wanted, 503)


def _refused(visit: Visit, provider: Provider, by_hand: bool) -> Response:
    with visit.reading() as session:
        return visit.page(
            session,
            "sign_in_refused.html",
            403,
            title="No account here",
            student=True,
            provider=identities.name_of(provider.config),
            by_hand=by_hand and not provider.config.link_by_email,
        )


def provider_of(visit: Visit) -> Provider:
    """Raises `NotFound` when this portal has none."""
    if visit.wired.provider is None:
        raise NotFound("This portal is signed in to with a password.")
    return visit.wired.provider


def return_address(visit: Visit) -> str:
    return f"{visit.wired.config.url}{flow.CALLBACK}"
