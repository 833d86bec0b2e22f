"""Golden dumps: what each sample list in `tests/data/lists` says, one finding to a line.

`+` a name, `-` an exception, `!` a rejected line with its number, text and reason. After a change that is meant:
`python -m tests.blocklists.list_dumps`, and read the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from blocklists.formats.detect import Format
from blocklists.formats.findings import Excepted, Finding, Found
from blocklists.formats.lines import split
from blocklists.parse import parse

FOLDER = Path(__file__).parents[1] / "data" / "lists"
SAMPLES = sorted(FOLDER.glob("*.txt"))


def format_of(path: Path) -> Format:
    """`rpz-origin.txt` is a sample of `rpz`."""
    return Format(path.stem.partition("-")[0])


def included(name: str) -> Iterator[bytes] | None:
    """The files that the v2fly sample includes; two of them include each other."""
    path = FOLDER / "v2fly" / name
    return split((path.read_bytes(),)) if path.is_file() else None


def dump(findings: Iterable[Finding]) -> str:
    lines = []
    for one in findings:
        if isinstance(one, Found):
            lines.append(f"+ {one.name}")
        elif isinstance(one, Excepted):
            lines.append(f"- {one.name}")
        else:
            lines.append(f"! {one.line}: {one.text} — {one.reason}")
    return "".join(f"{line}\n" for line in lines)


def dump_sample(path: Path) -> str:
    return dump(parse((path.read_bytes(),), format_of(path), include=included))


if __name__ == "__main__":
    for sample in SAMPLES:
        sample.with_suffix(".golden").write_text(dump_sample(sample), encoding="utf-8")
        print(sample.with_suffix(".golden"))
