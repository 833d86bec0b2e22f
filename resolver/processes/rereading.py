"""SIGHUP: the settings are read again, and taken when they are right; a mistake is reported and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resolver.clients.sockets import AsksItself, refuse_ourselves
from resolver.config import Endpoint, ResolverConfig
from resolver.upstreams.routes import Routes

# What a running node cannot change: its sockets, its folder, how many posts it has, who it runs as.
FIXED = ("listen", "state", "workers", "user", "group", "query_log", "dot", "doh", "portal_ca")

Read = Callable[[], ResolverConfig]


def renewed(running: ResolverConfig, read: Read, listening: tuple[Endpoint, ...] = ()) -> tuple[ResolverConfig, str]:
    """Return the settings to go on with, and what an operator should know: empty, or a sentence.

    `listening`: where the node answers; an upstream that is one of them is a mistake. `read` may raise `ValueError`
    (mistakes in the file, a line each) or `OSError`; then `running` stays.
    """
    try:
        wanted = read()
        refuse_ourselves(Routes(wanted).servers, listening)
    except (ValueError, OSError, AsksItself) as error:
        return (
            running,
            f"the settings were read again and refused, the old ones stay: {'; '.join(str(error).splitlines())}",
        )
    kept = [name for name in FIXED if getattr(wanted, name) != getattr(running, name)]
    taken = replace(wanted, **{name: getattr(running, name) for name in FIXED})
    return taken, f"settings that take a restart were changed: {', '.join(kept)}" if kept else ""
