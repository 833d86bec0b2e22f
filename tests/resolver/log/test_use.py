"""Names of grants in use: noted by the log writer, kept over restarts, told to the portal a piece at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blocklists.policy import Action, ReasonKind
from resolver.log import aggregates, use
from resolver.log.tally import Tally
from tests.resolver.log.test_logwriter import NOON, RECORD
from tests.resolver.log.test_tally import seen

NOW = NOON.timestamp()
TODAY = int(NOW) // use.DAY * use.DAY
GRANTED = replace(RECORD, action=Action.ALLOW, reason=ReasonKind.GRANT, number=7, entry="quiz.example")


def test_the_last_day_of_every_name_that_a_grant_let_through_is_kept(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    counted.take(seen(RECORD, GRANTED, replace(GRANTED, entry="maps.example")), NOW - use.DAY)
    counted.take(seen(GRANTED), NOW)
    counted.write(NOW)
    assert sorted(use.read(tmp_path) or ()) == [(7, "maps.example", TODAY - use.DAY), (7, "quiz.example", TODAY)]
    again = Tally(tmp_path)
    again.take(seen(replace(GRANTED, number=8)), NOW)
    again.write(NOW + use.KEPT - use.DAY)
    assert sorted(use.read(tmp_path) or ()) == [(7, "quiz.example", TODAY), (8, "quiz.example", TODAY)]
    assert RECORD.client not in (tmp_path / use.FILE).read_bytes()


def test_a_flood_of_names_forgets_the_longest_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "MOST", 10)
    noted = use.Use(tmp_path)
    for number in range(11):
        noted.note(1, b"n%d.example" % number, NOW + number * use.DAY)
    noted.write(NOW)
    assert [entry for _, entry, _ in use.read(tmp_path) or ()] == [f"n{number}.example" for number in range(2, 11)]


def test_all_names_come_round_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "MAX_USED", 2)
    counted = Tally(tmp_path)
    assert aggregates.sight(tmp_path, groups=False, used=0) is None
    counted.take(seen(*(replace(GRANTED, entry=f"n{number}.example") for number in range(3))), NOW)
    counted.write(NOW)
    pieces = [aggregates.sight(tmp_path, groups=False, used=piece) for piece in range(3)]
    told = [[one.entry for one in (piece.used or ())] for piece in pieces if piece is not None]
    assert told == [["n0.example", "n1.example"], ["n2.example"], ["n0.example", "n1.example"]]
    quiet = aggregates.sight(tmp_path, groups=True)
    assert quiet is not None and quiet.used is None
