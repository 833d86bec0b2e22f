"""The table of all groups: found, sorted over every page, and many of them changed at once."""

from __future__ import annotations

import re

from tests.portal.pages.conftest import SignIn

COLUMNS = "site,name,level,audience,networks"


def first(text: str) -> str:
    """The first group of the table."""
    found = re.search(r"Choose (\w+ at School \d+)", text)
    assert found is not None, text
    return found[1]


def test_groups_of_many_pages_are_filtered_sorted_and_changed_at_once(sign_in: SignIn) -> None:
    amir = sign_in("amir")
    amir.open("/set-up/sites")
    lines = [
        f"s{at},School {at:03},high,{who},10.{at}.{n}.0/24"
        for at in range(36)
        for n, who in enumerate(("students", "staff", "guests"))
    ]
    amir.send("/set-up/sites", {"csv": "\n".join([COLUMNS, *lines]), "action": "import"})
    amir.open("/district?find=School%200&state=observed&level=high&sort=networks&order=desc")
    assert "108 groups" in amir.text and first(amir.text) == "Guests at School 035"
    amir.open("/district?find=School%200&audience=staff&sort=site&order=asc")
    assert "36 groups" in amir.text and first(amir.text) == "Staff at School 000"
    amir.send("/district/chosen", {"action": "enforce"})
    assert "tick the groups" in amir.text.lower()
    amir.open("/district?find=School%200&audience=staff")
    amir.send("/district/chosen", {"action": "enforce", "every": "yes"})
    amir.open("/district?find=School%200&state=observed")
    assert "72 groups" in amir.text and "72 groups log what would be blocked" in amir.text
    amir.send("/district/chosen", {"action": "observe", "groups": ["s1/students"], "days": "9"})
    assert "say why" in amir.text.lower()
    amir.open("/district?find=School%200")
    amir.send("/district/chosen", {"action": "change", "groups": ["s1/students", "s1/guests", "s2/staff"]})
    assert "For single groups: 2 chosen" in amir.text, "guests take the students' blocks"
    assert set(amir.form("/changes")["scopes"]) == {"group/s1/students", "group/s2/staff"}
