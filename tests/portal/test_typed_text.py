"""Whatever people type: a value or a sentence, never an undeclared exception."""

from __future__ import annotations

from contextlib import suppress
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from blocklists import names
from portal import moments
from portal.desk import tools
from portal.desk.tools import ToolDraft
from portal.fields import Mistakes
from portal.rules.services import shipped

ZONE = ZoneInfo("America/Chicago")
HOSTS = st.sampled_from(
    ["instagram.com", "https://www.flickr.com/x", "co.uk", "localhost", "Kahoot", "http://[::1", "x." * 99]
)
TYPED = st.one_of(st.text(max_size=80), HOSTS, st.text("a.-_:/@[]?#% 0é。", max_size=40))


@given(TYPED, st.lists(TYPED, max_size=3))
@example("", ["https://example.com"])
@example("My class page", ["https://pages.example.com/a"])
def test_a_tool_is_understood_or_its_fields_are_named(name: str, urls: list[str]) -> None:
    tool, errors = tools.understand(ToolDraft(name, tuple(urls)), shipped(), "tools[3]")
    assert (tool is None) == bool(errors)
    assert all(error.field.startswith(("tools[3].name", "tools[3].urls")) for error in errors)
    if tool is not None:
        assert tool.names
        assert all(names.grantable(one) == one for one in tool.names)
        assert tools.stored(tools.store(tool)) == tool


@given(st.one_of(st.text(max_size=40), st.datetimes().map(str), st.dates().map(str)), st.booleans())
@example("9999-12-31", True)
@example("0001-01-01T00:00:00+23:59", False)
@example("2026-03-04T08:00:00.999999", False)
def test_a_moment_is_read_or_refused(text: str, end: bool) -> None:
    try:
        found = moments.parse(text, ZONE, end)
    except moments.BadMoment as error:
        assert "date" in str(error) or "year" in str(error)
    else:
        assert moments.parse(moments.iso(found, ZONE), ZONE) == found


@given(st.text(max_size=12))
@example("24:00")
@example("٢٤:٠٠")
def test_a_time_of_day_is_read_or_refused(text: str) -> None:
    with suppress(moments.BadMoment):
        assert 0 <= moments.clock(text) <= 1440


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_text_keeps_what_fits_and_nothing_that_a_database_refuses(text: str, longest: int) -> None:
    mistakes = Mistakes()
    clean = mistakes.text("purpose", text, "missing", longest)
    assert len(clean) <= longest
    assert "\x00" not in clean
    assert bool(mistakes.errors) == (not clean or len(clean) < len(mistakes.text("purpose", text, "", 10_000)))
