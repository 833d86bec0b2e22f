"""What one portal is made of: the services' `Deps`, and what publishes and delivers. One value, in `app.state.deps`."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from portal.alertjob import AlertJob
from portal.bases import Bases
from portal.current import Current
from portal.deps import Deps
from portal.jobs import Jobs
from portal.keys import Keyring
from portal.listjob import ListJob
from portal.live import Live
from portal.oidc.provider import Provider
from portal.parcels import Parcels
from portal.receipts import Receipts
from portal.sealing import Sealer
from portal.sessions import Throttle
from portal.why import Pace


@dataclass(frozen=True, slots=True)
class Wiring(Deps):
    keys: Keyring
    sealer: Sealer
    codes: Throttle  # of one-time codes; few guesses a day: only who has the first factor gets to make them
    bases: Bases
    live: Live
    current: Current
    jobs: Jobs
    list_job: ListJob
    alert_job: AlertJob
    pace: Pace
    parcels: Parcels
    receipts: Receipts
    arrivals: Pace  # how many sign-ins an address begins
    provider: Provider | None  # of identities; None: passwords only


def wiring(request: Request) -> Wiring:
    """As a route's dependency: the portal that this request came to."""
    found = request.app.state.deps
    assert isinstance(found, Wiring)
    return found
