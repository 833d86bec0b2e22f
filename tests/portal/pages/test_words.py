"""The pure parts of the pages: words for every state, moments in the district's zone, forms, tables, findings."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from enum import StrEnum
from zoneinfo import ZoneInfo

import pytest

from blocklists.policy import Action, Audience, AuthorityKind, Entry, Hours, Match, ReasonKind
from portal.desk.workflow import Event
from portal.errors import FieldError, Invalid
from portal.models.words import Role, State, Use
from portal.nodes.delivery import Standing
from portal.pages import cards, forms, frame, review_form, sign_in, story, tables, times, words

CHICAGO = ZoneInfo("America/Chicago")


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (words.STATES, State),
        (words.USES, Use),
        (words.AUDIENCES, Audience),
        (words.MATCHES, Match),
        (sign_in._TITLES, Role),
        (words.AUTHORITIES, AuthorityKind),
        (words.ACTIONS, Action),
        (words.REASONS, ReasonKind),
        (cards._STATES, Standing),
        (story._DID, Event),
    ],
)
def test_every_member_of_a_closed_set_has_a_word(table: Mapping[StrEnum, object], kind: type[StrEnum]) -> None:
    assert set(table) == set(kind)


def test_every_state_has_a_picture_that_exists() -> None:
    icons = (frame.HERE / "templates" / "icons.svg").read_text()
    for word in (*words.STATES.values(), *words.ACTIONS.values(), *story._DID.values()):
        assert f'id="i-{word.icon}"' in icons


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_a_moment_names_its_zone_over_the_change_of_the_clocks() -> None:
    assert plain(times.moment(1_772_642_520, CHICAGO)) == "Mar 4, 2026, 10:42 AM CST"
    assert plain(times.moment(1_783_014_000, CHICAGO)) == "Jul 2, 2026, 12:40 PM CDT"
    assert 'datetime="2026-03-04T10:42:00-06:00"' in times.when(1_772_642_520, CHICAGO)
    assert times.when(None, CHICAGO) == "—"


def test_midnight_is_the_end_of_the_day_before_and_the_start_of_its_own() -> None:
    midnight = 1_779_512_400  # 2026-05-23T00:00-05:00
    assert plain(times.until_text(midnight, CHICAGO)) == "the end of Fri, May 22, 2026"
    assert plain(times.since_text(midnight, CHICAGO)) == "Sat, May 23, 2026"
    assert plain(times.until_text(midnight - 3600, CHICAGO)) == "May 22, 2026, 11:00 PM CDT"
    assert times.until(None, CHICAGO) == "no end"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (60, "1 minute"),
        (7_199, "1 hour"),
        (7_200, "2 hours"),
        (90_000, "1 day"),
        (-5, "less than a minute"),
    ],
)
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert times.age(seconds) == text


def test_a_delay_is_said_as_precisely_as_it_matters() -> None:
    assert [times.lasted(ms) for ms in (38, 2_449, 200_000)] == ["38 ms", "2.4 s", "3 minutes"]


def test_text_that_is_no_date_is_shown_as_it_is_and_escaped() -> None:
    assert times.day("<b>") == "&lt;b&gt;"


def test_lists_and_names_in_words() -> None:
    assert [words.listed(one) for one in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [words.sentence(one) for one in ("say why", "co.uk is a suffix", "localhost is", "")] == [
        "Say why",
        "co.uk is a suffix",
        "localhost is",
        "",
    ]
    entries = [Entry("a.example", Match.SUBTREE), Entry("b.example", Match.VIA), Entry("c.example", Match.EXACT)]
    assert frame.entries(entries) == "a.example and c.example only (by way of b.example)"
    many = [Entry(f"{one}.example", Match.SUBTREE) for one in "abcdef"]
    assert frame.entries_short(many) == "a.example, b.example, c.example and 3 more names"
    assert frame.hours(Hours((0, 2), 480, 900)) == "Mon and Wed, 08:00–15:00"


def test_an_error_finds_its_field_and_its_row() -> None:
    errors = (FieldError("tools[1].name", "no"), FieldError("ends_on", "late"), FieldError("tools", "too many"))
    form = forms.refused({"tool": ["a", "b"]}, Invalid("Please mend.", errors))
    assert form.wrong("tools[1]") == ["no"]
    assert form.wrong("tools[0]") == []
    assert form.wrong_itself("tools") == ["too many"]
    assert [form.anchor(one.field) for one in errors] == ["f-tools-1", "f-ends-on", "f-tools"]
    assert (form.value("tool"), form.value("none"), form.title) == ("a", "", "Please mend.")


def test_mistakes_of_ticked_entries_are_led_back_to_their_rows() -> None:
    typed = {"entry_name": ["a.example", "", "b.example"], "entry_match": ["exact"], "entry_on": ["1", "2"]}
    draft = review_form.draft(typed)
    assert [(one.name, one.match) for one in draft.entries] == [("b.example", "subtree")]
    error = Invalid("Please mend.", (FieldError("grant.entries[0].name", "no"), FieldError("grant.ends_at", "late")))
    assert [one.field for one in review_form.refused(typed, error).errors] == ["entries[2].name", "ends_at"]


def test_days_and_hours_of_a_grant_go_to_the_form_and_back() -> None:
    typed = {
        "starts_at": ["2026-03-04"],
        "starts_time": ["08:00"],
        "ends_at": ["2026-05-22"],
        "ends_time": [""],
        "hours1_days": ["4", "nonsense", "9"],
        "hours1_start": ["08:00"],
        "hours1_end": ["09:00"],
    }
    draft = review_form.draft(typed)
    assert (draft.starts_at, draft.ends_at) == ("2026-03-04T08:00", "2026-05-22")
    (hours,) = draft.hours
    assert (hours.days, hours.start, hours.end) == ((4,), "08:00", "09:00")
    again = review_form.draft(review_form.typed(draft))
    assert (again.starts_at, again.ends_at, again.hours) == (draft.starts_at, draft.ends_at, draft.hours)


def test_a_cell_that_looks_like_a_formula_is_text() -> None:
    rows = [("=1+1", None), ("@x", "a,b"), (-3, 'say "hi"')]
    lines = [tables._cell(value) for row in rows for value in row]
    assert lines == ["'=1+1", "", "'@x", "a,b", "-3", 'say "hi"']
    out = io.StringIO()
    csv.writer(out).writerow(lines)
    assert next(csv.reader(io.StringIO(out.getvalue()))) == lines


def test_what_is_ticked_in_a_long_list_stands_on_top() -> None:
    options = [words.Option(one, one) for one in "abcd"]
    assert "".join(one.value for one in words.picked_first(options, ["d", "b"])) == "bdac"
