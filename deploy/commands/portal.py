"""`schoolgate portal`: the web pages, the API and the jobs, over one database."""

from __future__ import annotations

import gc
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import click

from deploy.oidc import BadSecretFile, oidc_config
from deploy.options import fail, settings_from, with_settings
from deploy.settings import portal_config, resolver_config


@click.command()
@with_settings
@click.option("--demo", is_flag=True, help="Sample district and accounts that sign in with one click; loopback only.")
@click.option(
    "--issue-token",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a one-time token to this file, for a node on the same machine to enrol with.",
)
def command(config: Path | None, data: Path | None, demo: bool, issue_token: Path | None) -> None:
    """Run the portal until it is told to stop."""
    import uvicorn
    from alembic.util import CommandError
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from blocklists.seed import BadSeed
    from deploy.lookup import LookUp
    from portal.app import create_app, prepare
    from portal.database import DatabaseInUse, sole_portal
    from portal.errors import Refused
    from portal.nodes.keys import BadKey
    from portal.plight import plight
    from portal.upkeep.mail import BadMail

    settings = settings_from(config, data)
    told = portal_config(settings, demo)
    try:
        told = replace(told, oidc=oidc_config(settings.portal.oidc, told.url))
    except BadSecretFile as error:
        raise fail(str(error)) from None
    if demo and told.address not in ("127.0.0.1", "::1"):
        raise fail("--demo has accounts without passwords: it runs on a loopback address only")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        told.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with sole_portal(told.database):
            engine = prepare(told)
            if issue_token is not None:
                _issue_token(told.data, engine, issue_token, settings.resolver.name)
            server = uvicorn.Server(
                uvicorn.Config(
                    create_app(told, engine, look_up=LookUp(resolver_config(settings))),
                    host=told.address,
                    port=told.port,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    timeout_graceful_shutdown=5,
                )
            )
            gc.collect()
            gc.freeze()  # what was loaded stays: a collection in the middle of a publication does not walk through it
            server.run()
            engine.dispose()
    except (BadKey, BadMail, BadSeed, DatabaseInUse, Refused) as error:
        raise fail(str(error)) from None
    except CommandError as error:
        raise fail(f"the database's tables cannot be brought up to date: {error}") from None
    except (SQLAlchemyError, OSError) as error:
        raise fail(f"the portal cannot start: {plight(make_url(told.database), error)}") from None
    if not server.started:
        raise fail(f"the web server could not listen on {told.address} port {told.port}")


def _issue_token(data: Path, engine: object, path: Path, replaces: str) -> None:
    """Write a token that enrols a node on this machine; an earlier node of the same name gives way to it."""
    from sqlalchemy import Engine

    from portal.access import SYSTEM
    from portal.database import transaction
    from portal.nodes.enrolment import create_enrolment_token
    from portal.nodes.keys import Keyring
    from portal.nodes.succession import newest_key

    assert isinstance(engine, Engine)
    keys = Keyring(data)
    with transaction(engine) as session:
        keys.follow(newest_key(session))
        token = create_enrolment_token(
            session, SYSTEM, time.time(), keys.current.fingerprint, replaces=replaces or None
        )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
