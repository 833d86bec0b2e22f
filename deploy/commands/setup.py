"""`schoolgate setup`: the first day from the command line, by the same services as the Set-up page."""

from __future__ import annotations

import time
from pathlib import Path

import click

from deploy.options import with_settings
from deploy.portal_access import portal_session
from portal.access import SYSTEM
from portal.places import district, setup


@click.group()
def command() -> None:
    """The first day: show, district, staff-social-media, enforce, observe."""


@command.command()
@with_settings
def show(config: Path | None, data: Path | None) -> None:
    """The check-list: what is done, what is not."""
    with portal_session(config, data) as (session, _):
        points = setup.checklist(session, SYSTEM, time.time())
    for point in points:
        click.echo(f"{'done' if point.done else 'open'}\t{point.title}{f' ({point.about})' if point.about else ''}")


@command.command(name="district")
@with_settings
@click.option("--name", required=True, help="The district's name, as pages show it.")
@click.option("--zone", required=True, help="Its time zone, like America/Chicago.")
@click.option("--contact", required=True, help="The service desk: an e-mail address, a number or an https address.")
@click.option("--colour", default="", help="Of the pages' head, like #1f6feb.")
@click.option("--term", "terms", multiple=True, nargs=3, metavar="NAME FIRST LAST", help="A term; repeat in order.")
@click.option("--own", "own", multiple=True, help="A name of the district's own, answered by its own servers.")
def district_(
    config: Path | None,
    data: Path | None,
    name: str,
    zone: str,
    contact: str,
    colour: str,
    terms: tuple[tuple[str, str, str], ...],
    own: tuple[str, ...],
) -> None:
    """Set the district's name, zone, service desk, terms and own names."""
    draft = setup.SettingsDraft(name, zone, contact, colour, tuple(setup.Term(*one) for one in terms), own)
    with portal_session(config, data) as (session, _):
        row = setup.save(session, SYSTEM, time.time(), draft)
    click.echo(f"{row.name}, {row.zone}; requests end with the term, on {row.term_ends_on}")


@command.command(name="staff-social-media")
@with_settings
@click.argument("answer", type=click.Choice(["yes", "no"]))
def staff(config: Path | None, data: Path | None, answer: str) -> None:
    """May staff networks reach social media for incidental use? The answer goes on record."""
    with portal_session(config, data) as (session, _):
        setup.answer_staff_social_media(session, SYSTEM, time.time(), answer == "yes")
    click.echo(f"on record: {answer}")


@command.command()
@with_settings
@click.argument("groups", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every group.")
def enforce(config: Path | None, data: Path | None, groups: tuple[str, ...], every: bool) -> None:
    """End observing for GROUPS (SITE/AUDIENCE): from now on they are blocked."""
    with portal_session(config, data) as (session, _):
        wanted = tuple(view.group.id for view in district.groups(session)) if every else groups
        count = setup.enforce(session, SYSTEM, time.time(), wanted)
    click.echo(f"{count} groups are enforced from now on")


@command.command()
@with_settings
@click.argument("groups", nargs=-1, required=True)
@click.option("--days", type=click.IntRange(1, 60), required=True, help="It ends by itself after so many days.")
@click.option("--reason", required=True)
def observe(config: Path | None, data: Path | None, groups: tuple[str, ...], days: int, reason: str) -> None:
    """Only log what GROUPS would be refused, for a while; locked categories stay blocked."""
    with portal_session(config, data) as (session, _):
        count = setup.observe(session, SYSTEM, time.time(), groups, days, reason)
    click.echo(f"{count} groups are observed for {days} days")
