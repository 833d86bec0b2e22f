"""What one portal is made of: the services' `Deps`, and what publishes and delivers. One value, in `app.state.deps`."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from portal.deps import Deps
from portal.lists.bases import Bases
from portal.lists.listjob import ListJob
from portal.nodes.keys import Keyring
from portal.nodes.live import Live
from portal.nodes.parcels import Parcels
from portal.nodes.receipts import Receipts
from portal.oidc.provider import Provider
from portal.people.sessions import Throttle
from portal.sealing import Sealer
from portal.upkeep.alertjob import AlertJob
from portal.upkeep.jobs import Jobs
from portal.verdicts.current import Current
from portal.verdicts.explain import LookUp
from portal.verdicts.why import Pace


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
    look_up: LookUp  # what upstream says, for `explain`


def wiring(request: Request) -> Wiring:
    """As a route's dependency: the portal that this request came to."""
    found = request.app.state.deps
    assert isinstance(found, Wiring)
    return found
