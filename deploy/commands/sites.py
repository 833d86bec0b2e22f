"""`schoolgate sites`: sites and groups from a CSV file, and which group an address is in."""

from __future__ import annotations

import time
from pathlib import Path

import click

from blocklists.clients import ClientTable, parse_address
from deploy.options import fail, with_settings
from deploy.portal_access import portal_session
from portal.access import SYSTEM
from portal.places import district, site_import


@click.group()
def command() -> None:
    """Sites and groups: import, whose."""


@command.command(name="import")
@with_settings
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def import_(config: Path | None, data: Path | None, file: Path, dry_run: bool) -> None:
    """Import FILE: a CSV with the columns site, name, level, audience, networks. New groups are observed first."""
    try:
        text = site_import.decoded(file.read_bytes())
    except OSError as error:
        raise fail(f"{file}: {error}") from None
    with portal_session(config, data) as (session, _):
        work = site_import.dry_run if dry_run else site_import.run
        report = work(session, SYSTEM, time.time(), text)
    for line in report.changes:
        click.echo(f"{line.where}\t{line.what}\t{line.before} -> {line.after}")
    for sentence in report.overlaps:
        click.echo(f"overlap: {sentence}")
    for sentence in report.gaps:
        click.echo(f"gap: {sentence}")
    done = "would change" if dry_run else "changed"
    click.echo(f"{report.sites} sites and {report.groups} groups in the file; {len(report.changes)} things {done}")


@command.command()
@with_settings
@click.argument("address")
@click.option("--asked", help="The address of ours that the device asks.")
def whose(config: Path | None, data: Path | None, address: str, asked: str | None) -> None:
    """Which group ADDRESS is in, and why."""
    try:
        client, ours = parse_address(address), None if asked is None else parse_address(asked)
    except ValueError as error:
        raise fail(f"{error}; write it like 10.20.1.7 or 2001:db8::7") from None
    with portal_session(config, data) as (session, _):
        found = ClientTable(view.group for view in district.groups(session)).find(client, ours)
    click.echo(f"{found.group}\tby {found.by}" if found.by else f"{found.group}\tno group claims it")
