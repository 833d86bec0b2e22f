"""The seed: what ships is sound, and every mistake an editor can make is named with its line and its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocklists import names, seed
from blocklists.seed import BadSeed, load_seed

CATEGORY = """\
[category]
id = "social-media"
title = "Social media"
locked = false
description = "Sites that live on what people contribute."
list = { id = "seed-social-media", title = "Our own list", licence = "Apache-2.0" }
"""

FACEBOOK = """\
[[service]]
id = "facebook"
title = "Facebook"
kind = "social-network"
names = ["facebook.com", "fb.com"]
"""

PROTECTED = """\
[[entry]]
purpose = "sign-in"
name = "accounts.google.com"
match = "exact"
why = "Google sign-in"
"""


def write(folder: Path, social: str = CATEGORY, protected: str = PROTECTED, **more: str) -> Path:
    (folder / "social-media.toml").write_text(social, encoding="utf-8")
    (folder / "protected.toml").write_text(protected, encoding="utf-8")
    for stem, text in more.items():
        (folder / f"{stem}.toml").write_text(text, encoding="utf-8")
    return folder


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(BadSeed) as caught:
        load_seed(folder)
    return [str(mistake) for mistake in caught.value.mistakes]


def only_mistake(folder: Path) -> str:
    found = mistakes(folder)
    assert len(found) == 1, found
    return found[0]


# ---- What ships ----


def test_the_shipped_seed_has_its_categories_and_only_law_and_safety_are_locked() -> None:
    assert {(category.id, category.locked) for category in load_seed().categories} == {
        ("social-media", False),
        ("messaging", False),
        ("vpn-proxy", False),
        ("cache-proxy", False),
        ("encrypted-dns", False),
        ("adult", True),
        ("malware", True),
    }


def test_the_shipped_seed_knows_the_services_that_a_school_meets() -> None:
    services = load_seed().services
    assert len([service for service in services if service.category == "social-media"]) >= 90
    by_id = {service.id: service for service in services}
    assert "cdninstagram.com" in by_id["instagram"].names
    assert "t.co" in by_id["x-twitter"].names
    assert by_id["messenger"].category == "messaging"
    assert set(by_id["youtube"].exceptions) == {"accounts.youtube.com", "s.ytimg.com", "www.youtubeeducation.com"}


def test_every_kind_and_purpose_is_used_and_messaging_is_no_kind_of_social_medium() -> None:
    shipped = load_seed()
    assert {service.kind for service in shipped.services} == set(seed.KINDS)
    assert {entry.purpose for entry in shipped.protected} == set(seed.PURPOSES)
    assert all((service.kind == "messaging") == (service.category == "messaging") for service in shipped.services)


def test_every_shipped_category_blocks_something() -> None:
    shipped = load_seed()
    with_services = {service.category for service in shipped.services}
    assert all(category.names or category.id in with_services for category in shipped.categories)


def test_no_protected_name_is_a_name_or_above_a_name_that_we_list_ourselves() -> None:
    shipped = load_seed()
    listed = {name for service in shipped.services for name in service.names}
    listed |= {name for category in shipped.categories for name in category.names}
    assert not [entry.name for entry in shipped.protected if entry.name in listed]
    subtrees = {entry.name for entry in shipped.protected if entry.match == "subtree"}
    assert not [name for name in listed if subtrees.intersection(names.ancestors(name))]


def test_what_a_service_lists_and_we_protect_is_excepted_by_the_service_too() -> None:
    shipped = load_seed()
    owner = {name: service for service in shipped.services for name in service.names}
    for entry in shipped.protected:
        for above in names.ancestors(entry.name):
            if above in owner:
                assert entry.name in owner[above].exceptions


def test_no_shipped_name_lies_below_another_name_of_the_same_service_or_list() -> None:
    shipped = load_seed()
    for listed in [*(service.names for service in shipped.services), *(found.names for found in shipped.categories)]:
        for name in listed:
            assert not set(listed).intersection(list(names.ancestors(name))[1:]), name


@pytest.mark.parametrize(
    "name",
    [
        "accounts.google.com",
        "classroom.google.com",
        "drive.google.com",
        "fonts.gstatic.com",
        "lh3.googleusercontent.com",
        "yt3.ggpht.com",
        "login.microsoftonline.com",
        "teams.microsoft.com",
        "edge.skype.com",
        "appleid.apple.com",
        "clever.com",
        "bluebook.collegeboard.org",
    ],
)
def test_the_shipped_seed_leaves_school_tools_alone(name: str) -> None:
    shipped = load_seed()
    listed = {name for service in shipped.services for name in service.names}
    listed |= {name for category in shipped.categories for name in category.names}
    assert not listed.intersection(names.ancestors(name))


# ---- What an editor wrote is what is read ----


def test_a_seed_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = CATEGORY + 'names = ["example.com"]\n' + FACEBOOK + 'except = ["login.facebook.com"]\n'
    found = load_seed(write(tmp_path, text))
    assert found.categories == (
        seed.SeedCategory(
            id="social-media",
            title="Social media",
            description="Sites that live on what people contribute.",
            locked=False,
            list_id="seed-social-media",
            list_title="Our own list",
            licence="Apache-2.0",
            names=("example.com",),
        ),
    )
    assert found.services == (
        seed.SeedService(
            id="facebook",
            title="Facebook",
            category="social-media",
            kind="social-network",
            names=("facebook.com", "fb.com"),
            exceptions=("login.facebook.com",),
        ),
    )
    assert found.protected == (seed.SeedProtected("accounts.google.com", "exact", "sign-in", "Google sign-in"),)


def test_the_list_sources_and_files_of_other_kinds_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, catalog="nothing = 'of ours'\n")
    (tmp_path / "NOTES.md").write_text("not TOML", encoding="utf-8")
    assert len(load_seed(tmp_path).categories) == 1


# ---- What is refused ----


def test_all_mistakes_of_all_files_come_at_once_in_order_of_file_and_line(tmp_path: Path) -> None:
    social = CATEGORY + FACEBOOK.replace("fb.com", "FB.com").replace("social-network", "network")
    found = mistakes(write(tmp_path, social, PROTECTED.replace("exact", "all")))
    assert [line.split(": ")[0] for line in found] == [
        "protected.toml:4",
        "social-media.toml:10",
        "social-media.toml:11",
    ]


def test_a_mistake_says_where_what_and_how_to_mend_it(tmp_path: Path) -> None:
    assert only_mistake(write(tmp_path, CATEGORY + FACEBOOK.replace("fb.com", "FB.com"))) == (
        "social-media.toml:11: 'FB.com' is not written the one way that names are written; write 'fb.com'"
    )


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        (CATEGORY + 'colour = "red"\n' + FACEBOOK, 7, "colour"),
        (CATEGORY.replace("licence =", "license = 1, licence ="), 6, "license"),
        (CATEGORY + FACEBOOK + FACEBOOK.replace("facebook", "other").replace("fb", "ob") + "nmaes = []\n", 17, "nmaes"),
        ("extra = 1\n" + CATEGORY, 1, "extra"),
        (CATEGORY + "[services]\n", 7, "services"),
    ],
)
def test_an_unknown_key_is_refused(tmp_path: Path, text: str, line: int, key: str) -> None:
    found = only_mistake(write(tmp_path, text))
    assert found.startswith(f"social-media.toml:{line}: ")
    assert f"has an unknown key, {key!r}; the keys here are: " in found


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    found = only_mistake(write(tmp_path, CATEGORY + FACEBOOK.replace("social-network", "forum")))
    assert found.startswith("social-media.toml:10: 'forum' is not a known kind; write one of: social-network, ")


@pytest.mark.parametrize("bad", ["face book.com", "10.0.0.1", "a..b", "-a.com", "example.123", "*.facebook.com"])
def test_a_bad_name_is_refused(tmp_path: Path, bad: str) -> None:
    found = only_mistake(write(tmp_path, CATEGORY + FACEBOOK.replace("fb.com", bad)))
    assert found.startswith(f"social-media.toml:11: {bad!r} is not a name: ")


def test_a_public_suffix_is_meant_when_it_stands_among_the_suffixes_and_nothing_else_may(tmp_path: Path) -> None:
    line = 'suffixes = ["translate.goog"]\n'
    write(tmp_path, CATEGORY + line + FACEBOOK)
    (category,) = load_seed(tmp_path).categories
    assert category.names[-1] == "translate.goog"
    write(tmp_path, CATEGORY + line.replace("translate.goog", "a.example") + FACEBOOK)
    assert "a.example is no public suffix" in only_mistake(tmp_path)


@pytest.mark.parametrize("suffix", ["com", "co.uk", "github.io", "blogspot.com"])
def test_a_public_suffix_is_refused(tmp_path: Path, suffix: str) -> None:
    found = only_mistake(write(tmp_path, CATEGORY + FACEBOOK.replace("fb.com", suffix)))
    assert found.startswith(f"social-media.toml:11: {suffix} is a public suffix")


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [("Facebook.com", "facebook.com"), ("example.com.", "example.com"), ("bücher.example", "xn--bcher-kva.example")],
)
def test_a_name_that_is_not_canonical_is_refused_with_its_canonical_form(
    tmp_path: Path, typed: str, canonical: str
) -> None:
    found = only_mistake(write(tmp_path, CATEGORY + f'names = ["{typed}"]\n'))
    assert found.startswith(f"social-media.toml:7: {typed!r} ")
    assert found.endswith(f"write {canonical!r}")


def test_a_name_twice_in_one_service_points_to_the_second(tmp_path: Path) -> None:
    text = CATEGORY + FACEBOOK.replace('"fb.com"', '\n"fb.com",\n"fb.com"')
    found = only_mistake(write(tmp_path, text))
    assert found.startswith("social-media.toml:13: fb.com is here a second time")
    assert "the first is social-media.toml:12" in found


def test_a_name_in_two_services_points_to_the_second(tmp_path: Path) -> None:
    text = CATEGORY + FACEBOOK + FACEBOOK.replace('"facebook"', '"facebook-again"').replace("facebook.com", "f.com")
    found = only_mistake(write(tmp_path, text))
    assert found.startswith("social-media.toml:16: fb.com is here a second time")
    assert "the first is social-media.toml:11" in found


def test_a_name_in_two_files_points_to_the_second(tmp_path: Path) -> None:
    other = CATEGORY.replace("social-media", "video") + 'names = [\n  "fb.com",\n]\n'
    found = only_mistake(write(tmp_path, CATEGORY + FACEBOOK, video=other))
    assert found.startswith("video.toml:8: fb.com is here a second time")
    assert "the first is social-media.toml:11" in found


def test_two_spellings_of_one_name_are_one_name(tmp_path: Path) -> None:
    found = mistakes(write(tmp_path, CATEGORY + FACEBOOK.replace("fb.com", "Facebook.com")))
    assert len(found) == 2
    assert "facebook.com is here a second time" in found[1]


def test_a_comment_that_quotes_a_name_does_not_lead_to_the_wrong_line(tmp_path: Path) -> None:
    text = CATEGORY + 'names = [\n  # not "FB.com", which…\n  "FB.com",  # "FB.com"\n]\n'
    assert only_mistake(write(tmp_path, text)).startswith("social-media.toml:9: ")


def test_a_protected_name_twice_is_refused(tmp_path: Path) -> None:
    found = only_mistake(write(tmp_path, protected=PROTECTED + PROTECTED))
    assert found.startswith("protected.toml:8: accounts.google.com is here a second time")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (CATEGORY + FACEBOOK + FACEBOOK.replace("facebook.com", "f.com").replace("fb.com", "g.com"), 13),
        (CATEGORY + FACEBOOK.replace('id = "facebook"', 'id = "Face book"'), 8),
    ],
)
def test_an_id_twice_or_with_other_letters_is_refused(tmp_path: Path, text: str, place: int) -> None:
    assert only_mistake(write(tmp_path, text)).startswith(f"social-media.toml:{place}: ")


def test_a_list_id_twice_is_refused(tmp_path: Path) -> None:
    other = CATEGORY.replace('id = "social-media"', 'id = "video"')
    found = only_mistake(write(tmp_path, video=other))
    assert found.startswith("video.toml:6: seed-social-media is here a second time, as the id of a list")


def test_a_category_that_is_not_named_like_its_file_is_refused(tmp_path: Path) -> None:
    found = only_mistake(write(tmp_path, CATEGORY.replace('id = "social-media"', 'id = "social"')))
    assert found.startswith("social-media.toml:2: ")


@pytest.mark.parametrize("exception", ["accounts.google.com", "notfacebook.com", "facebook.com"])
def test_an_exception_that_is_not_below_its_service_is_refused(tmp_path: Path, exception: str) -> None:
    found = only_mistake(write(tmp_path, CATEGORY + FACEBOOK + f'except = ["{exception}"]\n'))
    assert found.startswith(f"social-media.toml:12: {exception} is below none of the service's names")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (CATEGORY.replace('title = "Social media"\n', ""), 1),
        (CATEGORY.replace('"Social media"', '" "'), 3),
        (CATEGORY.replace("locked = false", 'locked = "no"'), 4),
        (CATEGORY.replace('title = "Social media"\n', "") + "title = 3\n", 6),
        (CATEGORY.replace('title = "Our own list"', "title = 3") + "names = []\n", 6),
        (CATEGORY.replace("list = {", "lists = {"), 1),
        (CATEGORY + 'names = "example.com"\n', 7),
        (CATEGORY + "names = [1]\n", 7),
        (CATEGORY + FACEBOOK.replace('["facebook.com", "fb.com"]', "[]"), 11),
        (CATEGORY + FACEBOOK.replace('kind = "social-network"\n', ""), 7),
        ("service = 3\n" + CATEGORY, 1),
        (FACEBOOK, 1),
    ],
)
def test_what_is_missing_or_of_another_type_is_refused(tmp_path: Path, text: str, place: int) -> None:
    assert mistakes(write(tmp_path, text))[0].startswith(f"social-media.toml:{place}: ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (CATEGORY + "names = [\n", 8),
        (CATEGORY + 'title = "again"\n', 7),
        ("a = " + "9" * 5000 + "\n", 2),
        ("a = " + "[" * 5000 + "\n", 2),
    ],
)
def test_what_is_not_toml_is_refused_with_its_line(tmp_path: Path, text: str, place: int) -> None:
    found = only_mistake(write(tmp_path, text))
    assert found.startswith(f"social-media.toml:{place}: this is not TOML (")


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "social-media.toml").write_bytes(b'title = "caf\xe9"')
    assert "not UTF-8" in only_mistake(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in only_mistake(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    assert only_mistake(tmp_path).startswith("folder.toml:1: it cannot be read")


def test_a_seed_without_its_protected_set_is_refused(tmp_path: Path) -> None:
    write(tmp_path, protected="")
    assert only_mistake(tmp_path).startswith("protected.toml:1: ")
    (tmp_path / "protected.toml").unlink()
    assert "the protected set is missing" in only_mistake(tmp_path)


def test_a_seed_without_categories_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "social-media.toml").unlink()
    assert "nothing would be blocked" in only_mistake(tmp_path)


PIECES = [
    *"[]{}=,.\"'#\\\n ",
    "[[service]]",
    "[category]",
    "[[entry]]",
    "id",
    "names",
    "list",
    "3",
    "true",
    '"""',
    "\u00e9",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([CATEGORY + FACEBOOK, PROTECTED]),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), st.sampled_from(PIECES)), max_size=3),
)
def test_any_text_is_a_seed_or_a_bad_seed_with_lines_that_exist(
    tmp_path: Path, text: str, edits: list[tuple[int, int, str]]
) -> None:
    protected = text is PROTECTED
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    try:
        load_seed(write(tmp_path, CATEGORY, text) if protected else write(tmp_path, text))
    except BadSeed as bad:
        assert bad.mistakes
        assert all(1 <= mistake.line <= text.count("\n") + 1 for mistake in bad.mistakes)
