"""Large tables are mapped, also after others were freed: in a process of its own, since it stays so."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import re
import sys

NAMELESS = r"^(\\w+)-(\\w+) rw\\S+ \\S+ 00:00 0 *$"

def mapped() -> int:
    with open("/proc/self/maps") as maps:
        return max(int(end, 16) - int(start, 16) for start, end in re.findall(NAMELESS, maps.read(), re.M))

if sys.argv[1] == "mapped":
    from resolver.processes.allocator import map_large_blocks
    map_large_blocks()
freed = bytes(24 << 20)
assert mapped() >= 24 << 20
del freed
table = bytes(12 << 20)
print(mapped() >= 12 << 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library than glibc")
@pytest.mark.parametrize(("how", "found"), [("mapped", "True"), ("as it is", "False")])
def test_a_large_block_is_mapped_after_a_larger_one_was_freed(how: str, found: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (found, "")
