"""Tables that sort without a script: which column, which way, and the links that change it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response, StreamingResponse

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Listing:
    """`kept`: the query's other parameters, which every link carries on."""

    path: str
    sort: str
    descending: bool
    kept: Mapping[str, str]

    def sorted_by(self, key: str) -> str:
        """Return the link that sorts by a column; the other way round when it already does."""
        turn = "desc" if key == self.sort and not self.descending else "asc"
        return f"{self.path}?{urlencode({**self.kept, 'sort': key, 'order': turn})}"

    def sort_rows(self, rows: Iterable[Row], keys: Mapping[str, Callable[[Row], Any]]) -> list[Row]:
        key = keys.get(self.sort)
        return list(rows) if key is None else sorted(rows, key=key, reverse=self.descending)


def listing(request: Request, default: str, descending: bool = False) -> Listing:
    query = request.query_params
    sort = query.get("sort", default)
    down = query.get("order", "desc" if descending and "sort" not in query else "asc") == "desc"
    kept = {name: value for name, value in query.items() if name not in ("sort", "order", "before")}
    return Listing(request.url.path, sort, down, kept)


def as_csv(name: str, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Return a download. Cells that a spreadsheet would take for a formula are made text."""

    def lines() -> Iterator[str]:
        for row in (heading, *rows):
            out = io.StringIO()
            csv.writer(out).writerow([_cell(value) for value in row])
            yield out.getvalue()

    return StreamingResponse(
        lines(), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
