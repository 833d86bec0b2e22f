"""What must be true after a kill loop, as functions over what was found. Each returns what is wrong, in sentences.

`kill_log.py` does the same for the query logs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

APPROVED, REVOKED = "request.decision.approve", "grant.grant.revoke"


def decisions(events: Iterable[Mapping[str, Any]], approved: Collection[int], revoked: Collection[int]) -> list[str]:
    """Compare the audit's events with what was decided, by request and by grant: none lost, twice or invented."""
    found: dict[str, Counter[int]] = {APPROVED: Counter(), REVOKED: Counter()}
    for event in events:
        if event["tag"] in found:
            found[event["tag"]][int(str(event["subject"]).rpartition(":")[2])] += 1
    wrong = []
    for tag, wanted in ((APPROVED, set(approved)), (REVOKED, set(revoked))):
        wrong += [f"{tag} of {number} is not in the audit" for number in sorted(wanted - set(found[tag]))]
        wrong += [f"{tag} of {number} was never decided" for number in sorted(set(found[tag]) - wanted)]
        wrong += [f"{tag} of {number} stands there {times} times" for number, times in found[tag].items() if times > 1]
    return wrong


def grants(found: Mapping[int, Sequence[Any]]) -> list[str]:
    """Every approved request has one grant. `found`: request -> its grants."""
    return [f"request {number} has {len(its)} grants" for number, its in found.items() if len(its) != 1]


def convergence(nodes: Sequence[Mapping[str, Any]], statuses: Sequence[Mapping[str, Any]], newest: int) -> list[str]:
    """Every node has acknowledged the newest version, and every worker of each serves it. `nodes`: as the portal sees
    them; `statuses`: as each node says itself."""
    wrong = [f"{node['name']} acknowledged {node['acked']}, not {newest}" for node in nodes if node["acked"] != newest]
    wrong += [f"{node['name']} is behind" for node in nodes if node["behind"]]
    wrong += [f"{one['node']} serves {one['version']}, not {newest}" for one in statuses if one["version"] != newest]
    wrong += [
        f"{one['node']} has {one['workers_ready']} of {one['workers']} workers ready"
        for one in statuses
        if one["workers_ready"] != one["workers"]
    ]
    if len(nodes) != len(statuses):
        wrong.append(f"the portal knows {len(nodes)} nodes of {len(statuses)}")
    return wrong
