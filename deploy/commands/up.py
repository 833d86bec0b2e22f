"""`schoolgate up`: resolver and portal on one machine, enrolled with each other, with no configuration.

What is checked before anything starts: that no second copy runs on the same data, that the folder can be written, that
the ports are free. What is not fatal is said and lived with: upstreams that do not answer, and, once the node is
enrolled, a folder that has become read-only: the resolver enforces what it has.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from deploy.endpoints import parse_endpoint, parse_upstream
from deploy.options import fail, settings_from, with_settings
from deploy.reachable import Silent, silent_upstreams
from deploy.settings import PREFIX, Settings, resolver_config
from deploy.up import Child, StartFailed, Stopped, raise_on_signals, self_command, stop, wait_until, watch
from resolver.clients.sockets import CannotListen, probe
from resolver.config import Endpoint


@click.command()
@with_settings
@click.option("--dns", metavar="ADDR:PORT", help="Where the resolver answers.  [default: 127.0.0.1:5300]")
@click.option("--web", metavar="ADDR:PORT", help="Where the portal answers.  [default: 127.0.0.1:8080]")
@click.option("--upstream", "upstreams", metavar="ADDR[:PORT]", multiple=True, help="Whom to forward to (repeatable).")
@click.option("--workers", type=click.IntRange(1, 64), help="Resolver processes.  [default: one per processor, 1-4]")
@click.option("--demo", is_flag=True, help="Sample district and accounts that sign in with one click; loopback only.")
def command(
    config: Path | None,
    data: Path | None,
    dns: str | None,
    web: str | None,
    upstreams: tuple[str, ...],
    workers: int | None,
    demo: bool,
) -> None:
    """Run resolver and portal together until Ctrl-C. What they keep stays in the data folder for the next time."""
    settings = _settings(settings_from(config, data), dns, web, upstreams, workers)
    web_at = parse_endpoint(settings.portal.listen)
    if demo and web_at.address not in ("127.0.0.1", "::1"):
        raise fail("--demo has accounts without passwords: it runs on a loopback address only")
    console = Console(highlight=False)
    raise_on_signals()
    with _only_copy(settings.data) as writable:
        try:
            for text in settings.resolver.listen:
                probe(parse_endpoint(text))
            probe(web_at, [socket.SOCK_STREAM])
        except CannotListen as error:
            raise fail(f"{error}. Other ports are chosen with --dns ADDR:PORT and --web ADDR:PORT.") from None
        _run(console, settings, web_at, demo, writable)


def _settings(
    settings: Settings, dns: str | None, web: str | None, upstreams: tuple[str, ...], workers: int | None
) -> Settings:
    """The options over the settings; the node's portal is the one beside it."""
    try:
        for text in (*([dns] if dns else []), *([web] if web else [])):
            parse_endpoint(text)
        for text in upstreams:
            parse_upstream(text)
    except ValueError as error:
        raise fail(str(error)) from None
    portal = settings.portal.model_copy(update={"listen": web} if web else {})
    changes: dict[str, object] = {"portal": f"http://{parse_endpoint(portal.listen)}"}
    if dns:
        changes["listen"] = [dns]
    if upstreams:
        changes["upstreams"] = list(upstreams)
    if workers:
        changes["workers"] = workers
    if not settings.resolver.name:
        changes["name"] = socket.gethostname() or "this machine"
    resolver = settings.resolver.model_copy(update=changes)
    return settings.model_copy(update={"portal": portal, "resolver": resolver, "data": settings.data.absolute()})


@contextmanager
def _only_copy(data: Path) -> Iterator[bool]:
    """Make the data folder, and hold its lock while we run; yield whether it can be written."""
    file, writable = data / "up.lock", True
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = file.open("a+")
    except OSError as error:
        if error.errno != errno.EROFS or not (_enrolled(data) and file.exists()):
            raise fail(f"{data} cannot be used: {error.strerror}. Choose another folder with --data DIR.") from None
        lock, writable = file.open(), False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise fail(
                f"Schoolgate already runs on {data} (process {lock.read().strip() or 'unknown'}). "
                "Stop that one first, or choose another folder with --data DIR."
            ) from None
        if writable:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
        yield writable


