"""What a requester names: a service, or a host. Text in; the names that it stands for out. Pure.

A host that is one of a service's own names means the service: its pages do not work without the rest of the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blocklists import names
from blocklists.seed import SeedService
from portal.errors import FieldError
from portal.fields import Mistakes

MAX_TOOLS = 20
MAX_URLS = 20


@dataclass(frozen=True, slots=True)
class ToolDraft:
    """A service by id or title, a host name, or a pasted URL; `urls` are examples of what is needed."""

    name: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as understood. `names`: the service's bundle, or the hosts of name and URLs. `dropped_path`: a page was
    pasted, and the request is for its whole site."""

    name: str
    service: str | None
    urls: tuple[str, ...]
    names: tuple[str, ...]
    dropped_path: bool


def understand(
    draft: ToolDraft, services: Mapping[str, SeedService], where: str = "tools[0]"
) -> tuple[Tool | None, tuple[FieldError, ...]]:
    """Return what one tool means, or what is wrong with it; `services` are those that are known here, by id, and
    `where` is the path of the tool's fields."""
    mistakes = Mistakes()
    typed = draft.name.strip()
    found: dict[str, None] = {}
    service = _by_word(services).get(typed.casefold())
    dropped = False
    if service is None and typed:
        host = _host(mistakes, f"{where}.name", typed, may_be_label=bool(draft.urls))
        if host is not None:
            dropped = host.had_path
            service = _by_name(services).get(host.name)
            found[host.name] = None
    elif not typed and not draft.urls:
        mistakes.add(f"{where}.name", "say which website or app: its name, or paste its web address")
    if len(draft.urls) > MAX_URLS:
        mistakes.add(f"{where}.urls", f"at most {MAX_URLS} addresses fit here")
    for at, url in enumerate(draft.urls[:MAX_URLS]):
        host = _host(mistakes, f"{where}.urls[{at}]", url, may_be_label=False)
        if host is not None:
            dropped = dropped or host.had_path
            service = service or _by_name(services).get(host.name)
            found[host.name] = None
    if mistakes.errors:
        return None, tuple(mistakes.errors)
    bundle = () if service is None else service.names
    extra = [name for name in found if not any(names.is_at_or_below(name, one) for one in bundle)]
    title = typed if typed and not found else (service.title if service is not None else next(iter(found), typed))
    return Tool(title, None if service is None else service.id, draft.urls, (*bundle, *extra), dropped), ()


def _host(mistakes: Mistakes, field: str, text: str, may_be_label: bool) -> names.Typed | None:
    """Return the host of a name or URL; a plain word that is no host is only a label when addresses come with it."""
    if "." not in text and "/" not in text and ":" not in text and text.strip().casefold() != "localhost":
        if not may_be_label:
            mistakes.add(field, f"no site or app called {text[:60]!r} is known here; paste its web address")
        elif len(text) > 200:
            mistakes.add(field, "at most 200 characters fit here")
        return None
    try:
        typed = names.understand(text)
        names.grantable(typed.name)
    except names.BadName as error:
        if not (may_be_label and " " in text.strip()):
            mistakes.add(field, error.reason)
        return None
    return typed


def store(tool: Tool) -> dict[str, Any]:
    """Return the tool as the request's row holds it; `stored` reads it back."""
    return {
        "name": tool.name,
        "service": tool.service,
        "urls": list(tool.urls),
        "names": list(tool.names),
        "dropped_path": tool.dropped_path,
    }


def stored(plain: Mapping[str, Any]) -> Tool:
    return Tool(
        plain["name"], plain["service"], tuple(plain["urls"]), tuple(plain["names"]), bool(plain["dropped_path"])
    )


def _by_word(services: Mapping[str, SeedService]) -> Mapping[str, SeedService]:
    titles = {service.title.casefold(): service for service in services.values()}
    return titles | {service.id: service for service in services.values()}


def _by_name(services: Mapping[str, SeedService]) -> Mapping[str, SeedService]:
    found: dict[str, SeedService] = {}
    for service in services.values():
        for name in service.names:
            found.setdefault(name, service)
            found.setdefault(f"www.{name}", service)
    return found
