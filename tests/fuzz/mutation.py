"""Damage to well-made inputs, and the loop that feeds it to a reader. Same seed, same inputs."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

MAX_INPUT = 65_536
INTERESTING_BYTES = b'\x00\x01\x7f\x80\xff"\\{}[]:,.-*/@%#0e'
INTERESTING_VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 6, 7, 1439, 1440, 2**31, 2**53, 2**53 + 1, 10**30, 1.5, 1e300,
    "", "*", ".", "-", "a", "com", "facebook.com", "unassigned", "subtree", "exact", "via", "\ud800", "\0", "é",
    "a" * 64, "a." * 126 + "a", "x" * 2000, "0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.2.3", "::ffff:10.0.0.0/104",
    "fe80::1%eth0", "1.2.3.4%5", "UTC", "Pacific/Apia", "../x", [], {}, [[]], {"a": 1},
)  # fmt: skip


class Undeclared(Exception):
    """A reader raised what it does not declare, upon the input in the message."""


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with up to eight places changed, cut, doubled or moved."""
    out = bytearray(data)
    for _ in range(rng.randint(1, rng.choice((1, 1, 2, 8)))):
        at = rng.randrange(len(out) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 40))
        match rng.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.choice(INTERESTING_BYTES)
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = out[at : at + length]
            case 4:
                start = rng.randrange(len(out) + 1)
                out[at:at] = out[start : start + length]
            case 5:
                out[at : at + length] = rng.randbytes(rng.randint(0, length))
            case _:
                del out[rng.randrange(len(out) + 1) :]
    return bytes(out[:MAX_INPUT])


def damaged_json(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with one or two of its JSON values replaced, left out, repeated or exchanged."""
    plain: Any = json.loads(data)
    for _ in range(rng.randint(1, 2)):
        places = list(_places(plain))
        if not places:
            break
        owner, place = rng.choice(places)
        match rng.randrange(5):
            case 0:
                del owner[place]
            case 1:
                other, there = rng.choice(places)
                owner[place] = json.loads(json.dumps(other[there]))
            case 2 if isinstance(owner, list):
                owner.insert(place, json.loads(json.dumps(owner[place])))
            case 3 if isinstance(owner[place], int):
                owner[place] += rng.choice((-1, 1, 60, 2**20))
            case _:
                owner[place] = copy.deepcopy(rng.choice(INTERESTING_VALUES))
    return json.dumps(plain).encode()


def _places(plain: Any) -> Any:
    keys = plain if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ()
    for key in keys:
        yield plain, key
        yield from _places(plain[key])


def feed(count: int, make: Callable[[random.Random], bytes], read: Callable[[bytes], str], seed: int) -> Counter[str]:
    """Feed `count` inputs to `read`, which names the outcome; return the outcomes. Raises `Undeclared`."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for _ in range(count):
        data = make(rng)
        try:
            found[read(data)] += 1
        except Exception as error:
            raise Undeclared(f"{type(error).__name__} upon {data!r}") from error
    return found


def mixed(seeds: Sequence[bytes], as_json: bool = False) -> Callable[[random.Random], bytes]:
    """A maker of inputs: mostly damaged seeds, now and then plain noise."""

    def make(rng: random.Random) -> bytes:
        die = rng.randrange(10)
        if die == 0:
            return rng.randbytes(rng.randrange(200))
        one = rng.choice(seeds)
        if as_json and die < 7:
            return damaged_json(rng, one)
        return damaged(rng, one)

    return make