def _run(console: Console, settings: Settings, web_at: Endpoint, demo: bool, writable: bool) -> None:
    data = settings.data
    token_file = data / "enrolment.token"
    first = not _enrolled(data)
    environment = environment_of(settings)
    portal = Child(
        "portal",
        self_command("portal", *(["--demo"] if demo else []), *(["--issue-token", str(token_file)] if first else [])),
        data / "portal.log",
        env=environment,
    )
    resolver = Child("resolver", self_command("resolver"), data / "resolver.log", env=environment)
    children = [resolver, portal]  # in the order in which they are stopped
    try:
        with console.status("") as status:
            status.update("Starting the portal (the first time: making the database, compiling the lists) …")
            portal.start()
            if first:
                wait_until(lambda: _is_ready(web_at), portal)
                console.print("  [green]✓[/] portal")
                status.update("Enrolling the resolver with the portal …")
                _enrol(settings, token_file, environment)
                console.print("  [green]✓[/] enrolment")
            status.update("Starting the resolver …")
            resolver.start()
            if writable:  # otherwise it has no control socket to be asked by
                wait_until(lambda: _serves(data / "node"), resolver)
                console.print("  [green]✓[/] resolver")
                trouble = "" if first else _trouble_of(portal, web_at)
            else:
                trouble = f"{data} is read-only: the portal cannot start. Mount it writable again."
            if not first and not trouble:
                console.print("  [green]✓[/] portal")
            status.update("Asking the upstream …")
            silent = silent_upstreams(resolver_config(settings))
        _welcome(console, settings, demo, silent)
        if trouble:
            console.print(f"[red]{trouble}[/]", soft_wrap=True)
            console.print("[yellow]The resolver enforces the last policy meanwhile; the portal is tried again.[/]")
        watch(children, lambda text: console.print(f"[yellow]{text}[/]"))
    except Stopped:
        console.print("\nStopping …")
    except StartFailed as error:
        raise fail(str(error)) from None
    finally:
        stop(children)
        with suppress(OSError):  # a read-only folder has none
            token_file.unlink(missing_ok=True)
    console.print("Stopped. Everything is kept in", str(data), soft_wrap=True)


def _enrolled(data: Path) -> bool:
    return (data / "node" / "identity.json").exists()


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as variables, which children read over the same file."""
    found = {f"{PREFIX}DATA": str(settings.data)}
    for section in ("resolver", "portal"):
        for name, value in getattr(settings, section).model_dump(mode="json", exclude_none=True).items():
            text = json.dumps(value) if isinstance(value, list | dict) else str(value)
            found[f"{PREFIX}{section.upper()}__{name.upper()}"] = text
    return found


def _trouble_of(portal: Child, web_at: Endpoint) -> str:
    """Return why the portal of an enrolled node does not start; empty once it is ready. The gate stands without it."""
    try:
        wait_until(lambda: _is_ready(web_at), portal)
    except StartFailed as error:
        return str(error)
    return ""


def _is_ready(web_at: Endpoint) -> bool:
    try:
        with urllib.request.urlopen(f"http://{web_at}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _enrol(settings: Settings, token_file: Path, environment: dict[str, str]) -> None:
    enrolment = Child(
        "enrolment",
        self_command("node", "enroll", "--token-file", str(token_file)),
        settings.data / "enrolment.log",
        env=environment,
    )
    enrolment.start()
    assert enrolment.process is not None
    if enrolment.process.wait(60) != 0:
        raise StartFailed(f"The resolver could not enrol:\n{enrolment.last_words()}")


def _serves(state: Path) -> bool:
    """True once every worker serves a policy."""
    from resolver.processes.control import ControlFailed, NotRunning, ask

    try:
        status = ask(state, {"do": "status"})
    except (NotRunning, ControlFailed):
        return False
    return bool(status.get("version")) and status.get("workers_ready") == status.get("workers")


def _welcome(console: Console, settings: Settings, demo: bool, silent: list[Silent]) -> None:
    """Say where to click, who to sign in as, and which questions show the filter at work."""
    dns = parse_endpoint(settings.resolver.listen[0])
    url = settings.portal.url or f"http://{parse_endpoint(settings.portal.listen)}"
    dig = f"dig @{dns.address} -p {dns.port}"
    table = Table.grid(padding=(0, 2))
    table.add_row("Portal", f"[bold]{url}[/]")
    if demo:
        table.add_row("Sign in as", "Tess Okafor, teacher · Rosa Diaz, service desk · Amir Khan, administrator")
        table.add_row("", "one click each, on the sign-in page")
    else:
        table.add_row("First account", "schoolgate user create you@district.example --name You --role administrator")
        table.add_row("", f"(with --data {settings.data})")
    table.add_row("Blocked", f"{dig} www.instagram.com")
    table.add_row("Not blocked", f"{dig} example.com")
    table.add_row("Why", "schoolgate explain www.instagram.com --client 127.0.0.1")
    table.add_row("Kept in", str(settings.data))
    console.print(Panel(table, title="Schoolgate is up", subtitle="Ctrl-C stops it", expand=False))
    for one in silent:
        names = f"names in {one.zone}" if one.zone else "names that are not blocked"
        console.print(
            f"[yellow]The upstream {one.upstream} does not answer{f': {one.why}' if one.why else ''}. With no other, "
            f"{names} get SERVFAIL until it does.{'' if one.zone else ' Choose another with --upstream ADDR.'}[/]",
            soft_wrap=True,
        )
    sys.stdout.flush()
