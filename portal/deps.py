"""What the web routes and the jobs of one portal are given: one frozen value in `app.state.deps`, no globals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from portal.catalogue import Catalogue
from portal.config import PortalConfig
from portal.people.passwords import Passwords
from portal.people.sessions import Throttle


@dataclass(frozen=True, slots=True)
class Deps:
    engine: Engine
    config: PortalConfig
    clock: Callable[[], float]  # seconds since 1970
    passwords: Passwords
    throttle: Throttle
    catalogue: Catalogue
    wake: Callable[[], None]  # after a commit: there may be a publication to make
