"""The short form of `make model`."""

from __future__ import annotations

from tests.resolver import wire_model


def test_the_running_worker_and_the_naive_model_agree_on_every_question_over_udp() -> None:
    assert wire_model.run(policies=15, questions=300) == 15 * 300
