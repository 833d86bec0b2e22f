"""`schoolgate token`: bearer tokens for the API. A machine token reads and reports; it never decides a request."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from deploy.options import with_settings
from deploy.portal_access import portal_session
from portal.access import SYSTEM
from portal.models.words import Role, Scope
from portal.people import accounts


@click.group()
def command() -> None:
    """API tokens: create, list, revoke."""


@command.command()
@with_settings
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--name", required=True, help="What it is for.")
@click.option("--scope", type=click.Choice([scope.value for scope in Scope]), default="change", show_default=True)
@click.option("--days", type=click.IntRange(1, 366), default=365, show_default=True, help="Until it expires.")
def create(config: Path | None, data: Path | None, role: str, name: str, scope: str, days: int) -> None:
    """Make a machine token and print it, once."""
    with portal_session(config, data) as (session, _):
        draft = accounts.TokenDraft(name, role, days=days, scope=scope)
        made = accounts.create_token(session, SYSTEM, time.time(), draft)
        secret = made.secret
    click.echo(secret)


@command.command(name="list")
@with_settings
def show(config: Path | None, data: Path | None) -> None:
    """List the tokens, without their secrets."""
    with portal_session(config, data) as (session, _):
        for token in accounts.tokens(session, SYSTEM):
            state = "revoked" if token.revoked_at else f"until {_date(token.expires_at)}"
            owner = "machine" if token.owner_id is None else f"user {token.owner_id}"
            used = f"last used {_date(token.last_used_at)}" if token.last_used_at else "never used"
            click.echo(f"{token.id}\t{token.name}\t{token.role}\t{token.scope}\t{owner}\t{state}\t{used}")


@command.command()
@with_settings
@click.argument("number", type=int)
def revoke(config: Path | None, data: Path | None, number: int) -> None:
    """Make token NUMBER (from `token list`) worthless at once."""
    with portal_session(config, data) as (session, _):
        accounts.revoke_token(session, SYSTEM, time.time(), number)
    click.echo(f"token {number} is revoked")


def _date(moment: int | None) -> str:
    return "for ever" if moment is None else datetime.fromtimestamp(moment, UTC).date().isoformat()
