"""Names are in the order in which people look for them, on every page."""

from __future__ import annotations

from portal.natural import order


def test_numbers_are_compared_as_numbers_and_case_does_not_matter() -> None:
    names = ["School 10", "school 2", "School 1b", "School 1", "Edison", "2nd Street", "10th Street", "École 3", "Ünal"]
    assert sorted(names, key=order) == [
        "2nd Street", "10th Street", "Edison", "School 1", "School 1b", "school 2", "School 10", "École 3", "Ünal",
    ]  # fmt: skip


def test_every_text_has_a_place() -> None:
    odd = ["", "7", "٣", "²", "9" * 40, "Lincoln 07", "Lincoln 7", "\u202eabc", "🏫 4", "🏫 11"]
    found = sorted(odd, key=order)
    assert found.index("🏫 4") < found.index("🏫 11")
    odd.reverse()
    assert sorted(odd, key=order) == found
