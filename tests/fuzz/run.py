"""`python -m tests.fuzz.run TARGET N [--seed S]`: N hostile inputs against one reader.

Prints the count of each outcome. An exception that the reader does not declare ends it with status 1 and the input.
A target is a module `fuzz_TARGET.py` here with `run(count, seed) -> Counter`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    module = importlib.import_module(f"tests.fuzz.fuzz_{options.target}")
    began = time.monotonic()
    try:
        found = module.run(options.count, options.seed)
    except Exception:
        traceback.print_exc()
        print(f"{options.target}: undeclared exception (seed {options.seed})", file=sys.stderr)
        return 1
    outcomes = ", ".join(f"{title} {times:,}" for title, times in sorted(found.items()))
    print(f"{options.target}: {options.count:,} inputs in {time.monotonic() - began:.0f} s: {outcomes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
