"""`schoolgate user`: accounts, from the command line of the portal's machine. The first administrator is made here."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

import click

from deploy.options import fail, with_settings
from deploy.portal_access import portal_session
from portal.access import SYSTEM
from portal.models.words import Role
from portal.people import accounts, roster, second_factor
from portal.people.passwords import Passwords

_password_file = click.option(
    "--password-file",
    type=click.File("r"),
    help="Read the password from this file (- for standard input) instead of asking.",
)


@click.group()
def command() -> None:
    """People: create, reset, disable, import."""


@command.command()
@with_settings
@click.argument("email")
@click.option("--name", required=True, help="As pages show it.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    default=["requester"],
    show_default=True,
    help="May be given several times.",
)
@click.option("--site", help="The id of the person's own site.")
@_password_file
def create(
    config: Path | None,
    data: Path | None,
    email: str,
    name: str,
    roles: tuple[str, ...],
    site: str | None,
    password_file: TextIO | None,
) -> None:
    """Make an account for EMAIL."""
    hashed = Passwords().hash(_password(password_file))
    with portal_session(config, data) as (session, _):
        user = accounts.create_user(session, SYSTEM, time.time(), accounts.UserDraft(email, name, roles, site), hashed)
        said = f"{user.email} ({', '.join(user.roles)}) can sign in"
    click.echo(said)


@command.command()
@with_settings
@click.argument("email")
@click.option("--one-time-codes", is_flag=True, help="Forget the authenticator instead; the password stays.")
@_password_file
def reset(
    config: Path | None, data: Path | None, email: str, one_time_codes: bool, password_file: TextIO | None
) -> None:
    """Set a new password for EMAIL, or forget a lost authenticator, and end that person's sessions."""
    if one_time_codes:
        with portal_session(config, data) as (session, _):
            second_factor.reset(session, SYSTEM, time.time(), accounts.by_email(session, email).id or 0)
        click.echo(f"{email} signs in without a one-time code, or sets up a new one; open sessions were ended")
        return
    hashed = Passwords().hash(_password(password_file))
    with portal_session(config, data) as (session, _):
        user = accounts.by_email(session, email)
        assert user.id is not None
        accounts.reset_password(session, SYSTEM, time.time(), user.id, hashed)
    click.echo(f"{email} has a new password; open sessions were ended")


@command.command()
@with_settings
@click.argument("email")
def disable(config: Path | None, data: Path | None, email: str) -> None:
    """End EMAIL's sessions and tokens and refuse further sign-ins."""
    with portal_session(config, data) as (session, _):
        user = accounts.by_email(session, email)
        assert user.id is not None
        accounts.disable(session, SYSTEM, time.time(), user.id)
    click.echo(f"{email} is disabled")


@command.command(name="import")
@with_settings
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--apply", "apply_", is_flag=True, help="Import it. Without this, only say what would change.")
def import_(config: Path | None, data: Path | None, file: Path, apply_: bool) -> None:
    """Import employees from FILE, a OneRoster 1.1 or 1.2 CSV export (a zip or a folder). Students are left out."""
    with portal_session(config, data) as (session, _):
        work = roster.run if apply_ else roster.dry_run
        report = work(session, SYSTEM, time.time(), roster.read_files(file))
    for line in report.lines:
        click.echo(f"{line.what}\t{line.name}\t{line.email}\t{line.site or '-'}")
    for org in report.unknown_orgs:
        click.echo(f"no site is named like {org}")
    done = "changed" if apply_ else "would change; give --apply to import"
    click.echo(f"{report.staff} employees, {report.left_out} others left out; {len(report.lines)} accounts {done}")


def _password(file: TextIO | None) -> str:
    if file is not None:
        password = str(file.readline()).rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        raise fail("there is no terminal to ask for the password: give --password-file FILE (- for standard input)")
    return password
