"""`schoolgate backup`: the whole portal in one file, made while it runs."""

from __future__ import annotations

import time
from pathlib import Path

import click

from deploy.options import fail, passphrase, settings_from, with_passphrase, with_settings
from deploy.settings import portal_config


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_passphrase
@with_settings
def command(config: Path | None, data: Path | None, file: Path, passphrase_file: Path | None) -> None:
    """Write the portal to FILE, while it runs. The keys go in only when sealed with a passphrase."""
    from sqlalchemy.exc import SQLAlchemyError

    from portal.database import connect
    from portal.upkeep import backup as portal_backup

    told = portal_config(settings_from(config, data))
    if told.database.startswith("sqlite:") and not (told.data / "portal.sqlite").exists():
        raise fail(f"{told.data} holds no portal: name its folder with --data")
    engine = connect(told.database)
    try:
        done = portal_backup.write(engine, told.data, file, passphrase(passphrase_file), time.time())
    except OSError as error:
        raise fail(f"{file} cannot be written: {error.strerror or error}") from None
    except SQLAlchemyError as error:
        raise fail(f"the database cannot be read: {getattr(error, 'orig', None) or error}") from None
    finally:
        engine.dispose()
    version = "no policy yet" if done.version is None else f"policy version {done.version}"
    click.echo(f"{file}: {sum(done.rows.values())} rows of {done.district}, {version}.")
    if not done.keys:
        click.echo(
            f"The keys are not in it: keep {told.data / 'keys'} elsewhere, or give --passphrase-file. A portal restored"
            " without them cannot sign for its nodes."
        )
