"""`schoolgate keys`: the portal's signing key, and its successors."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from deploy.options import fail, with_settings
from deploy.portal_access import portal_session
from portal.access import SYSTEM
from portal.nodes import succession
from portal.nodes.keys import BadKey, Keyring, new_key


@click.group()
def command() -> None:
    """The signing key: show, rotate."""


@command.command()
@with_settings
def show(config: Path | None, data: Path | None) -> None:
    """Print the fingerprint of the key that signs now, and those before it."""
    with portal_session(config, data) as (session, told):
        try:
            keys = Keyring(told.data)
            first = keys.current.fingerprint
            keys.follow(succession.newest_key(session))
        except BadKey as error:
            raise fail(str(error)) from None
        chain = succession.chain(session)
    click.echo(f"{keys.current.fingerprint}  signs now")
    if chain:
        click.echo(f"{first}  the first one")
    for one in chain:
        until = datetime.fromtimestamp(one.old_until, UTC)
        click.echo(f"  {datetime.fromtimestamp(one.at, UTC):%Y-%m-%d}: a new key; the one before ends {until:%Y-%m-%d}")


@command.command()
@click.option(
    "--grace-days",
    type=click.IntRange(0, 365),
    default=succession.GRACE_DAYS,
    show_default=True,
    help="How long nodes accept the old key too; 0 when it may have been read by somebody.",
)
@with_settings
def rotate(config: Path | None, data: Path | None, grace_days: int) -> None:
    """Make a new signing key, named by the old one; the running portal goes over to it within a second."""
    with portal_session(config, data) as (session, told):
        try:
            keys = Keyring(told.data)
            keys.follow(succession.newest_key(session))
            made = new_key(told.data)
        except BadKey as error:
            raise fail(str(error)) from None
        except OSError as error:
            raise fail(f"{told.data / 'keys'}: {error.strerror or error}") from None
        succession.rotate(session, SYSTEM, time.time(), keys.current, made, grace_days)
    click.echo(f"The portal signs with {made.fingerprint} from now on; nodes learn it from the old key's signature.")
    click.echo(f"Back up {told.data / 'keys'}, and copy the new file to every other portal of this database.")
