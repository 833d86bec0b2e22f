"""The kill loop's judges, with each forbidden thing planted: they say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from blocklists.base import Base, ListKind
from blocklists.compile import Source, compile_base
from blocklists.decide import decide
from blocklists.names import to_wire
from blocklists.policy import Category, Entry, Grant, Group, Match, Policy, Window
from blocklists.snapshot import Snapshot, make_snapshot
from resolver.log.querylog import Record
from tests.flows import kill_checks, kill_log

GROUP = "edison/students"
NAME = "instagram.com"
START = 1_800_000_000.0
BASE = Base(memoryview(compile_base([Source("social", "Social", "social", ListKind.LIST, [NAME])])), "0" * 64)


class Versions:
    """Version 1 blocks NAME, version 2 opens it, version 3 blocks it again."""

    def __init__(self) -> None:
        self._of = {version: snapshot(version, opens=version == 2) for version in (1, 2, 3)}

    def of(self, version: int) -> Snapshot | None:
        return self._of[version]

    def __len__(self) -> int:
        return len(self._of)


def snapshot(version: int, opens: bool) -> Snapshot:
    raise NotImplementedError
