"""`schoolgate`: the command line. Each command's module is imported when it is called.

Exit status: 0 done, 1 refused or failed (the reason and what to do on standard error), 2 wrong usage.
"""

from __future__ import annotations

import importlib
import sys

import click

COMMANDS = {
    "up": ("deploy.commands.up", "Resolver and portal on one machine, enrolled with each other."),
    "portal": ("deploy.commands.portal", "Run the portal."),
    "resolver": ("deploy.commands.resolver", "Run a node: the resolver."),
    "explain": ("deploy.commands.explain", "The verdict on a name, and every step that led to it."),
    "node": ("deploy.commands.node", "This node: enroll, status."),
    "lists": ("deploy.commands.lists", "The blocklists: update, check, show, import."),
    "cache": ("deploy.commands.cache", "The cache of a live node: flush."),
    "log": ("deploy.commands.log", "Read the query log of this node."),
    "user": ("deploy.commands.user", "People: create, reset, disable."),
    "token": ("deploy.commands.token", "API tokens: create, list, revoke."),
    "setup": ("deploy.commands.setup", "The first day: the check-list, the district's settings, its groups."),
    "sites": ("deploy.commands.sites", "Sites and groups: import a CSV file, which group an address is in."),
    "exceptions": ("deploy.commands.exceptions", "Operational exceptions: import an old allowlist."),
    "keys": ("deploy.commands.keys", "The portal's signing key: show, rotate."),
    "backup": ("deploy.commands.backup", "Write the whole portal to one file, while it runs."),
    "restore": ("deploy.commands.restore", "Restore a backup on an empty machine; the portal is then held."),
    "export": ("deploy.commands.export", "Take things out: audit, rpz."),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="schoolgate", prog_name="schoolgate")
def main() -> None:
    """Schoolgate: a DNS filter for a school district, and the desk where a written request opens a blocked site."""


if __name__ == "__main__":
    sys.argv[0] = "schoolgate"
    main()
