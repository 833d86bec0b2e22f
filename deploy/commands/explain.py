"""`schoolgate explain`: the verdict on a name for a group or a client, and every step of the decision order.

Reads the snapshot that this machine's node serves; works with the portal stopped. For a name that is not blocked it
asks this machine's upstreams, as a worker would, and judges what comes back; or it is told that with `--answer`.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from blocklists import names, reasons, returned
from blocklists.clients import parse_address
from blocklists.policy import FOREVER, UNASSIGNED, Action, Reason, Verdict
from blocklists.returned import TYPES, Asks, explain
from blocklists.snapshot import Snapshot
from deploy.local_records import title_of
from deploy.lookup import LookUp
from deploy.options import fail, settings_from, with_settings
from deploy.settings import resolver_config
from resolver.config import ResolverConfig
from resolver.delivery.policy_store import PolicyStore, Refused
from resolver.message import wire
from resolver.message.local import LocalRecords
from resolver.upstreams.routes import Routes


@click.command()
@with_settings
@click.argument("name")
@click.option("--group", help="A client group, for example edison/students.")
@click.option("--client", help="An address: the group is found as for a question from there.")
@click.option(
    "--type", "rtype", type=click.Choice(TYPES, False), default="A", show_default=True, help="Of the question."
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    help="What upstream says, instead of asking it: an address, or a name that it leads to. As often as needed.",
)
@click.option("--no-ask", is_flag=True, help="Judge the name alone: ask nobody.")
@click.option("--at", "moment", help="A time, for example 2026-11-24T15:00 (the district's zone unless it has one).")
def command(
    config: Path | None,
    data: Path | None,
    name: str,
    group: str | None,
    client: str | None,
    rtype: str,
    answers: tuple[str, ...],
    no_ask: bool,
    moment: str | None,
) -> None:
    """Say whether NAME is allowed, for whom and why: the verdict and every step that led to it, with what upstream says
    and where that leads."""
    if group is not None and client is not None:
        raise click.UsageError("give --group or --client, not both")
    settings = settings_from(config, data)
    snapshot = _snapshot(settings.data / "node")
    try:
        name = names.understand(name).name
    except names.BadName as error:
        raise fail(f"{error.text}: {error.reason}") from None
    group, because = _group(snapshot, group, client)
    zone = ZoneInfo(snapshot.policy.zone)
    now = _moment(moment, zone)
    told = resolver_config(settings)
    ask = _asks(told, rtype, answers, no_ask)
    explanation = explain(name, snapshot.rules(group), snapshot.policy, now, rtype, ask)
    verdict = explanation.verdict

    click.echo(f"{name} for {group}{because}")
    click.echo(f"at {_local(max(now, snapshot.policy.created_at), zone)}, policy version {snapshot.version}\n")
    for step in explanation.steps:
        click.echo(f"  {step.number}. {step.title}: {step.found}{'  <- decides' if step.decided else ''}")
    click.echo(f"\n{verdict.action.upper()}: {_reason(verdict.reason)}")
    for line in _answered_by(told, verdict, name):
        click.echo(line)
    if words := reasons.told(verdict, snapshot.policy):
        click.echo(f"devices are told: {words}")
    if verdict.style is not None:
        click.echo(f"answered as {verdict.style}")
    if verdict.lifted is not None:
        click.echo(f"without this grant it would be blocked: {_reason(verdict.lifted)}")
    if verdict.valid_until != FOREVER:
        click.echo(f"this may change at {_local(verdict.valid_until, zone)}")


def _asks(told: ResolverConfig, rtype: str, answers: tuple[str, ...], no_ask: bool) -> Asks:
    if answers and no_ask:
        raise click.UsageError("give --answer or --no-ask, not both")
    if answers:
        try:
            given = returned.given(answers, rtype)
        except ValueError as error:
            raise fail(str(error)) from None
        return lambda name: given
    if no_ask:
        return lambda name: None
    look_up = LookUp(told)
    return lambda name: look_up(name, rtype)


def _answered_by(told: ResolverConfig, verdict: Verdict, name: str) -> list[str]:
    """Who answers an allowed name: our own records, or which upstreams; by the settings of this machine."""
    if verdict.action not in (Action.ALLOW, Action.REWRITE):
        return []
    asked = verdict.target or name
    local, followed = LocalRecords(told.local), []
    while found := local.lines(names.to_wire(asked)):
        followed.append(f"answered by local records of {asked}: {', '.join(title_of(rtype) for rtype, _ in found)}")
        if found[0][0] != wire.CNAME:
            return followed
        asked = names.from_wire(found[0][1])
    routes = Routes(told)
    route = routes.find(names.to_wire(asked))
    servers = ", ".join(str(routes.servers[number]) for number in route.servers)
    return [*followed, f"{asked} is asked of {servers}{f' (forwarded zone {route.title})' if route.forwarded else ''}"]


def _snapshot(state: Path) -> Snapshot:
    try:
        snapshot = PolicyStore(state).load(None)
    except Refused as error:
        raise fail(f"{state}: {error}") from None
    if snapshot is None:
        raise fail(f"{state} holds no policy yet: start the node, or name its folder with --data")
    return snapshot


def _group(snapshot: Snapshot, group: str | None, client: str | None) -> tuple[str, str]:
    if client is not None:
        try:
            found = snapshot.clients.find(parse_address(client))
        except ValueError:
            raise fail(f"{client!r} is not an address") from None
        return found.group, f" (client {client}, by {found.by or 'no network: the strictest policy'})"
    if group is None:
        return UNASSIGNED, " (no group or client given: the strictest policy)"
    if group not in snapshot.by_group:
        raise fail(f"there is no group {group!r}; the groups are: {', '.join(sorted(snapshot.by_group))}")
    return group, ""


def _moment(text: str | None, zone: ZoneInfo) -> float:
    if text is None:
        return time.time()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise fail(f"{text!r} is not a time; write 2026-11-24T15:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _local(moment: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def _reason(reason: Reason) -> str:
    parts = [str(reason.kind)]
    if reason.authority is not None:
        parts.append(f"{reason.number}, by {reason.authority.kind} {reason.authority.number}")
    elif reason.number is not None:
        parts.append(str(reason.number))
    if reason.entry is not None:
        parts.append(f"at {reason.entry}")
    if reason.category is not None:
        parts.append(f"({reason.category}, {'service' if reason.service else 'list'} {reason.service or reason.list})")
    return " ".join(parts)
