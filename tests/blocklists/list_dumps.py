"""Golden dumps: what each sample list in `tests/data/lists` says, one finding to a line.

`+` a name, `-` an exception, `!` a rejected line with its number, text and reason. After a change that is meant:
`python -m tests.blocklists.list_dumps`, and read the difference. `*.base` says what the compiled base holds of each:
`+` an entry, `-` an exception, `±` both. UT1's sample is the folder `ut1`, packed here.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from blocklists import names
from blocklists.base import ListKind
from blocklists.compile import Source, compile_base
from blocklists.formats.detect import Format
from blocklists.formats.findings import Excepted, Finding, Found
from blocklists.formats.lines import split
from blocklists.parse import Intake, parse
from tests.support import open_base

FOLDER = Path(__file__).parents[1] / "data" / "lists"
SAMPLES = sorted(FOLDER.glob("*.txt"))
UT1 = FOLDER / "ut1"


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


def ut1_archive() -> bytes:
    """The folder `ut1` as its keeper packs it: one folder a category, in a tar.gz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path in sorted((FOLDER / "ut1").glob("*/*")):
            archive.add(path, str(path.relative_to(FOLDER / "ut1")))
    return out.getvalue()


def compiled(findings: Iterable[Finding]) -> str:
    """What a base holds whose only list is this one, sorted."""
    intake = Intake(findings)
    found = list(intake.names())
    base = open_base(compile_base([Source("one", "One", "adult", ListKind.LIST, found, intake.exceptions)]))
    marks = {(True, False): "+", (False, True): "-", (True, True): "±"}
    entries = [(names.from_key(key), base.sets[number]) for key, number in base.entries()]
    return "".join(f"{marks[bool(one.holds), bool(one.excepts)]} {name}\n" for name, one in sorted(entries, key=str))


def findings_of(path: Path) -> Iterator[Finding]:
    """Of a sample file, or of UT1's folder."""
    if path.is_dir():
        return parse((ut1_archive(),), Format.UT1)
    return parse((path.read_bytes(),), format_of(path), include=included)


def dump_sample(path: Path) -> str:
    return dump(findings_of(path))


if __name__ == "__main__":
    for sample in SAMPLES:
        sample.with_suffix(".golden").write_text(dump_sample(sample), encoding="utf-8")
    (FOLDER / "ut1.golden").write_text(dump(findings_of(UT1)), encoding="utf-8")
    for sample in (*SAMPLES, UT1):
        sample.with_suffix(".base").write_text(compiled(findings_of(sample)), encoding="utf-8")
        print(sample.with_suffix(".base"))
