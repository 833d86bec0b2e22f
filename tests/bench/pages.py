"""Every page of a big district, timed on the server: `python -m tests.bench.pages`.

300 groups, 2,000 accounts, 5,000 grants, 200,000 audit events on SQLite. Prints p50 and p95 in ms for each page.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
from sqlalchemy import insert
from sqlmodel import Session, select

from blocklists.policy import AuthorityKind
from portal import audit, sessions, site_import
from portal.access import SYSTEM
from portal.app import prepare
from portal.database import transaction
from portal.models.audit import AuditEvent
from portal.models.levers import GrantRow
from portal.models.people import User
from portal.models.words import Role
from tests.portal.gatehouse import config_in, free_port, serving

PAGES = (
    "/requests",
    "/desk",
    "/desk?show=all",
    "/grants",
    "/grants/2500",
    "/explain?name=tiktok.com&client=10.5.0.7",
    "/district",
    "/district/groups/school-5/students",
    "/set-up",
    "/set-up/sites?client=10.5.0.7",
    "/brakes",
    "/changes",
    "/exceptions",
    "/corrections",
    "/blocks",
    "/modes",
    "/nodes",
    "/audit",
    "/audit?tag=grant",
)
ROUNDS = 40
NOW = int(time.time())


def fill(session: Session) -> None:
    lines = [
        f"school-{at},School {at},high,{audience},10.{at}.{third}.0/24"
        for at in range(97)
        for third, audience in enumerate(("students", "staff", "guests"))
    ]
    site_import.run(session, SYSTEM, NOW, "\n".join(["site,name,level,audience,networks", *lines]))
    accounts = [
        {"email": f"p{at}@x.example", "name": f"Person {at}", "roles": ["requester"], "demo": True, "created_at": NOW}
        for at in range(2_000)
    ]
    session.execute(insert(User), accounts)
    grants = [
        {
            "authority": AuthorityKind.EXCEPTION,
            "entries": [{"name": f"tool{at}.example", "match": "subtree"}],
            "sites": [f"school-{at % 97}"],
            "audiences": ["students"],
            "starts_at": NOW - 86_400,
            "ends_at": NOW + 86_400 * (1 + at % 90),
            "hours": [],
            "created_by": 1 + at % 3,
            "created_at": NOW,
        }
        for at in range(5_000)
    ]
    session.execute(insert(GrantRow), grants)
    head = session.exec(select(AuditEvent).order_by(AuditEvent.id.desc())).first()  # type: ignore[union-attr]
    assert head is not None and head.id is not None
    events = []
    previous = head.hash
    for at in range(head.id + 1, 200_001):
        row = AuditEvent(
            id=at,
            at_ms=NOW * 1000,
            actor="system",
            actor_name="Schoolgate",
            tag="grant.grant.create",
            subject=f"grant:{at % 5_000}",
            detail={},
            previous=previous,
            hash="",
        )
        previous = row.hash = audit._hash(row)
        events.append(row.model_dump())
    session.execute(insert(AuditEvent), events)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = replace(config_in(Path(folder), free_port()), demo=True)
        engine = prepare(config)
        with transaction(engine) as session:
            fill(session)
        with serving(config, engine) as served:
            while httpx.get(f"{served.url}/readyz").status_code != 200:
                time.sleep(0.1)
            with transaction(engine) as session:
                user = next(one for one in session.exec(select(User)) if Role.ADMINISTRATOR in one.roles)
                signed = sessions.sign_in_demo(session, user.id or 0, time.time(), 1, True)
            with httpx.Client(base_url=served.url, cookies={sessions.COOKIE: signed.secret}, timeout=60) as client:
                for path in PAGES:
                    times = []
                    for _ in range(ROUNDS):
                        began = time.perf_counter()
                        answer = client.get(path)
                        times.append((time.perf_counter() - began) * 1000)
                    assert answer.status_code == 200, (path, answer.status_code)
                    p95 = statistics.quantiles(times, n=20)[-1]
                    size = len(answer.content) / 1024
                    print(
                        f"{path:42} p50 {statistics.median(times):7.1f}  p95 {p95:7.1f} ms  {size:6.0f} kB", flush=True
                    )
        engine.dispose()


if __name__ == "__main__":
    main()
