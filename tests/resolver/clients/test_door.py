"""The way between the process that holds TLS and a worker: whole messages, in order, and never a wait."""

from __future__ import annotations

import os
import socket

import pytest

from resolver.clients import door
from resolver.clients.door import BadQuestion, End, read_question, read_reply, sorted_out


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_a_question_and_its_reply_come_as_they_were_sent() -> None:
    question = door.question(7, "doh", "2001:db8::1", "::1", "f" * 64, b"query")
    assert read_question(question) == (7, "doh", ("2001:db8::1", "::1", "f" * 64), b"query")
    assert read_reply(door.reply(2**64 - 1, b"reply")) == (2**64 - 1, b"reply")


def test_what_is_no_question_is_refused_and_passed_over() -> None:
    good = door.question(1, "dot", "10.0.0.1", "10.0.0.53", "", b"q")
    for length in range(len(good) - 1):
        with pytest.raises(BadQuestion):
            read_question(good[:length])
    with pytest.raises(BadQuestion):
        read_question(good[:8] + b"\x09" + good[9:])
    left, right = pair()
    with left, right:
        found = sorted_out([os.urandom(5), good], End(left, lambda _: None))
        ((message, peer),) = found["dot"]
        assert (message, peer[:2]) == (b"q", (("10.0.0.1", "10.0.0.53", ""), -1))
        peer[2].reply(b"answer")
        assert read_reply(right.recv(100)) == (1, b"answer")


def test_what_finds_no_room_waits_in_order_and_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_KEPT", 100_000)
    watched: list[bool] = []
    left, right = pair()
    with left, right:
        end, other = End(left, watched.append), End(right, watched.append)
        sent = 0
        while end.send(sent.to_bytes(4, "big") + bytes(1_000)):
            sent += 1
        assert watched == [True]
        found: list[int] = []
        while len(found) < sent:
            messages = other.take()
            assert messages is not None
            found += [int.from_bytes(one[:4], "big") for one in messages]
            end.flush()
        assert found == list(range(sent))
        assert watched[-1] is False and end.send(b"again")
        left.close()
        assert other.take() == [b"again"]
        assert other.take() is None
