"""The short form of every fuzz target, and proof that an undeclared exception is seen."""

from __future__ import annotations

import importlib

import pytest

from tests.fuzz import fuzz_policy, mutation
from tests.fuzz.run import TARGETS, main


@pytest.mark.parametrize("target", TARGETS)
def test_a_reader_gives_a_value_or_its_declared_error(target: str) -> None:
    found = importlib.import_module(f"tests.fuzz.fuzz_{target}").run(1_000, 7)
    assert len(found) >= 2  # damage gets far enough to be read now and then


def test_an_undeclared_exception_ends_the_run_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(data: bytes) -> str:
        raise KeyError("surprise")

    monkeypatch.setattr(fuzz_policy, "read", read)
    assert main(["policy", "5"]) == 1
    assert "surprise" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_inputs() -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []

        def read(data: bytes) -> str:
            seen.append(data)
            return "seen"

        mutation.feed(50, mutation.mixed(fuzz_policy.SEEDS, as_json=True), read, seed)
        return seen

    assert inputs(1) == inputs(1) != inputs(2)
