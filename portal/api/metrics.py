"""`/metrics`: this portal's figures, for Prometheus. With the token of a reviewer, an administrator or an auditor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from portal import access
from portal.api.dependencies import READS, Caller
from portal.upkeep import figures
from portal.verdicts.current import NothingPublished
from portal.wiring import Wiring, wiring

router = APIRouter(tags=["health"])


class _Made(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


@router.get("/metrics", responses=READS, response_class=Response)
def metrics(call: Caller, wired: Annotated[Wiring, Depends(wiring)]) -> Response:
    """Prometheus' text format; names in `docs/metrics.md`."""
    access.require(access.may_see_district(call.actor), "Figures are for reviewers, administrators and auditors.")
    try:
        lists = wired.current.get().base.lists
    except NothingPublished:
        lists = ()
    registry = CollectorRegistry(auto_describe=False)
    with call.reading() as session:
        registry.register(_Made(figures.families(session, lists, wired.jobs.trouble, call.now)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
