"""`schoolgate resolver`: a node. Needs an identity (`schoolgate node enroll`) and then runs without the portal too."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from deploy.options import fail, settings_again, settings_from, with_settings
from deploy.settings import resolver_config


@click.command()
@with_settings
def command(config: Path | None, data: Path | None) -> None:
    """Run this machine's node until it is told to stop."""
    from resolver.processes import worker
    from resolver.processes.supervisor import CannotStart, run

    told = resolver_config(settings_from(config, data))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        status = run(told, worker.run, read=lambda: resolver_config(settings_again(config, data)))
    except CannotStart as error:
        raise fail(str(error)) from None
    sys.exit(status)
