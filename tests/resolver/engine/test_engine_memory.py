"""What an engine remembers never changes what it says: every answer equals that of an engine that forgets all of its
memos before each question. A native twin must pass this too."""

from __future__ import annotations

import dns.edns
import dns.message
from hypothesis import given
from hypothesis import strategies as st

from blocklists.policy import Window
from blocklists.snapshot import Snapshot
from resolver.message import wire
from resolver.message.cookies import Cookies
from tests.resolver.laboratory import CONFIG, NOW, STAFF, STRANGER, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import ask, reply
from tests.support import custom_block, grant

NAMES = (
    "facebook.com",
    "www.facebook.com",
    "x.fbcdn.net",
    "tool.example",
    "open.example",
    "nothing.example",
    "a.onion",
)
ANSWERS = {
    "facebook.com": ("facebook.com. 90 CNAME x.fbcdn.net.", "x.fbcdn.net. 20 A 192.0.2.1"),
    "www.facebook.com": ("www.facebook.com. 7 A 192.0.2.2", "www.facebook.com. 7 A 192.0.2.3"),
    "x.fbcdn.net": ("x.fbcdn.net. 20 A 192.0.2.1",),
    "tool.example": ("tool.example. 50 CNAME x.fbcdn.net.", "x.fbcdn.net. 20 A 192.0.2.1"),
    "open.example": ("open.example. 3 A 192.0.2.4",),
}
SNAPSHOTS: tuple[Snapshot, ...] = (
    make_snapshot_of(),
    make_snapshot_of(version=2, grants=(grant(1, "facebook.com", "~fbcdn.net", window=Window(0, int(NOW) + 40)),)),
    make_snapshot_of(
        version=3,
        grants=(grant(2, "www.facebook.com", window=Window(int(NOW) + 15, int(NOW) + 25)),),
        blocks=(custom_block(1, "open.example"),),
    ),
)

WHOLE = Cookies((), CONFIG.cookie_seed).make(b"12345678", b"\x0a\1\0\7", NOW)  # the student's

QUESTIONS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(("A", "A", "A", "AAAA", "ANY")),
    st.sampled_from((STUDENT, STUDENT, STAFF, STRANGER)),
    st.booleans(),  # upper case
    st.sampled_from(("plain", "edns", "do", "small", "cookie", "whole cookie")),
    st.booleans(),  # TCP
    st.sampled_from((0.0, 0.0, 0.0, 0.4, 1.0, 2.7, 11.0)),  # seconds since the question before
)
STEPS = st.lists(st.one_of(QUESTIONS, QUESTIONS, QUESTIONS, QUESTIONS, st.sampled_from((0, 1, 2))), max_size=60)


def query(name: str, qtype: str, upper: bool, kind: str) -> bytes:
    text = name.upper() if upper else name
    match kind:
        case "plain":
            return ask(text, qtype)
        case "edns":
            return ask(text, qtype, use_edns=0, payload=1232)
        case "do":
            return ask(text, qtype, use_edns=0, want_dnssec=True, flags=wire.RD | wire.AD)
        case "small":
            return ask(text, qtype, use_edns=0, payload=512)
    given = b"12345678" if kind == "cookie" else WHOLE
    return ask(text, qtype, use_edns=0, options=[dns.edns.GenericOption(10, given)])


def answer(laboratory: Laboratory, data: bytes, client: str, tcp: bool) -> bytes:
    """What the client gets in the end, upstream included."""
    laboratory.late.clear()
    replies = laboratory.feed(data, client=client, tcp=tcp)
    if replies:
        return replies[0]
    serial, _, message, _ = laboratory.sent.pop()
    question = dns.message.from_wire(message).question[0]
    name = str(question.name).lower().rstrip(".")
    records = ANSWERS.get(name, ()) if question.rdtype == 1 else ()
    zone = name.partition(".")[2]
    soa = () if records else (f"{zone}. 5 SOA a. b. 1 1 1 1 5",)
    rcode = "NXDOMAIN" if name == "nothing.example" else "NOERROR"
    laboratory.raw_upstream(reply(message, *records, authority=soa, rcode=rcode), serial)
    return laboratory.late[0]


@given(STEPS)
def test_a_memory_never_changes_an_answer(steps: list[object]) -> None:
    remembering = Laboratory(SNAPSHOTS[0], memo_entries=16)
    forgetting = Laboratory(SNAPSHOTS[0])
    for step in steps:
        if isinstance(step, int):
            for one in (remembering, forgetting):
                one.engine.install(SNAPSHOTS[step])
            continue
        name, qtype, client, upper, kind, tcp, pause = step  # type: ignore[misc]
        data = query(name, qtype, upper, kind)
        remembering.now += pause
        forgetting.now += pause
        forgetting.engine._judge.start_over()
        forgetting.engine._forget_clients()
        expected = answer(forgetting, data, client, tcp)
        for _ in range(3):
            assert answer(remembering, data, client, tcp) == expected
