"""Random numbers drawn by the page."""

from __future__ import annotations

import pytest

from resolver import chance
from resolver.chance import Chance


def test_every_octet_of_a_page_is_used_once_and_then_another_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [bytes(range(256)) * 4, b"\xff" * 1024]
    monkeypatch.setattr(chance.os, "urandom", lambda size: pages.pop(0)[:size])
    one = Chance()
    assert [one.draw() for _ in range(2)] == [0x00010203, 0x04050607]
    rest = [one.draw() for _ in range(254)]
    assert rest[-1] == 0xFCFDFEFF
    assert one.draw() == 0xFFFFFFFF


def test_two_of_them_draw_different_numbers() -> None:
    first, second = Chance(), Chance()
    assert [first.draw() for _ in range(4)] != [second.draw() for _ in range(4)]
