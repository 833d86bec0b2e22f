"""The portal's database, for commands that work on it beside a running portal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from blocklists.update import Job
from deploy.options import fail, settings_from
from deploy.settings import portal_config
from portal import migrations
from portal.config import PortalConfig
from portal.database import connect, reading, transaction
from portal.errors import Refused
from portal.lists.bases import Bases, shipped_seed
from portal.lists.listjob import ListJob
from portal.plight import plight


@contextmanager
def portal_session(config: Path | None, data: Path | None) -> Iterator[tuple[Session, PortalConfig]]:
    """Yield one transaction on the portal's database, migrated; what a service refuses ends the command."""
    told = portal_config(settings_from(config, data))
    if told.database.startswith("sqlite:") and not (told.data / "portal.sqlite").exists():
        raise fail(f"{told.data} holds no portal yet: start it once with `schoolgate portal`, or name it with --data")
    engine = connect(told.database)
    try:
        migrations.upgrade(engine)
        with transaction(engine) as session:
            yield session, told
    except Refused as error:
        lines = [error.detail, *(f"  {one.field}: {one.message}" for one in error.errors)]
        raise fail("\n".join(lines)) from None
    except OperationalError as error:
        raise fail(f"nothing was changed: {plight(engine.url, error)}") from None
    finally:
        engine.dispose()


@contextmanager
def portal_job(config: Path | None, data: Path | None) -> Iterator[tuple[Job, ListJob]]:
    """Yield what a build of the lists as they are now would be, and who carries one out."""
    with portal_session(config, data) as (_, told):
        pass  # there is a portal, and its tables are up to date
    engine = connect(told.database)
    try:
        files = Bases(told.data, engine)
        folder = told.data / "lists"
        runner = ListJob(engine, files, folder, shipped_seed(), time.time, lambda: None, private=told.private_lists)
        with reading(engine) as session:
            job = runner.job(session, time.time(), (), build=True)
        yield job, runner
    finally:
        engine.dispose()
