"""`schoolgate node`: make this machine a node, and ask the live one how it is."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any, TextIO

import click

from deploy.options import fail, settings_from, with_settings
from deploy.settings import resolver_config
from resolver.processes.control import ControlFailed, NotRunning, ask


@click.group()
def command() -> None:
    """This node: enroll, status."""


@command.command()
@with_settings
@click.option(
    "--token-file",
    type=click.File("r"),
    default="-",
    show_default="standard input",
    help="Where the one-time token of the portal's Nodes page stands.",
)
def enroll(config: Path | None, data: Path | None, token_file: TextIO) -> None:
    """Spend a one-time token: get an identity from the portal and pin its key."""
    from resolver.delivery.enrolment import EnrolmentFailed, enrol

    settings = settings_from(config, data)
    section = settings.resolver
    name = section.name or socket.gethostname()
    token = str(token_file.readline())
    try:
        identity = enrol(section.portal, token, name, section.sites, settings.data / "node", section.portal_ca)
    except EnrolmentFailed as error:
        raise fail(str(error)) from None
    click.echo(f"enrolled as node {identity.node}, {identity.name!r}, of {identity.district} at {identity.portal}")


@command.command()
@with_settings
def status(config: Path | None, data: Path | None) -> None:
    """Say what the live node serves, how its workers are, and what is wrong. Status 1 when something is."""
    told = resolver_config(settings_from(config, data))
    try:
        found = ask(told.state, {"do": "status"})
    except (NotRunning, ControlFailed) as error:
        raise fail(str(error)) from None
    version = found["version"]
    click.echo(f"node {found['node']!r}, {found['phase']}, process {found['pid']}")
    click.echo(f"listening on {', '.join(found['listening'])}")
    click.echo(f"policy version {version}" if version else "no policy yet")
    click.echo(f"portal: {found['portal']}")
    if found["reach"]:
        click.echo(f"{found['reach']}{_as_of(time.time() - found['reach_at'])}")
    click.echo(f"{found['workers_ready']} of {found['workers']} workers ready; {found['files']} files may be open")
    _table("upstream", [(one["name"], _how(one), _asked_for(one)) for one in found["upstreams"]])
    _table("process", [(one["name"], f"pid {one['pid']}", _serving(one)) for one in found["processes"]])
    _table("since the start", [(name, str(value)) for name, value in found["counters"].items()])
    _table("query log", [(name, str(value)) for name, value in found["query_log"].items()])
    if found["last_error"] or not version or found["workers_ready"] != found["workers"]:
        raise fail(found["last_error"] or "this node does not serve fully")


def _how(upstream: dict[str, Any]) -> str:
    state = str(upstream["state"])
    return f"{state} in {upstream['ms']} ms" if state == "answers" and upstream["ms"] else state


def _asked_for(upstream: dict[str, Any]) -> str:
    zones = ", ".join(upstream["zones"])
    return ("every other name" + (f", and {zones}" if zones else "")) if upstream["ordinary"] else f"only {zones}"


def _as_of(seconds: float) -> str:
    """Nothing while the portal is heard every few seconds."""
    if seconds < 60:
        return ""
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f" (as the portal said {seconds // size:.0f} {word} ago)"
    return ""


def _serving(process: dict[str, Any]) -> str:
    if process["version"]:
        return f"version {process['version']}"
    return "ready" if process["ready"] else "not ready"


def _table(title: str, rows: list[tuple[str, ...]]) -> None:
    if rows:
        click.echo(f"{title}:")
    width = max((len(row[0]) for row in rows), default=0)
    for name, *values in rows:
        click.echo(f"  {name.ljust(width)}  {'  '.join(values)}")
