"""`schoolgate lists`: fetch and build, try that without publishing, show what is in force, import a file."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from blocklists.base import BadBase, ListKind
from blocklists.seed import BadSeed, load_seed
from deploy.options import fail, settings_from, with_settings
from resolver.delivery.policy_store import PolicyStore, Refused

PATIENCE = 3600.0  # seconds that a running portal may take


@click.group()
def command() -> None:
    """The blocklists: update, check, show, import."""


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
@with_settings
def update(config: Path | None, data: Path | None) -> None:
    """Fetch every list that is on, build, and publish unless a guard holds it."""
    from deploy.portal_access import portal_session
    from portal.access import SYSTEM
    from portal.lists import builds, sources

    with portal_session(config, data) as (session, _):
        now = time.time()
        for view in sources.sources(session, now):
            if view.enabled and view.url:
                sources.fetch_now(session, SYSTEM, now, view.id)
        number = builds.rebuild(session, SYSTEM, now, "schoolgate lists update").id or 0
    _carry_out(config, data, number)


@command.command(name="import")
@with_settings
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--category", required=True, help="The category that its names belong to.")
@click.option("--format", "format", default="", help="Its format; otherwise told by its first bytes.")
@click.option("--id", "id", default="", help="A short id; otherwise made from the file's name.")
def import_(config: Path | None, data: Path | None, file: Path, category: str, format: str, id: str) -> None:
    """Make FILE a list of the district's own, or the newer copy of one that was imported before."""
    from deploy.portal_access import portal_session
    from portal.access import SYSTEM
    from portal.errors import NotFound
    from portal.lists import sources

    id = id or "-".join("".join(one if one.isalnum() else " " for one in file.stem.lower()).split())
    with portal_session(config, data) as (session, _):
        now = time.time()
        try:
            view = sources.source(session, now, id)
        except NotFound:
            draft = sources.SourceDraft(id, file.name, category, "", format)
            sources.add_with_file(session, SYSTEM, now, draft, file.read_bytes(), private=False)
        else:
            sources.uploaded(session, SYSTEM, now, view.id, file.read_bytes())
        number = sources.ask_build(session, SYSTEM, now, id)
    _carry_out(config, data, number)
    with portal_session(config, data) as (session, _):
        view = sources.source(session, time.time(), id)
    if view.error:
        raise fail(f"{file}: {view.error}")
    click.echo(f"{id}: {view.found:,} names, {view.rejected:,} lines rejected")
    for one in view.examples[:10]:
        click.echo(f"  line {one['line']}: {one['text']}: {one['reason']}")


@command.command()
@with_settings
@click.option("--seed", "seed", is_flag=True, help="Only check the shipped seed lists, or those of DIRECTORY.")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False)
def check(config: Path | None, data: Path | None, seed: bool, directory: Path | None) -> None:
    """Fetch and compare without publishing; with --seed or DIRECTORY, check seed lists by file and line."""
    if seed or directory is not None:
        _check_seed(directory)
        return
    from deploy.portal_access import portal_job

    with tempfile.TemporaryDirectory() as name, _bar() as bar, portal_job(config, data) as (job, runner):
        objects = Path(name) / "objects"
        objects.mkdir()
        if job.old:
            (objects / job.old).symlink_to(Path(job.objects) / job.old)
        from dataclasses import replace

        fetched = tuple(one.id for one in job.wanted if one.url or one.file)
        shelf = Path(name) / "shelf"
        if Path(job.shelf).exists():
            shutil.copytree(job.shelf, shelf)
        job = replace(job, shelf=str(shelf), objects=str(objects), fetch=fetched, build=True)
        said: list[Mapping[str, Any]] = []
        task = bar.add_task("starting", total=None)

        def hear(what: Mapping[str, Any]) -> None:
            said.append(what)
            if "step" in what:
                bar.update(task, description=what["step"], completed=what["done"], total=what["total"])

        status = runner.run_process(job, hear)
    failed = 0
    for what in said:
        if (one := what.get("fetched")) is not None and one["outcome"] == "failed":
            failed += 1
            click.echo(f"{one['id']}: {one['detail']}", err=True)
    result = next((what["result"] for what in said if "result" in what), None)
    if status != 0 or result is None:
        raise fail("; ".join(str(what["failed"]) for what in said if "failed" in what) or "nothing was built")
    click.echo(f"{result['names']:,} names, {result['size']:,} bytes")
    for one in result.get("changes", []):
        click.echo(f"{one['id']}: +{one.get('added', 0):,} -{one.get('dropped', 0):,} ({one['after']:,} names)")
    for one in result.get("reasons", []):
        click.echo(f"would be held: {one['sentence']}")
    if failed:
        raise fail(f"{failed} of {len(fetched)} lists could not be fetched")


def _check_seed(directory: Path | None) -> None:
    try:
        seed = load_seed(directory)
    except BadSeed as error:
        raise fail(str(error)) from None
    found = len(seed.categories), len(seed.services), len(seed.protected)
    click.echo("{} categories, {} services, {} protected names: all sound".format(*found))


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _carry_out(config: Path | None, data: Path | None, number: int) -> None:
    """See the update through: the running portal does it; without one, this process does."""
    from deploy.portal_access import portal_job, portal_session
    from portal.database import DatabaseInUse, sole_portal
    from portal.models.lists import BaseBuild, BuildState

    with portal_session(config, data) as (_, told):
        pass
    try:
        with sole_portal(told.database), portal_job(config, data) as (_, runner):
            runner.run_once()
    except DatabaseInUse:
        pass
    deadline = time.monotonic() + PATIENCE
    with _bar() as bar:
        task = bar.add_task("waiting for the portal", total=None)
        while True:
            with portal_session(config, data) as (session, _):
                row = session.get(BaseBuild, number)
            if row is None or row.state not in (BuildState.WAITING, BuildState.BUILDING):
                break
            if time.monotonic() > deadline:
                raise fail("the portal has not finished; the Lists page shows how far it is")
            bar.update(task, description=row.step or "waiting", completed=row.done, total=row.total or None)
            time.sleep(0.3)
    if row is None or row.state is BuildState.REPLACED:
        click.echo("the base stays as it is")
    elif row.state is BuildState.FAILED:
        raise fail(row.error)
    elif row.state is BuildState.HELD:
        for one in row.reasons:
            click.echo(f"held: {one['sentence']}", err=True)
        raise fail("an administrator decides on the Lists page")
    else:
        click.echo(f"{row.names:,} names; published as a new version")
