"""`python -m tests.fuzz.fuzz_lists N [SEED]`: N damaged lines for every list format (UT1: in archives), and N/1,000
damaged archives.

Each line has to end as a name, an exception, a rejection or nothing; anything else raised is a fault. Ends with the
number of outcomes of each format, or with the input that raised.
"""

from __future__ import annotations

import gzip
import io
import random
import sys
import tarfile
from collections import Counter

from blocklists import names
from blocklists.formats.detect import Format
from blocklists.formats.findings import BadList, Rejected
from blocklists.parse import parse
from tests.blocklists.list_dumps import SAMPLES, format_of, included

BATCH = 200  # lines in one list: some formats carry state from line to line
LETTERS = b"abcz019-_.*|^@$#!;:/\\()\"' \t\r\0\x80\xff="
WORDS = (
    b"CNAME",
    b"$ORIGIN",
    b"xn--",
    b"||",
    b"@@",
    b"include:",
    b"0.0.0.0 ",
    b"rpz-ip",
    b"com",
    b"co.uk",
    b"\xc3\xbc",
    b"\xe3\x80\x82",
)


def damage(rng: random.Random, line: bytes, others: list[bytes]) -> bytes:
    """Return `line` with a few pieces changed, cut, doubled, or taken from another line."""
    out = bytearray(line)
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(7):
            case 0:
                out[at : at + 1] = bytes((rng.choice(LETTERS),))
            case 1:
                out[at : at + rng.randint(1, 8)] = b""
            case 2:
                out[at:at] = out[at : at + rng.randint(1, 20)] * rng.randint(1, 3)
            case 3:
                out[at:at] = rng.choice(WORDS)
            case 4:
                out[at:] = rng.choice(others)
            case 5:
                out[at:at] = rng.randbytes(rng.randint(1, 4))
            case _:
                out[at:at] = out[at : at + 1] * rng.choice((3, 63, 64, 300, 5000)) if not rng.randrange(20) else b""
    return bytes(out)


def lines(count: int, rng: random.Random) -> Counter[str]:
    found: Counter[str] = Counter()
    samples = {path.stem: (format_of(path), path.read_bytes().splitlines()) for path in SAMPLES}
    others = [line for _, sample in samples.values() for line in sample]
    for format, sample in samples.values():
        for _ in range(0, count, BATCH):
            data = b"\n".join(damage(rng, rng.choice(sample), others) for _ in range(BATCH))
            one_format(found, format, data)
    return found


def one_format(found: Counter[str], format: Format, data: bytes) -> None:
    total = data.count(b"\n") + 1
    try:
        for one in parse((data,), format, include=included):
            found[f"{format} {type(one).__name__}"] += 1
            if isinstance(one, Rejected):
                assert (0 < one.line <= total or format is Format.UT1) and one.reason, (one, data)
            else:
                assert names.is_canonical(one.name) and "." in one.name, (one, data)
    except BadList:
        found[f"{format} refused whole"] += 1
    except Exception:
        print(f"{format}: {data!r}")
        raise


def archived_lines(count: int, rng: random.Random) -> Counter[str]:
    """Whole archives whose files hold damaged lines."""
    found: Counter[str] = Counter()
    sample = (SAMPLES[0].parent / "domains.txt").read_bytes().splitlines()
    for _ in range(0, count, BATCH):
        data = b"\n".join(damage(rng, rng.choice(sample), sample) for _ in range(BATCH))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as file:
            info = tarfile.TarInfo("x/domains")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        one_format(found, Format.UT1, out.getvalue())
    return found


def archives(count: int, rng: random.Random) -> Counter[str]:
    found: Counter[str] = Counter()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name in ("x/domains", "x/urls", "y/ü" + "z" * 120 + "/domains"):
            info = tarfile.TarInfo(name)
            info.size = 900
            file.addfile(info, io.BytesIO(b"one.example.com\n" * 60))
    plain = out.getvalue()
    for number in range(count):
        data = bytearray(plain)
        for _ in range(rng.randint(0, 12)):
            at = rng.randrange(512 * 8)
            data[at] = rng.randrange(256)
        packed = bytearray(gzip.compress(bytes(data), 1) if number % 2 else bytes(data))
        if not rng.randrange(4):
            packed[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
        if not rng.randrange(8):
            del packed[rng.randrange(len(packed)) :]
        one_format(found, Format.UT1, bytes(packed))
    return found


def run(count: int, seed: int = 0) -> Counter[str]:
    """Feed `count` lines to every sample's format; raise whatever is undeclared."""
    rng = random.Random(seed)
    return lines(count, rng) + archived_lines(count, rng) + archives(max(1, count // 1000), rng)


if __name__ == "__main__":
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for title, times in sorted(run(inputs, int(sys.argv[2]) if len(sys.argv) > 2 else 0).items()):
        print(f"{title:26} {times}")
