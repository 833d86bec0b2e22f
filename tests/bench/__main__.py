"""`python -m tests.bench [PART …] [--quick]`: without a name all but mapped, rpz and soak; soak takes `--minutes`."""

from __future__ import annotations

import argparse
import time

from tests.bench import approvals, base, delivery, fleet, floods, lists, mapped, rpz, soak, throughput

USUAL = ["throughput", "approvals", "delivery", "fleet", "lists", "base", "flood", "slow-tcp"]
PARTS = [*USUAL, "mapped", "rpz", "soak"]


def main() -> None:
    """Run the parts that were asked for, and print their figures."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for trying out")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    parser.add_argument("--rate", type=int, default=0, help="queries a second of the soak; 0: half of what it can")
    told = parser.parse_args()
    parts = told.parts or USUAL
    print(time.strftime("%Y-%m-%d %H:%M %Z"))
    if "throughput" in parts:
        throughput.main(rounds=2 if told.quick else throughput.ROUNDS)
    if "approvals" in parts:
        approvals.main(count=20 if told.quick else approvals.COUNT)
    if "delivery" in parts:
        delivery.main(*((200_000, 20) if told.quick else ()))
    if "fleet" in parts:
        fleet.main(count=5 if told.quick else fleet.COUNT)
    if "lists" in parts:
        lists.main(names=100_000 if told.quick else lists.NAMES)
    if "flood" in parts:
        floods.flood()
    if "slow-tcp" in parts:
        floods.slow_readers()
    if "soak" in parts:
        soak.main(told.minutes, told.rate)
    if "base" in parts:
        base.main(base.SIZES[:1] if told.quick else base.SIZES)
    if "mapped" in parts:
        mapped.main(mapped.COUNTS[:1] if told.quick else mapped.COUNTS)
    if "rpz" in parts:
        rpz.main(count=3 if told.quick else rpz.COUNT)


if __name__ == "__main__":
    main()
