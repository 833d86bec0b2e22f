"""`schoolgate exceptions`: an old allowlist becomes one operational exception, after a dry run."""

from __future__ import annotations

import time
from datetime import date, timedelta
from pathlib import Path

import click
from sqlmodel import select

from deploy.options import fail, with_settings
from deploy.portal_access import portal_session
from portal.doors import exceptions
from portal.doors.exceptions import ExceptionDraft
from portal.lists.bases import Bases
from portal.models.people import User
from portal.people.sessions import user_actor
from portal.verdicts.current import Current
from portal.verdicts.explain import SnapshotCatalogue


@click.group()
def command() -> None:
    """Operational exceptions: import an old allowlist."""


@command.command(name="import")
@with_settings
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--by", required=True, help="E-mail address of the administrator who answers for it.")
@click.option("--reason", required=True, help="Why these names are open without a request.")
@click.option("--review", default="", help="Review date, like 2026-03-04; else in 90 days.")
@click.option("--site", "sites", multiple=True, default=("*",), help="A site's id, repeatable; else every site.")
@click.option("--audience", "audiences", multiple=True, default=("staff",), help="Repeatable; else staff.")
@click.option("--dry-run", is_flag=True, help="Say what would be opened, and open nothing.")
def import_(
    config: Path | None,
    data: Path | None,
    file: Path,
    by: str,
    reason: str,
    review: str,
    sites: tuple[str, ...],
    audiences: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Open the names in FILE (one on a line, # begins a comment) as one operational exception."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{file}: {error}") from None
    draft = ExceptionDraft(
        "imported", (), sites, audiences, reason, review or (date.today() + timedelta(days=90)).isoformat()
    )
    with portal_session(config, data) as (session, told):
        current = Current(Bases(told.data))
        current.refresh(session)
        catalogue = SnapshotCatalogue(current)
        found = exceptions.read_allowlist(text, catalogue)
        for one in found.refused:
            click.echo(f"line {one.line}: {one.text}: {one.why}")
        if dry_run:
            click.echo(f"{len(found.names)} names would be opened")
            return
        person = session.exec(select(User).where(User.email == by.strip().lower())).first()
        if person is None:
            raise fail(f"there is no account {by}")
        view = exceptions.import_allowlist(session, user_actor(person), time.time(), text, draft, catalogue)
    click.echo(f"{len(found.names)} names opened by grant {view.id}, to be reviewed on {view.review_on}")
