"""`schoolgate cache`: the cache of the live node on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from blocklists import names
from deploy.options import fail, settings_from, with_settings
from resolver.processes.control import ControlFailed, NotRunning, ask


@click.group()
def command() -> None:
    """The cache of a live node: flush."""


@command.command()
@with_settings
@click.argument("name")
@click.option("--subtree", is_flag=True, help="Everything below the name too.")
def flush(config: Path | None, data: Path | None, name: str, subtree: bool) -> None:
    """Forget what upstream said of NAME."""
    try:
        name = names.normalise(name)
    except names.BadName as error:
        raise fail(f"{error.text}: {error.reason}") from None
    state = settings_from(config, data).data / "node"
    try:
        ask(state, {"do": "flush", "name": name, "subtree": subtree})
    except (NotRunning, ControlFailed) as error:
        raise fail(str(error)) from None
    click.echo(f"every worker forgets {name}{' and what is below it' if subtree else ''}")
