"""The short form of `make model`."""

from __future__ import annotations

from tests.resolver import wire_model


def test_the_running_engine_and_the_naive_model_agree_on_every_question() -> None:
    assert wire_model.run(policies=30, questions=200) == 30 * 200
