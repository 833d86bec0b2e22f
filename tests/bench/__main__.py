"""`python -m tests.bench [throughput] [approvals] [--quick]`: all parts without a name."""

from __future__ import annotations

import argparse
import time

from tests.bench import approvals, throughput


def main() -> None:
    """Run the parts that were asked for, and print their figures."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["throughput", "approvals", []], metavar="PART")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for trying out")
    told = parser.parse_args()
    parts = told.parts or ["throughput", "approvals"]
    print(time.strftime("%Y-%m-%d %H:%M %Z"))
    if "throughput" in parts:
        throughput.main(rounds=2 if told.quick else throughput.ROUNDS)
    if "approvals" in parts:
        approvals.main(count=20 if told.quick else approvals.COUNT)


if __name__ == "__main__":
    main()
