"""A portal that is killed while decisions are in flight: each one happened whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlmodel import select

from portal import audit
from portal.database import reading
from portal.models.audit import AuditEvent
from portal.models.delivery import Publication
from portal.models.levers import GrantRow
from portal.models.requests import Request
from portal.models.words import State
from tests.portal.frontdesk import Desk

DECIDER = """
import sys
from portal.desk import requests
from portal.people import accounts, sessions
from portal.database import connect, transaction
from portal.desk.requests import Draft
from portal.desk.tools import ToolDraft
from portal.desk.workflow import Event
from tests.portal.frontdesk import LISTS, NOW, actor

engine = connect(sys.argv[1])
with transaction(engine) as session:
    tess, rosa = (actor(session, f"{name}@riverbend.example") for name in ("tess.okafor", "rosa.diaz"))
while True:
    with transaction(engine) as session:
        number = requests.submit(session, tess, NOW, Draft((ToolDraft("flickr.com"),), "posters")).id
    print(number, flush=True)
    with transaction(engine) as session:
        requests.decide(session, rosa, NOW, number, 1, Event.APPROVE, "", None, LISTS)
    print(number, flush=True)
"""


def test_a_kill_loses_no_decision_and_leaves_none_half_done(desk: Desk) -> None:
    url = desk.engine.url.render_as_string(hide_password=False)
    root = Path(__file__).parents[3]
    told: list[int] = []
    for lines in (1, 2, 3, 6, 9, 14):
        command = [sys.executable, "-c", DECIDER, url]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as decider:
            assert decider.stdout is not None
            told += [int(decider.stdout.readline()) for _ in range(lines)]
            decider.kill()
    with reading(desk.engine) as session:
        approved = set(session.exec(select(Request.id).where(Request.state == State.APPROVED)))
        granted = [row.request_id for row in session.exec(select(GrantRow))]
        events = [
            event.subject
            for event in session.exec(select(AuditEvent).where(AuditEvent.tag == "request.decision.approve"))
        ]
        asked = [row.because for row in session.exec(select(Publication)) if "decision" in row.because]
        known = set(session.exec(select(Request.id)))
        assert audit.verify(session).sound
    assert {number for number in told if told.count(number) == 2} <= approved
    assert set(told) <= known
    assert sorted(granted) == sorted(approved, key=int)  # type: ignore[arg-type, type-var]
    assert sorted(events) == sorted(f"request:{number}" for number in approved)
    assert sorted(asked) == sorted(f"request.decision.approve request:{number}" for number in approved)
