"""Domain names: one spelling for each, one declared error, and comparison by labels."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blocklists import names
from blocklists.names import BadName

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
LABELS = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(LETTERS),
    st.text(LETTERS + "-", max_size=8),
    st.sampled_from(LETTERS),
)
CANONICAL = st.lists(LABELS, min_size=1, max_size=6).map(".".join)

# Text that is nearly a name, so that most examples get past the first check.
NEARLY = st.text(
    st.sampled_from([*"abcxn-19.AZ_/:?#@[]% \u3002\uff0e\uff61\u00ad\u200d\u0130ßéü١१１\ufe52\u2488\ud800"]),
    max_size=40,
)
ANY_TEXT = st.one_of(st.text(), NEARLY, CANONICAL)


def normalised(text: str) -> str | None:
    try:
        return names.normalise(text)
    except BadName:
        return None


@given(ANY_TEXT)
@example("xn--")
@example("xn--\u00fc")
@example("\uff58n--bcher-kva")
@example("\uff11.\uff11.\uff11.\uff11")
@example("a\u00ad.b")
@example("a" * 5000)
@example("\u00fc" * 4000)
def test_normalising_gives_a_name_or_bad_name_and_twice_is_once(text: str) -> None:
    name = normalised(text)
    if name is not None:
        assert names.normalise(name) == name
        assert name.isascii()
        assert len(name) <= names.MAX_NAME
        assert all(0 < len(label) <= names.MAX_LABEL for label in name.split("."))


@given(ANY_TEXT)
@example("http://[")
@example("http://[::1]/")
@example("http://[v1.x]/")
@example("//\u2100.com")
@example("http://a:b@c:99999999/")
@example("mailto:someone@example.com")
@example("https://" + "a" * 5000)
def test_understanding_gives_a_name_or_bad_name(text: str) -> None:
    try:
        typed = names.understand(text)
    except BadName as bad:
        assert bad.reason
        assert bad.text == text
    else:
        assert names.normalise(typed.name) == typed.name


@settings(deadline=None)  # the first look-up reads the public suffix list
@given(ANY_TEXT)
def test_granting_is_for_names_only(text: str) -> None:
    try:
        names.grantable(text)
    except BadName:
        return
    assert not names.is_public_suffix(names.normalise(text))


@given(CANONICAL)
@example("")
def test_a_name_survives_the_wire(name: str) -> None:
    wire = names.to_wire(name)
    assert names.from_wire(wire) == name
    assert names.from_wire(wire.upper()) == name  # length octets are below the letters


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=5))
def test_any_wire_name_reads_as_as_many_labels_as_it_has(labels: list[bytes]) -> None:
    text = names.from_wire(b"".join(bytes((len(label),)) + label for label in labels) + b"\0")
    assert len(text.split(".") if text else []) == len(labels)


@given(st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=5), CANONICAL)
def test_a_wire_label_with_odd_bytes_is_never_taken_for_a_policy_name(labels: list[bytes], name: str) -> None:
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if names.from_wire(wire) == name:
        assert wire.lower() == names.to_wire(name)


@given(CANONICAL)
def test_a_key_and_its_name_are_each_others_inverse(name: str) -> None:
    key = names.key(name)
    assert names.from_key(key) == name
    assert key.endswith(".")


@given(CANONICAL, CANONICAL)
def test_keys_of_names_below_begin_with_the_key_above(name: str, above: str) -> None:
    assert names.key(name).startswith(names.key(above)) == names.is_at_or_below(name, above)


def naively_at_or_below(name: str, above: str) -> bool:
    labels, upper = name.split("."), above.split(".")
    return labels[len(labels) - len(upper) :] == upper if len(upper) <= len(labels) else False


@given(CANONICAL, CANONICAL, st.data())
def test_below_is_decided_by_labels(name: str, other: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(name) - 1))
    for above in (name, other, f"{other}.{name}", name[cut:].lstrip(".") or name):
        assert names.is_at_or_below(name, above) == naively_at_or_below(name, above)
        assert names.is_at_or_below(above, name) == naively_at_or_below(above, name)
        assert names.is_at_or_below(name, above) == (above in names.ancestors(name))


@pytest.mark.parametrize(
    ("name", "above", "expected"),
    [
        ("facebook.com", "facebook.com", True),
        ("www.facebook.com", "facebook.com", True),
        ("notfacebook.com", "facebook.com", False),
        ("com", "facebook.com", False),
        ("facebook.com.example", "facebook.com", False),
    ],
)
def test_a_name_that_only_looks_alike_is_not_below(name: str, above: str, expected: bool) -> None:
    assert names.is_at_or_below(name, above) is expected


@pytest.mark.parametrize(
    ("typed", "name", "had_path"),
    [
        ("YouTube.com", "youtube.com", False),
        ("https://www.youtube.com/watch?v=abc", "www.youtube.com", True),
        ("www.youtube.com/", "www.youtube.com", False),
        ("https://bücher.example:8443/#top", "xn--bcher-kva.example", True),
        ("  example.com.  ", "example.com", False),
        ("http://teacher:secret@example.com/", "example.com", False),
    ],
)
def test_a_pasted_address_is_understood(typed: str, name: str, had_path: bool) -> None:
    assert names.understand(typed) == names.Typed(name, had_path)


@pytest.mark.parametrize(
    "typed", ["", " ", ".", "a..b", "192.0.2.1", "http://[2001:db8::1]/", "ftp://example.com", "a b.com", "example.1"]
)
def test_what_names_no_site_is_refused_in_words(typed: str) -> None:
    with pytest.raises(BadName) as caught:
        names.understand(typed)
    assert caught.value.reason


@pytest.mark.parametrize("typed", ["com", "github.io", "co.uk", "localhost", "printer.localhost"])
def test_a_grant_cannot_open_a_suffix_or_the_computer_itself(typed: str) -> None:
    with pytest.raises(BadName):
        names.grantable(typed)
