"""`schoolgate export`: take the district's evidence out of the portal."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import click
from sqlmodel import col, select

from blocklists.base import BadBase
from blocklists.policy_codec import load
from blocklists.snapshot import BadSnapshot, Snapshot, open_snapshot
from deploy import rpz_files
from deploy.options import fail, with_settings
from deploy.portal_access import portal_session
from portal import audit
from portal.database import connect, reading
from portal.lists.bases import Bases
from portal.models.audit import AuditEvent
from portal.nodes.publication import newest_version


@click.group()
def command() -> None:
    """Take things out: audit, rpz."""


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


@command.command()
@with_settings
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--group", "groups", multiple=True, help="A client group whose policy is wanted; may be repeated.")
@click.option("--watch", is_flag=True, help="Go on: write anew after each publication and when a window opens or ends.")
@click.option("--reload", "told", default="", help="Run this with the changed zones' names, e.g. 'knotc zone-reload'.")
def rpz(config: Path | None, data: Path | None, folder: Path, groups: tuple[str, ...], watch: bool, told: str) -> None:
    """Write the policy to FOLDER as response policy zones: an allow and a block zone for each effective policy."""
    with portal_session(config, data) as (_, where):
        pass  # there is a portal, and its tables are up to date
    engine = connect(where.database)
    bases = Bases(where.data, engine)

    def newest(version: int) -> Snapshot | None:
        with reading(engine) as session:
            found = newest_version(session)
            if found is None or found.version <= version:
                return None
            body, base = found.body, found.base
        return open_snapshot(body, bases.open(base))

    files = rpz_files.ZoneFiles(folder, groups)
    reload = shlex.split(told)
    try:
        if watch:
            rpz_files.watch(files, newest, reload)
        snapshot = newest(0)
        if snapshot is None:
            raise fail("no policy has been published yet: start the portal once")
        changed, _ = files.write(snapshot, time.time())
        for note in rpz_files.notes(snapshot):
            click.echo(note, err=True)
        click.echo(f"version {snapshot.version}: {', '.join(changed) or 'nothing changed'}")
        if changed and not rpz_files.tell(reload, changed):
            raise fail("the files are written; the name server was not told")
    except KeyboardInterrupt:
        return
    except (rpz_files.UnknownGroup, BadSnapshot, BadBase, OSError) as error:
        raise fail(str(error)) from None
    finally:
        engine.dispose()
