"""A browser without a script: follows links and sends forms of the real portal, keeping what the page filled in."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

import httpx

Fields = dict[str, list[str]]


class _Forms(HTMLParser):
    """The forms of a page, by action: what a browser would send if nobody touched them, buttons left out."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, Fields] = {}
        self._form: Fields | None = None
        self._area = self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = self.forms.setdefault(given.get("action", ""), {})
        if self._form is None or ("name" not in given and tag != "option"):
            return
        if tag == "textarea":
            self._area = given["name"]
            self._form.setdefault(self._area, []).append("")
        elif tag == "select":
            self._select = given["name"]
            self._form.setdefault(self._select, []).append("")
        elif tag == "option" and self._select:
            values = self._form[self._select]
            if "selected" in given or not values[-1]:
                values[-1] = given.get("value", "")
        elif tag == "input" and (given.get("type") not in ("checkbox", "radio") or "checked" in given):
            self._form.setdefault(given["name"], []).append(given.get("value", "on"))

    def handle_data(self, data: str) -> None:
        if self._form is not None and self._area:
            self._form[self._area][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = ""
        elif tag == "select":
            self._select = ""


@dataclass
class Browser:
    """One person's browser: cookies, and the page that it shows."""

    client: httpx.Client
    page: httpx.Response | None = None

    def open(self, path: str) -> httpx.Response:
        self.page = self.client.get(path, headers={"Accept": "text/html"})
        return self.page

    @property
    def text(self) -> str:
        """What the page says: tags removed, spaces evened out."""
        assert self.page is not None
        return words(self.page.text)

    def form(self, action: str) -> Fields:
        assert self.page is not None
        parser = _Forms()
        parser.feed(self.page.text)
        assert action in parser.forms, f"no form for {action}; there are {sorted(parser.forms)}"
        return parser.forms[action]

    def send(self, action: str, changes: Mapping[str, str | Sequence[str]] | None = None) -> httpx.Response:
        """Send a form of the page, as filled in, with `changes` over it; follow where it leads."""
        fields = self.form(action)
        for name, value in (changes or {}).items():
            fields[name] = [value] if isinstance(value, str) else list(value)
        self.page = self.client.post(action, data=fields, headers={"Accept": "text/html"})
        return self.page

    def path(self) -> str:
        assert self.page is not None
        return self.page.url.path


def words(markup: str) -> str:
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", markup, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text))).strip()
