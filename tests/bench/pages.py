"""Every page of a big district, timed on the server: `python -m tests.bench.pages` (two to three minutes).

300 groups, 2,000 accounts, 5,000 grants, 200,000 audit events on SQLite. The pages are those of the route table, so a
new one cannot be left out: a page with a part in its path that `FILLED` does not know stops the bench. Prints wall
time and the server's own processor time (the whole process without the client's thread) for each, and for each preview
of a change; then the slowest against the bar.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from sqlmodel import select

from portal.access import SYSTEM
from portal.app import prepare
from portal.database import transaction
from portal.models.people import User
from portal.models.words import Role
from portal.outbox import record_change
from portal.people import accounts, sessions
from portal.people.accounts import TokenDraft
from portal.people.sessions import user_actor
from tests.bench import big_district
from tests.portal.gatehouse import Served, config_in, free_port, serving
from tests.portal.test_routes import PAGES, endpoints

ROUNDS = 30
PAGE_BAR, PREVIEW_BAR = 150.0, 500.0  # ms, p95
FILLED = {
    "/grants/{number}": "2500",
    "/desk/{number}": "21",
    "/requests/{number}": "40",
    "/changes/{number}": "30",
    "/people/{number}": "1000",
    "/lists/updates/{number}": "1",
    "/platforms/{year}": "2026-27",
    "/platforms/{year}/new": "2026-27",
    "/platforms/{year}/register": "2026-27",
    "/platforms/{year}/{number}": "2026-27 20",
    "/services/{service}": "instagram",
    "/district/groups/{key:path}": "school-5/students",
}
QUERIES = {
    "/explain": ("", "name=tiktok.com&client=10.5.0.7"),
    "/why": ("", "name=tiktok.com&group=school-5/students"),
    "/desk": ("", "show=all"),
    "/requests/check": ("tool=tiktok.com",),
    "/audit": ("", "tag=grant", "tag=lever"),
    "/set-up/sites": ("", "client=10.5.0.7"),
    "/district": ("", "find=staff", "from=200", "sort=networks"),
    "/district/groups/new": ("site=school-5&audience=staff",),
    "/grants": ("", "status=in-window", "sort=until"),
    "/people": ("", "find=person"),
    "/lists": ("", "name=tiktok.com"),
    "/signals": ("", "days=30"),
}
# Not pages that somebody waits for: programs' own, files, streams, and what is there only on some day.
LEFT = re.compile(
    r"/api/|/healthz|/metrics|/readyz|.*/events$|.*\.(csv|css|png)$|/restored$|/sign-in/(code|oidc).*|/(platforms)?$"
)
CHIEFS = (Role.ADMINISTRATOR, Role.REVIEWER, Role.AUDITOR, Role.REQUESTER, Role.DESIGNEE)
CHANGES = (
    {"scope": "district/students", "thing": "category/messaging", "say": "allow"},
    {"scope": "district/students", "thing": "service/instagram", "say": "block"},
    {"scope": "level/high/students", "thing": "category/social-media", "say": "allow"},
)


@dataclass(frozen=True)
class Figure:
    what: str
    median: float  # ms, wall
    p95: float
    processor: float  # ms, median
    kilobytes: float


def paths(served: Served) -> list[str]:
    """Every page of the route table, with its queries. Raises `LookupError` for a part of a path nobody filled."""
    found = []
    for row in sorted(endpoints(served.app)):
        method, _, path = row.partition(" ")
        if method != "GET" or LEFT.match(path):
            continue
        if row not in PAGES:
            raise LookupError(f"{row} is no page of the route table")
        if "{" in path and path not in FILLED:
            raise LookupError(f"say in FILLED what stands for the part of {path}")
        parts = iter(FILLED.get(path, "").split(" "))
        whole = re.sub(r"{[^}]+}", lambda _, given=parts: next(given), path)
        found += [f"{whole}?{query}" if query else whole for query in QUERIES.get(path, ("",))]
    return found


@contextmanager
def district(folder: Path) -> Iterator[tuple[Served, httpx.Client, httpx.Client]]:
    """The district, served, with the browser of its administrator and reviewer, and a client of the API."""
    config = replace(config_in(folder, free_port()), demo=True)
    engine = prepare(config)
    try:
        with serving(config, engine) as served:
            while httpx.get(f"{served.url}/readyz").status_code != 200:
                time.sleep(0.1)
            with transaction(engine) as session:
                user = next(one for one in session.exec(select(User)) if Role.ADMINISTRATOR in one.roles)
                user.roles = [str(one) for one in CHIEFS]
                session.add(user)
                big_district.fill(session, user_actor(user), served.wired.catalogue)
            with transaction(engine) as session:
                record_change(session, SYSTEM, time.time(), "district.district.update", "district:1", {})
            with transaction(engine) as session:
                signed = sessions.sign_in_demo(session, user.id or 0, time.time(), 1, True)
                draft = TokenDraft("bench", Role.ADMINISTRATOR, machine=False)
                secret = accounts.create_token(session, user_actor(user), time.time(), draft).secret
            bearer = {"Authorization": f"Bearer {secret}"}
            with (
                httpx.Client(base_url=served.url, cookies={sessions.COOKIE: signed.secret}, timeout=60) as browser,
                httpx.Client(base_url=served.url, headers=bearer, timeout=60) as program,
            ):
                browser.headers["X-CSRF-Token"] = signed.csrf
                yield served, browser, program
    finally:
        engine.dispose()


def timed(what: str, ask: Callable[[], httpx.Response], rounds: int) -> Figure:
    walls, processors = [], []
    answer = ask()
    if answer.status_code != 200:
        raise RuntimeError(f"{what}: {answer.status_code} {answer.text[:300]}")
    for _ in range(rounds):
        whole, mine, began = time.process_time(), time.thread_time(), time.perf_counter()
        answer = ask()
        walls.append((time.perf_counter() - began) * 1000)
        processors.append((time.process_time() - whole - (time.thread_time() - mine)) * 1000)
    p95 = statistics.quantiles(walls, n=20)[-1]
    found = Figure(what, statistics.median(walls), p95, statistics.median(processors), len(answer.content) / 1024)
    print(
        f"{what:58} p50 {found.median:7.1f}  p95 {p95:7.1f}  cpu {found.processor:6.1f} ms  {found.kilobytes:6.0f} kB",
        flush=True,
    )
    return found


def _previews(browser: httpx.Client, program: httpx.Client, rounds: int) -> list[Figure]:
    group = {"site": "school-5", "audience": "students", "networks": ["10.5.0.0/24"], "blocks": ["messaging"]}
    asked = []
    for line in CHANGES:
        body = {"lines": [line]}
        what = f"preview of a change: {line['thing']} for {line['scope']}"
        asked.append(
            timed(what, lambda body=body: program.post("/api/v1/changes/preview", json=body), rounds)  # type: ignore[misc]
        )
    typed = {**group, "action": "preview", "csrf": browser.headers["X-CSRF-Token"], "revision": "1"}
    url = "/district/groups/school-5/students"
    return [*asked, timed("preview of a group", lambda: browser.post(url, data=typed), rounds)]


def _worst(what: str, figures: list[Figure], bar: float) -> None:
    slowest = max(figures, key=lambda one: one.p95)
    heaviest = max(figures, key=lambda one: one.processor)
    verdict = "within" if slowest.p95 <= bar else "ABOVE"
    print(
        f"{what}: {len(figures)} timed; slowest p95 {slowest.p95:.0f} ms ({slowest.what}), {verdict} the bar of"
        f" {bar:.0f} ms; most processor time {heaviest.processor:.0f} ms ({heaviest.what})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pages whose address has this")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, district(Path(folder)) as (served, browser, program):
        wanted = [path for path in paths(served) if told.only in path]
        pages = []
        for path in wanted:
            who = program if path == "/sign-in" else browser  # a browser that is signed in is sent on from there
            pages.append(timed(path, lambda who=who, path=path: who.get(path), told.rounds))  # type: ignore[misc]
        _worst("pages", pages, PAGE_BAR)
        if not told.only:
            _worst("previews", _previews(browser, program, told.rounds), PREVIEW_BAR)


if __name__ == "__main__":
    main()
