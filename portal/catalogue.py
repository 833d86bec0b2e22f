"""What the services ask of the compiled lists. `evidence.py` answers from the current base; tests from a dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Catalogue(Protocol):
    def locked(self, name: str) -> str | None:
        """Return the title of the locked category that holds the canonical `name` now (corrections considered), or
        None when a request can open it."""

    def lists(self) -> Mapping[str, str]:
        """Return list id -> category id of every list and service bundle in the current base."""
