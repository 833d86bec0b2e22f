"""`schoolgate restore`: a backup back on an empty machine, held until an administrator has looked."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.options import fail, passphrase, settings_from, with_passphrase, with_settings
from deploy.settings import portal_config


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_passphrase
@with_settings
def command(config: Path | None, data: Path | None, file: Path, passphrase_file: Path | None) -> None:
    """Restore FILE into an empty data folder. The portal is then held until an administrator has looked."""
    from sqlalchemy.exc import SQLAlchemyError

    from portal.upkeep import backup as portal_backup

    told = portal_config(settings_from(config, data))
    try:
        done = portal_backup.read(file, told.data, told.database, passphrase(passphrase_file))
    except portal_backup.BadBackup as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or told.data}: {error.strerror or error}") from None
    except SQLAlchemyError as error:
        raise fail(f"the database cannot be filled: {getattr(error, 'orig', None) or error}") from None
    click.echo(f"{sum(done.rows.values())} rows of {done.district} are in {told.data}.")
    if not done.keys:
        click.echo(
            f"The backup holds no keys: put the old ones into {told.data / 'keys'} (mode 0600) before it starts."
        )
    click.echo("Start the portal. It is held: sign in as an administrator, and look at what differs under /restored.")
