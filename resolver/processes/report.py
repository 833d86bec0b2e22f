"""What a supervisor knows about its node, as plain JSON values: for the portal and for `schoolgate node status`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resolver.children import Post
from resolver.config import ResolverConfig
from resolver.upstreams.routes import Routes

LOOPS = "loops"
_STATES = ("not asked yet", "answers", "silent", LOOPS)  # from good to bad
MAX_ZONES = 20  # of one upstream, that are named


def health(workers: list[Post], listening: Iterable[object], errors: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a `NodeStatus` but its clock. Version and digest are None unless all workers agree."""
    serving = {post.serving for post in workers if post.ready}
    version, digest = (serving.pop() or (None, None)) if len(serving) == 1 else (None, None)
    return {
        "version": version,
        "digest": digest,
        "workers": len(workers),
        "workers_ready": sum(post.ready for post in workers),
        "queries": sum(post.total("queries") for post in workers),
        "blocked": sum(post.total("blocked") for post in workers),
        "cached": sum(post.total("memo_hits") + post.total("cache_hits") for post in workers),
        "listening": [str(one) for one in listening][:64],
        "last_error": "; ".join(errors)[:500],
        "engine": ", ".join(sorted({post.engine for post in workers if post.engine}))[:40],
    }


def by_worker(workers: Iterable[Post]) -> list[dict[str, Any]]:
    """Return each worker's counters, since the node started, those of its predecessors included."""
    return [
        {"number": post.number, "version": post.serving[0] if post.serving else None, "counters": counters([post])}
        for post in workers
    ]


def counters(posts: Iterable[Post]) -> dict[str, int]:
    """Return every counter of these posts, summed, by name: since the node started, replaced children included."""
    posts = list(posts)
    found = {name for post in posts for name in (*post.gone, *post.counters)}
    return {name: sum(post.total(name) for post in posts) for name in sorted(found)}


def upstreams(config: ResolverConfig, workers: Iterable[Post]) -> list[dict[str, Any]]:
    """Return every upstream: whether ordinary names are asked of it, which forwarded zones, and how it is: the worst
    that a worker says, the shortest round trip in milliseconds, what is wrong in words."""
    routes = Routes(config)
    workers = list(workers)
    found: list[dict[str, Any]] = []
    for number, server in enumerate(routes.servers):
        told = [post.upstreams[number] for post in workers if number < len(post.upstreams)]
        found.append(
            {
                "name": str(server),
                "ordinary": number in routes.ordinary.servers,
                "zones": [one.title for one in routes.all() if one.forwarded and number in one.servers][:MAX_ZONES],
                "state": max((state for state, _, _ in told), key=_STATES.index, default=_STATES[0]),
                "ms": min((took for _, took, _ in told if took), default=0),
                "trouble": next((trouble for _, _, trouble in told if trouble), ""),
            }
        )
    return found


def troubles(config: ResolverConfig, workers: Iterable[Post]) -> dict[str, str]:
    """Return what is wrong, in a sentence, by `upstream NUMBER`; empty: nothing that needs a person."""
    found: dict[str, str] = {}
    for number, one in enumerate(upstreams(config, workers), 1):
        name, trouble = one["name"], one["trouble"]
        if one["state"] == LOOPS:
            trouble = "it leads back to this resolver, and is left out: let it forward elsewhere"
        found[f"upstream {number}"] = f"{name}: {trouble}" if trouble else ""
    return found


def processes(posts: Iterable[Post]) -> list[dict[str, Any]]:
    """Return who runs now; `version` is None for those that serve none."""
    return [
        {
            "name": post.name,
            "pid": post.child.pid,
            "ready": post.ready,
            "version": post.serving[0] if post.serving else None,
        }
        for post in posts
        if post.child is not None
    ]
