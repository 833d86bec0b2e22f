"""The node's figures for Prometheus, in a process of its own: what the supervisor and the log writer already know.

A scrape asks the supervisor over the control socket and reads `sight.json`; no worker is asked anything, so the hot
path does not notice. Every family of a worker comes twice: `schoolgate_worker_…` for each worker, and `schoolgate_…`
for the node, replaced workers included. Names and labels are documented in `docs/metrics.md`; no client is in them.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from resolver.children import receive, send
from resolver.config import Endpoint
from resolver.log import tally
from resolver.processes.control import ControlFailed, NotRunning, ask

HEARD_EVERY = 5.0  # seconds between two words to the supervisor
_PAGE = os.sysconf("SC_PAGESIZE")

# Counter of a worker -> (family, what it is, label value). Families with a label: verdict, cache, transport, event.
_LABELS = {"verdicts": "verdict", "cache_hits": "cache", "transport_queries": "transport", "events": "event"}
_COUNTERS = {
    "queries": ("queries_seen", "Questions that arrived", ""),
    "allowed": ("verdicts", "Questions by what was decided", "allow"),
    "blocked": ("verdicts", "Questions by what was decided", "block"),
    "memo_hits": ("cache_hits", "Questions that were answered at once", "finished"),
    "cache_hits": ("cache_hits", "Questions that were answered at once", "upstream"),
    "upstream_sent": ("upstream_tries", "Tries sent to upstreams", ""),
    "upstream_failed": ("upstream_failures", "Tries that no upstream answered well", ""),
}
_STREAMS = ("tcp", "dot", "doh")  # counted apart by workers; what is left of `queries` came over UDP
_GAUGES = {
    "inflight": ("inflight", "Questions that wait for upstream now"),
    "cache_entries": ("cache_entries", "Upstream answers that are kept"),
    "cache_bytes": ("cache_bytes", "Estimated memory of the upstream answers that are kept"),
    "memo_entries": ("finished_entries", "Finished answers that are kept"),
}


class NodeCollector(Collector):
    """Makes the families anew for every scrape of the node whose state folder is `state`."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask a node that is still starting."""
        return ()

    def collect(self) -> Iterator[Metric]:
        status: Mapping[str, Any] | None = None
        with contextlib.suppress(NotRunning, ControlFailed, OSError):
            status = ask(self._state, {"do": "status"}, timeout=2.0)
        yield _gauge("schoolgate_node_answers", "1 when the supervisor answered this scrape", float(status is not None))
        if status is not None:
            yield from node_families(status)
        plain = tally.read(self._state)
        if plain is not None:
            yield from tally_families(plain)


def node_families(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Return what the supervisor's status says, as families."""
    yield _gauge("schoolgate_policy_version", "Version that every worker serves; 0: none", status["version"] or 0)
    yield _gauge("schoolgate_workers", "Workers there should be", status["workers"])
    yield _gauge("schoolgate_workers_ready", "Workers that answer", status["workers_ready"])
    workers = {str(one["number"]): one["counters"] for one in status["by_worker"]}
    yield from _counted("schoolgate_worker", workers)
    yield from _counted("schoolgate", {"": status["counters"]})
    served = GaugeMetricFamily("schoolgate_worker_policy_version", "Version that it serves; 0: none", labels=["worker"])
    for one in status["by_worker"]:
        served.add_metric([str(one["number"])], one["version"] or 0)
    yield served
    memory = GaugeMetricFamily("schoolgate_process_memory_bytes", "Resident memory", labels=["process"])
    for process in status["processes"]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{process['pid']}/statm").read_text().split()[1])
            memory.add_metric([process["name"]], pages * _PAGE)
    yield memory
    records = CounterMetricFamily("schoolgate_query_log_records", "Records of the query log", labels=["fate"])
    for fate, count in sorted(status["query_log"].items()):
        records.add_metric([fate], count)
    yield records


def _counted(prefix: str, counters: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    """Families for these counters by worker; the worker `""` is the whole node, and gets no label."""
    families: dict[str, CounterMetricFamily] = {}

    def add(worker: str, family: str, about: str, value: str, count: int) -> None:
        whose = ["worker"] if worker else []
        kind = [_LABELS[family]] if family in _LABELS else []
        if family not in families:
            families[family] = CounterMetricFamily(f"{prefix}_{family}", about, labels=whose + kind)
        families[family].add_metric(([worker] if worker else []) + ([value] if kind else []), count)

    for worker, counts in counters.items():
        streams = {name: counts[name] for name in _STREAMS if name in counts}
        over_udp = counts.get("queries", 0) - sum(streams.values())
        for name, count in {"udp": over_udp, **streams}.items():
            add(worker, "transport_queries", "Questions by transport", name, count)
        for name, count in sorted(counts.items()):
            if name in _COUNTERS:
                add(worker, *_COUNTERS[name], count)
            elif name not in _GAUGES and name not in _STREAMS:
                add(worker, "events", "What else was counted, by the counter's name", name, count)
    yield from families.values()
    for name, (family, about) in _GAUGES.items():
        gauge = GaugeMetricFamily(f"{prefix}_{family}", about, labels=["worker"] if "" not in counters else [])
        for worker, counts in counters.items():
            if name in counts:
                gauge.add_metric([worker] if worker else [], counts[name])
        yield gauge


def tally_families(plain: Mapping[str, Any]) -> Iterator[Metric]:
    """Return what the log writer counted, as families."""
    labels = ["group", "action", "reason", "category", "type"]
    queries = CounterMetricFamily("schoolgate_queries", "Questions that were decided", labels=labels)
    for *key, count in plain["totals"]:
        queries.add_metric([str(part) for part in key], count)
    yield queries
    buckets: list[tuple[str, float]] = []
    total = 0
    for limit, count in zip((*map(str, tally.BUCKETS), "+Inf"), plain["waited"], strict=False):
        total += count
        buckets.append((limit, total))
    about = "How long askers waited for upstream"
    yield HistogramMetricFamily("schoolgate_upstream_wait_seconds", about, buckets, plain["waited_sum"])


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value)


def run(state: Path, endpoint: Endpoint, channel: socket.socket, lifeline: int) -> int:
    """Answer scrapes at `endpoint` until the supervisor says `drain` or is gone. Raises `OSError`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(state))
    server, _ = start_http_server(endpoint.port, endpoint.address, registry)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    while True:
        send(channel, {"did": "status"})
        ready = [number for number, _ in poll.poll(HEARD_EVERY * 1000)]
        if lifeline in ready:
            break
        if channel.fileno() in ready:
            message = receive(channel)
            if message is None or message.get("do") == "drain":
                break
    server.shutdown()
    return 0
