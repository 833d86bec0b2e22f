"""What an update changes, and when it has to wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from blocklists import names
from blocklists.base import Base
from blocklists.diff import Change, Difference, Guard, Watch, Watched, _with_paths, compare, judge
from blocklists.policy import Match
from tests.support import make_base

SOCIAL = "social-media"
NAMES = [f"site{number}.example" for number in range(10)]


def change(difference: Difference, id: str) -> Change:
    return next(one for one in (*difference.lists, *difference.categories) if one.id == id)


def counts(difference: Difference, id: str) -> tuple[int, int, int, int]:
    one = change(difference, id)
    return one.before, one.after, one.added, one.dropped


def guards(old: Base, new: Base, *watched: Watched, withdrawn: Iterable[str] = ()) -> list[tuple[Guard, str]]:
    hold = judge(compare(old, new, watched, frozenset(withdrawn)))
    return [(reason.guard, reason.subject) for reason in hold.reasons] if hold is not None else []


def watch(name: str, match: Match = Match.SUBTREE, why: Watch = Watch.PROTECTED) -> Watched:
    return Watched(name, match, why, "sign-in")


# ---- Changes ----


def test_the_same_lists_are_no_difference_even_when_they_stand_in_another_order() -> None:
    old = make_base({"social-media/a": NAMES[:5], "adult/b": NAMES[4:]})
    new = make_base({"adult/b": NAMES[4:], "social-media/a": NAMES[:5]})
    difference = compare(old, new)
    assert difference.is_empty
    assert judge(difference) is None
    assert counts(difference, "a") == (5, 5, 0, 0)
    assert counts(difference, "adult") == (6, 6, 0, 0)


def test_what_is_added_and_dropped_is_counted_by_list_and_category_with_examples() -> None:
    old = make_base({"social-media/a": NAMES[:8]})
    new = make_base({"social-media/a": NAMES[1:10]})
    difference = compare(old, new)
    assert counts(difference, "a") == counts(difference, SOCIAL) == (8, 9, 2, 1)
    assert change(difference, "a").added_examples == ("site8.example", "site9.example")
    assert change(difference, SOCIAL).dropped_examples == ("site0.example",)
    assert not difference.is_empty


def test_subdomains_that_give_way_to_their_parent_are_no_loss() -> None:
    old = make_base({"social-media/a": [f"host{number}.site.example" for number in range(50)]})
    new = make_base({"social-media/a": ["site.example"]})
    difference = compare(old, new)
    assert counts(difference, "a") == (50, 1, 1, 0)
    assert judge(difference) is None
    assert counts(compare(new, old), "a") == (1, 50, 0, 1)  # the other way, the parent itself is lost


def test_a_name_that_moves_between_lists_of_a_category_is_no_loss_for_it() -> None:
    old = make_base({"social-media/a": NAMES, "social-media/b": ["b.example"]})
    new = make_base({"social-media/a": ["a.example"], "social-media/b": NAMES})
    difference = compare(old, new)
    assert counts(difference, "a") == (10, 1, 1, 10)
    assert counts(difference, "b") == (1, 10, 10, 1)
    assert counts(difference, SOCIAL)[2:] == (1, 1)
    assert judge(difference) is None


def test_an_exception_that_appears_takes_a_name_away_and_one_that_goes_gives_it_back() -> None:
    plain = make_base({"social-media/a": ["site.example"]})
    excepting = make_base({"social-media/a": ["site.example", "!edu.site.example"]})
    assert counts(compare(plain, excepting), "a") == (1, 1, 0, 1)
    assert change(compare(plain, excepting), "a").dropped_examples == ("edu.site.example",)
    assert counts(compare(excepting, plain), "a") == (1, 1, 1, 0)


def test_lists_that_come_and_go_are_in_the_difference() -> None:
    old = make_base({"social-media/a": NAMES[:3]})
    new = make_base({"adult/b": NAMES[:3]})
    difference = compare(old, new)
    assert counts(difference, "a") == counts(difference, SOCIAL) == (3, 0, 0, 3)
    assert counts(difference, "b") == counts(difference, "adult") == (0, 3, 3, 0)


def test_examples_are_the_first_in_order_however_many_there_are() -> None:
    many = [f"n{number:05}.example" for number in range(5000)]
    difference = compare(make_base({}), make_base({SOCIAL: list(reversed(many))}))
    assert change(difference, SOCIAL).added == 5000
    assert list(change(difference, SOCIAL).added_examples) == many[:20]


# ---- Guards ----


def test_a_fifth_of_a_category_may_go_and_not_one_more() -> None:
    old = make_base({SOCIAL: NAMES})
    assert guards(old, make_base({SOCIAL: NAMES[2:]})) == []
    assert guards(old, make_base({SOCIAL: NAMES[3:]})) == [(Guard.LOSS, SOCIAL)]
    hold = judge(compare(old, make_base({SOCIAL: NAMES[3:]})))
    assert hold is not None
    assert hold.reasons[0].sentence == "social-media loses 3 of its 10 entries (30 %)"


def test_new_names_do_not_hide_a_loss() -> None:
    new = make_base({SOCIAL: [f"other{number}.example" for number in range(100)]})
    assert guards(make_base({SOCIAL: NAMES}), new) == [(Guard.LOSS, SOCIAL)]


def test_a_list_that_was_switched_off_on_purpose_is_no_loss() -> None:
    old = make_base({"social-media/a": NAMES[:5], "social-media/b": NAMES[5:]})
    new = make_base({"social-media/a": NAMES[:5]})
    assert guards(old, new) == [(Guard.LOSS, SOCIAL)]
    assert guards(old, new, withdrawn=["b"]) == []
    assert guards(old, make_base({"social-media/a": NAMES[:3]}), withdrawn=["b"]) == [(Guard.LOSS, SOCIAL)]


def test_a_protected_name_that_becomes_blocked_holds_the_update() -> None:
    old = make_base({SOCIAL: NAMES})
    new = make_base({SOCIAL: [*NAMES, "login.example"]})
    assert guards(old, new, watch("login.example")) == [(Guard.PROTECTED, "login.example")]
    assert guards(old, new, watch("login.example", Match.EXACT)) == [(Guard.PROTECTED, "login.example")]
    assert guards(new, new, watch("login.example")) == []


def test_a_name_above_a_watched_one_counts_and_one_below_only_for_a_subtree() -> None:
    old = make_base({})
    above = make_base({SOCIAL: ["corp.example"]})
    below = make_base({SOCIAL: ["api.login.corp.example"]})
    beside = make_base({SOCIAL: ["xlogin.corp.example", "corp.example.org"]})
    subtree, exact = watch("login.corp.example"), watch("login.corp.example", Match.EXACT)
    assert guards(old, above, subtree) == guards(old, above, exact) == [(Guard.PROTECTED, "login.corp.example")]
    assert guards(old, below, subtree) == [(Guard.PROTECTED, "api.login.corp.example")]
    assert guards(old, below, exact) == []
    assert guards(old, beside, subtree) == []


def test_a_granted_name_holds_the_update_only_when_it_comes_into_another_category() -> None:
    grant = Watched("site1.example", Match.SUBTREE, Watch.GRANT, "grant 12 opens it")
    old = make_base({SOCIAL: NAMES})
    assert guards(old, make_base({SOCIAL: [*NAMES, "new.site1.example"], "social-media/b": NAMES}), grant) == []
    new = make_base({SOCIAL: NAMES, "adult/b": ["cdn.site1.example"]})
    assert guards(old, new, grant) == [(Guard.GRANT, "cdn.site1.example")]
    platform = Watched("site1.example", Match.SUBTREE, Watch.PLATFORM, "register 2026-27: Notes")
    assert [guard for guard, _ in guards(old, new, grant, platform)] == [Guard.PLATFORM, Guard.GRANT]
    hold = judge(compare(old, new, [grant]))
    assert hold is not None
    assert hold.reasons[0].sentence == (
        "cdn.site1.example, below site1.example, comes into adult (list b): grant 12 opens it"
    )


def test_a_recently_used_name_holds_the_update() -> None:
    recent = Watched("docs.example", Match.EXACT, Watch.RECENT, "asked by 40 devices yesterday")
    assert guards(make_base({}), make_base({SOCIAL: ["docs.example"]}), recent) == [(Guard.RECENT, "docs.example")]
    assert guards(make_base({}), make_base({SOCIAL: ["docs.example", "!docs.example"]}), recent) == []


def test_thousands_of_newly_blocked_names_are_counted_not_listed() -> None:
    new = make_base({SOCIAL: [f"n{number}.corp.example" for number in range(1000)]})
    difference = compare(make_base({}), new, [watch("corp.example")])
    assert len(difference.newly) == 200
    assert difference.more_newly == 800
    hold = judge(difference)
    assert hold is not None
    assert "800 more" in hold.reasons[-1].sentence


# ---- Against a slow and simple model ----

LABEL = st.sampled_from(["a", "b", "c"])
NAME = st.lists(LABEL, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
ENTRY = st.one_of(NAME, NAME, NAME.map(lambda name: f"!{name}"))
LISTS = st.dictionaries(
    st.sampled_from(["social-media/x", "social-media/y", "adult/z"]), st.lists(ENTRY, max_size=6), max_size=3
)


def in_force(base: Base, name: str) -> set[str]:
    return {base.lists[one.list].id for one in base.listings(name)}


@given(LISTS, LISTS)
def test_every_change_is_one_that_asking_both_bases_shows(
    one: Mapping[str, list[str]], other: Mapping[str, list[str]]
) -> None:
    old, new = make_base(one), make_base(other)
    difference = compare(old, new, [Watched("example", Match.SUBTREE, Watch.PROTECTED, "")])
    everything = {names.from_key(key) for base in (old, new) for key, _ in base.entries()}
    for id in {info.id for base in (old, new) for info in base.lists}:
        shown = change(difference, id)
        gained = {name for name in everything if id in in_force(new, name) - in_force(old, name)}
        lost = {name for name in everything if id in in_force(old, name) - in_force(new, name)}
        assert set(shown.added_examples) <= gained
        assert set(shown.dropped_examples) <= lost
        assert bool(shown.added) == bool(gained)
        assert bool(shown.dropped) == bool(lost)
    category = {info.id: info.category for base in (old, new) for info in base.lists}
    for blocked in difference.newly:
        before = {category[id] for id in in_force(old, blocked.name)}
        after = {category[id] for id in in_force(new, blocked.name)}
        assert set(blocked.categories) <= after - before


def test_the_paths_of_one_pass_are_those_of_single_look_ups() -> None:
    labels = ("a", "b.a", "c.b.a", "a-b", "a_b", "1")
    deep = [f"{label}.{above}" for above in (*NAMES, "example") for label in labels]
    base = make_base({"adult/one": [*NAMES, *deep[::3]], "social-media/two": deep}, {"three": deep[1::4]})
    found = list(_with_paths(base))
    assert len(found) == base.keys > 50
    assert all(path == base.path(key) and path[-1] == number for key, number, path in found)
