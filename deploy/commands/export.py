"""`schoolgate export`: take the district's evidence out of the portal."""

from __future__ import annotations

import json
from pathlib import Path

import click
from sqlmodel import col, select

from blocklists.policy_codec import load
from deploy.options import fail, with_settings
from deploy.portal_access import portal_session
from portal import audit
from portal.models.audit import AuditEvent
from portal.publication import newest_version


@click.group()
def command() -> None:
    """Take things out: audit."""


@command.command(name="audit")
@with_settings
@click.option("--verify", is_flag=True, help="Check the chain instead of printing it; status 1 when it is broken.")
def audit_(config: Path | None, data: Path | None, verify: bool) -> None:
    """Print the audit trail as JSON lines, or verify its chain of hashes."""
    with portal_session(config, data) as (session, _):
        if not verify:
            for event in session.exec(select(AuditEvent).order_by(col(AuditEvent.id))):
                click.echo(json.dumps(event.model_dump(), ensure_ascii=False))
            return
        newest = newest_version(session)
        result = audit.verify(session, None if newest is None else load(newest.body).audit_head)
    if not result.sound:
        raise fail("the audit chain is broken:\n" + "\n".join(f"  {one.what}" for one in result.problems))
    click.echo(f"{result.count} events, chain whole, head {result.head}")
