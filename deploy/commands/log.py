"""`schoolgate log`: this node's query log. Clients are pseudonyms; the key of each month stays in the log's folder."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

import click
from dnslib import QTYPE, RCODE

from blocklists import names
from deploy.options import fail, settings_from, with_settings
from resolver.log.logwriter import read
from resolver.log.querylog import Record


@click.command()
@with_settings
@click.option("--minutes", type=click.IntRange(min=1), default=60, show_default=True, help="How far back.")
@click.option("--name", "below", help="Only this name and what is below it.")
@click.option("--group", help="Only this client group.")
@click.option("--verdict", type=click.Choice(["allow", "block", "synthesize"]), help="Only this verdict.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    config: Path | None,
    data: Path | None,
    minutes: int,
    below: str | None,
    group: str | None,
    verdict: str | None,
    as_json: bool,
) -> None:
    """Print the queries of the last hour (or --minutes), oldest first."""
    state = settings_from(config, data).data / "node"
    if not state.is_dir():
        raise fail(f"{state} is no node's folder: name it with --data")
    try:
        for record in read(state, since=time.time() - 60 * minutes):
            name = names.from_wire(record.name)
            if below is not None and not names.is_at_or_below(name, below.lower().rstrip(".")):
                continue
            if (group is None or record.group == group) and (verdict is None or record.action == verdict):
                click.echo(json.dumps(_plain(record, name)) if as_json else _line(record, name))
    except OSError as error:
        raise fail(f"the query log cannot be read: {error.strerror or error}") from None


def _plain(record: Record, name: str) -> dict[str, object]:
    return {
        "time": record.time,
        "version": record.version,
        "client": record.client.hex(),
        "group": record.group,
        "name": name,
        "type": QTYPE.get(record.qtype, f"TYPE{record.qtype}"),
        "rcode": RCODE.get(record.rcode, str(record.rcode)),
        "verdict": record.action,
        "reason": record.reason,
        "number": record.number,
        "entry": record.entry,
        "category": record.category,
        "list": record.list,
        "latency_us": record.latency,
    }


def _line(record: Record, name: str) -> str:
    plain = _plain(record, name)
    moment = datetime.fromtimestamp(record.time).strftime("%Y-%m-%d %H:%M:%S")
    because = " ".join(str(part) for part in (record.reason, record.number, record.entry, record.category) if part)
    return (
        f"{moment} {str(plain['client'])[:12]} {record.group} {name} {plain['type']} {plain['rcode']} "
        f"{record.action} ({because}) v{record.version}"
    )
