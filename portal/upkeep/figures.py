"""The portal's own figures for Prometheus: requests by state, nodes, versions, how long decisions travel, list ages.

Read from the database and the current snapshot at each scrape. Counts only: no person, no name, no client. Names are
documented in `docs/metrics.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import func
from sqlmodel import Session, col, select

from blocklists.base import ListInfo
from portal.lists import builds, sources
from portal.lists.bases import current_base
from portal.models.alerts import AlertKind
from portal.models.delivery import Delivery, Node, PolicyVersion
from portal.models.requests import Request
from portal.models.words import State
from portal.nodes import delivery
from portal.nodes.publication import newest_version
from portal.upkeep import alerts, mail

RECENT = 200  # acknowledgements that the latency is taken over
QUANTILES = (0.5, 0.95, 1.0)


def families(session: Session, lists: Iterable[ListInfo], trouble: str | None, now: float) -> Iterator[Metric]:
    """Return every family. `lists`: of the current base; `trouble`: why publishing fails; `now` in seconds."""
    yield _gauge("schoolgate_portal_publishing", "0 while decisions cannot be published", float(trouble is None))
    newest = newest_version(session)
    yield _gauge("schoolgate_portal_policy_version", "Newest published version", newest.version if newest else 0)
    counted = dict(session.exec(select(Request.state, func.count()).group_by(col(Request.state))).all())
    requests = {str(state): float(counted.get(state, 0)) for state in State}
    yield _by("schoolgate_portal_requests", "Requests by state", "state", requests)
    yield _by("schoolgate_portal_nodes", "Resolvers by state", "state", _nodes(session, now))
    open_ = Counter(one.kind for one in alerts.current(session))
    alerted = {str(kind): float(open_[kind]) for kind in AlertKind}
    yield _by("schoolgate_portal_alerts", "Alerts that are not over, by kind", "kind", alerted)
    outbox = mail.standing(session)
    mails = {"waiting": outbox.waiting, "sent": outbox.sent, "given-up": outbox.given_up}
    yield _by("schoolgate_portal_mail", "Mail of alerts in the last 90 days, by state", "state", mails)
    about = "From a decision's commit to a resolver's acknowledgement, over the newest acknowledgements"
    yield _by("schoolgate_portal_publication_latency_seconds", about, "quantile", _latency(session))
    base = current_base(session)
    age = {} if base is None else {"": max(0.0, now - base.created_at)}
    yield _by("schoolgate_portal_base_age_seconds", "Since the base was compiled", "", age)
    ages = {one.id: max(0.0, now - one.fetched_at) for one in lists if one.fetched_at}
    yield _by("schoolgate_portal_list_age_seconds", "Since a blocklist was fetched", "list", ages)
    yield from _fetching(session, now)


def _fetching(session: Session, now: float) -> Iterator[Metric]:
    """How fetching goes, for the lists that are on."""
    views = [view for view in sources.sources(session, now) if view.enabled]
    about = "Failed attempts to bring a list that is on, since it last came; 0: it came"
    family = GaugeMetricFamily("schoolgate_portal_list_failures", about, labels=("list", "code"))
    for view in views:
        family.add_metric((view.id, view.error_code), view.failures)
    yield family
    rejected = {view.id: float(view.rejected) for view in views}
    yield _by("schoolgate_portal_list_rejected_lines", "Lines that were rejected when it last came", "list", rejected)
    held = float(builds.held(session) is not None)
    yield _gauge("schoolgate_portal_update_held", "1 while an update of the lists waits for an administrator", held)


def _nodes(session: Session, now: float) -> dict[str, float]:
    found = {"up-to-date": 0.0, "behind": 0.0, "silent": 0.0}
    for view in delivery.node_views(session):
        silent = view.last_seen_at is None or now - view.last_seen_at > delivery.SILENT
        found["silent" if silent else "behind" if view.behind else "up-to-date"] += 1
    return found


def _latency(session: Session) -> dict[str, float]:
    """Nodes that enrolled after the decision got it late by no fault of delivery: they do not count."""
    rows = session.exec(
        select(Delivery.acked_at_ms, PolicyVersion.decided_at_ms)
        .join(PolicyVersion, col(PolicyVersion.version) == col(Delivery.version))
        .join(Node, col(Node.id) == col(Delivery.node_id))
        .where(col(Delivery.acked_at_ms).is_not(None), col(Node.enrolled_at) * 1000 <= col(PolicyVersion.decided_at_ms))
        .order_by(col(Delivery.id).desc())
        .limit(RECENT)
    ).all()
    took = sorted(max(0, acked - decided) / 1000 for acked, decided in rows if acked is not None)
    return {str(share): quantile(took, share) for share in QUANTILES} if took else {}


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value at or below which `share` of `ordered` lies (nearest rank)."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value)


def _by(name: str, about: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=[label] if label else [])
    for value, number in values.items():
        family.add_metric([value] if label else [], number)
    return family
