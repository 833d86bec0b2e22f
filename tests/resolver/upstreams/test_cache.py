"""The cache keeps to its bytes, keeps what is hot, and forgets what it is told to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resolver.message.answers import Answer
from resolver.upstreams.cache import OVERHEAD, SPARE, Cache


def answer(expires: float = 100.0, size: int = 50) -> Answer:
    return Answer(0, 1, 0, bytes(size), ((6, 100),), (), False, 0.0, expires)


def key(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0" + b"\0\x01\0\x01\0"


def test_an_entry_ends_at_its_time() -> None:
    cache = Cache(1 << 20)
    cache.put(key("a.test"), answer(expires=10))
    assert cache.get(key("a.test"), 9.9) is not None
    assert cache.get(key("a.test"), 10.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_flood_throws_out_its_own_kind() -> None:
    cache = Cache(100 * (OVERHEAD + 200))
    cache.put(key("hot.test"), answer())
    for number in range(5000):
        cache.put(key(f"r{number}.test"), answer())
        if number % 20 == 0:
            assert cache.get(key("hot.test"), 1.0) is not None
    assert cache.bytes <= cache.limit


def test_what_is_too_large_for_the_cache_is_not_kept() -> None:
    cache = Cache(16 * 1024)
    cache.put(key("a.test"), answer(size=20_000))
    assert len(cache) == 0


def test_flush_counts_by_labels() -> None:
    cache = Cache(1 << 20)
    for name in ("a.test", "www.a.test", "xa.test", "test"):
        cache.put(key(name), answer())
    assert cache.flush(b"\x01a\x04test\0", subtree=True) == 2
    assert cache.get(key("xa.test"), 0) is not None
    assert cache.flush(b"\x04test\0", subtree=False) == 1
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3000), st.booleans()), max_size=60))
def test_the_bytes_are_always_the_sum_of_the_entries(steps: list[tuple[int, int, bool]]) -> None:
    cache = Cache(20_000)
    for number, size, read in steps:
        if read:
            cache.get(key(f"n{number}.test"), 1.0)
        else:
            cache.put(key(f"n{number}.test"), answer(size=size))
        assert cache.bytes == sum(entry.size for entry in cache._entries.values()) <= cache.limit


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    cache = Cache(1 << 20)
    for number in range(SPARE * 5):
        name = f"n{number % 7}.test"
        cache.put(key(name), answer())
        cache.flush(key(name)[:-5], subtree=False)
    cache.put(key("last.test"), answer())
    assert (len(cache), len(cache._order) <= SPARE + 3) == (1, True)


def test_a_name_that_is_fetched_again_keeps_its_place_and_is_not_the_next_to_go() -> None:
    cache = Cache(20 * (OVERHEAD + 200))
    cache.put(key("first.test"), answer())
    cache.put(key("first.test"), answer(size=51))
    for number in range(21):
        cache.put(key(f"r{number}.test"), answer())
    found = cache.get(key("first.test"), 0.0)
    assert found is not None
    assert len(found.body) == 51
