"""`schoolgate lists`: which lists are in force on this node, and whether the shipped ones are sound."""

from __future__ import annotations

from pathlib import Path

import click

from blocklists.base import BadBase, ListKind
from blocklists.seed import BadSeed, load_seed
from deploy.options import fail, settings_from, with_settings
from resolver.policy_store import PolicyStore, Refused


@click.group()
def command() -> None:
    """The blocklists that are in force: show, check."""


@command.command()
@with_settings
@click.option("--services", is_flag=True, help="List the services' bundles too.")
def show(config: Path | None, data: Path | None, services: bool) -> None:
    """List what the node on this machine serves by."""
    state = settings_from(config, data).data / "node"
    try:
        snapshot = PolicyStore(state).load(None)
    except (Refused, BadBase) as error:
        raise fail(str(error)) from None
    if snapshot is None:
        raise fail(f"{state} holds no policy yet: start the node, or name its folder with --data")
    base = snapshot.base
    click.echo(f"version {snapshot.version}, base {base.digest[:16]}…, {base.keys} names")
    for one in base.lists:
        if services or one.kind is ListKind.LIST:
            click.echo(f"{one.category}\t{one.kind}\t{one.id}\t{one.names} names\t{one.title}")


@command.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False)
def check(directory: Path | None) -> None:
    """Check the seed lists (those of DIRECTORY instead of the shipped ones): every mistake, by file and line."""
    try:
        seed = load_seed(directory)
    except BadSeed as error:
        raise fail(str(error)) from None
    found = len(seed.categories), len(seed.services), len(seed.protected)
    click.echo("{} categories, {} services, {} protected names: all sound".format(*found))
