"""Who is heard when: everybody in every round, a crowd in short turns, each of it before any has a second turn."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from resolver import poller as module
from resolver.poller import READ, Poller


@pytest.fixture
def pipes() -> Iterator[list[int]]:
    """Reading ends that can be read, and stay so."""
    made = [os.pipe() for _ in range(40)]
    for _, written in made:
        os.write(written, b"x")
    yield [read for read, _ in made]
    for pair in made:
        for one in pair:
            os.close(one)


@pytest.fixture
def poller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Poller]:
    monkeypatch.setattr(module, "TURN", 0.0)  # one callback a turn
    made = Poller()
    yield made
    made.close()


def test_whoever_is_not_of_the_crowd_is_heard_between_any_two_that_are(poller: Poller, pipes: list[int]) -> None:
    heard: list[int] = []
    poller.watch(pipes[0], READ, lambda mask: heard.append(pipes[0]))
    for pipe in pipes[1:]:
        poller.crowd.watch(pipe, READ, lambda mask, pipe=pipe: heard.append(pipe))  # type: ignore[misc]
    for _ in range(2 * len(pipes)):
        poller.wait(0)
    assert heard[::2] == [pipes[0]] * (2 * len(pipes))
    assert set(heard[1::2]) == set(pipes[1:])


def test_each_of_the_crowd_has_its_turn_before_any_has_a_second_one(poller: Poller, pipes: list[int]) -> None:
    heard: list[int] = []
    for pipe in pipes:
        poller.crowd.watch(pipe, READ, lambda mask, pipe=pipe: heard.append(pipe))  # type: ignore[misc]
    for _ in range(len(pipes)):
        poller.wait(0)
    assert sorted(heard) == sorted(pipes)


def test_who_left_something_to_do_is_called_again_though_nothing_can_be_read(poller: Poller, pipes: list[int]) -> None:
    masks: list[int] = []
    poller.crowd.watch(pipes[0], 0, masks.append)
    poller.crowd.again(pipes[0])
    poller.crowd.again(pipes[1])  # nobody watches it any more
    while poller.wait(0):
        pass
    assert masks == [0]


def test_what_was_taken_away_within_a_round_is_not_called(poller: Poller, pipes: list[int]) -> None:
    heard: list[int] = []

    def first(mask: int) -> None:
        heard.append(mask)
        for pipe in pipes[:2]:
            poller.unwatch(pipe)

    for pipe in pipes[:2]:
        poller.watch(pipe, READ, first)
    poller.wait(0)
    assert len(heard) == 1
