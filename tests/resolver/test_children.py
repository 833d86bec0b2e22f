"""Posts and who fills them: back-off, counters, silence, and what a swap waits for."""

from __future__ import annotations

import os
import selectors
import socket
import time

from resolver.children import Child, Post, Role, receive, send
from resolver.processes.staff import Staff
from resolver.processes.swap import Swap
from tests.resolver.fake_portal import until
from tests.resolver.node import alive, none_alive


def _child(started: float) -> Child:
    ours, theirs = socket.socketpair()
    theirs.close()
    return Child(0, ours, started)


def test_who_dies_repeatedly_is_replaced_with_growing_waits_up_to_a_limit() -> None:
    post = Post(Role.WORKER)
    waits = []
    for _ in range(12):
        post.filled(_child(10.0))
        waits.append(post.vacated(10.5))
    assert waits[:5] == [0, 0, 0.1, 0.2, 0.4]
    assert max(waits) == waits[-1] == 15
    post.filled(_child(10.0))
    assert post.vacated(20.0) == 0  # lived long: that was no start-up failure


def test_counters_of_the_dead_still_count() -> None:
    post = Post(Role.WORKER)
    for _ in range(2):
        post.filled(_child(0.0))
        post.counters = {"queries": 5, "inflight": 2}
        post.vacated(9.0)
    post.counters = {"queries": 1, "inflight": 1}
    assert (post.total("queries"), post.total("inflight")) == (11, 1)


def test_who_says_nothing_for_too_long_is_killed() -> None:
    worker, helper, starting = Post(Role.WORKER), Post(Role.SUBSCRIPTION), Post(Role.WORKER, 1)
    selector = selectors.DefaultSelector()
    staff = Staff([worker, helper, starting], selector, lambda *_: None, lambda *_: None)
    try:
        for post in staff.posts:
            staff.fill(post, lambda _, lifeline: len(os.read(lifeline, 1)))
            assert post.child is not None
        pids = [post.child.pid for post in staff.posts if post.child]
        now = time.monotonic()
        worker.heard_at = helper.heard_at = now
        staff.check_silence(now + 9)
        staff.check_silence(now + 11)
        until(lambda: not alive(pids[0]))
        staff.reap(now + 11)
        assert (worker.child, helper.ready) == (None, True)
        staff.check_silence(now + 61)
        until(lambda: not alive(pids[1]))
        assert alive(pids[2])
    finally:
        staff.close()
        selector.close()
    assert none_alive(pids)


def test_a_swap_waits_for_each_worker_and_kills_only_those_that_were_told() -> None:
    posts = [Post(Role.WORKER, number) for number in range(3)]
    for post, started in zip(posts, (1.0, 1.0, 10.2), strict=True):
        post.filled(_child(started))
    posts[0].serving = (2, "b")
    swap = Swap(2, "b", 10.0, 0.5)
    assert swap.waiting(posts) == posts[1:]
    assert swap.overdue(posts, 10.4) == []
    assert swap.overdue(posts, 10.6) == [posts[1]]
    assert not swap.hopeless(11.0) and swap.hopeless(60.0)
    for post in posts:
        assert post.child is not None
        post.child.channel.close()


def test_messages_cross_whole_and_what_is_none_is_empty() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        other.setblocking(False)
        assert send(one, {"do": "swap", "version": 2}) and send(one, {})
        assert [receive(other), receive(other)] == [{"do": "swap", "version": 2}, {}]
        for junk in (b"[1]", b"\xff", b"{"):
            one.send(junk)
            assert receive(other) == {}
        one.shutdown(socket.SHUT_WR)
        assert receive(other) is None
        assert not send(one, {"too": "late"})
