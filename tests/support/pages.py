"""A page that is looked through for whatever it should not have."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx2

from veritas_peewee.web.pages_frame import POLICY

VOID = {"wbr", "meta", "link", "br", "img", "hr", "input", "circle", "rect", "path", "line"}
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Page(HTMLParser):
    """What is on a page, which is well formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._goes_on = False
        self.feed(text)
        self.close()
        assert self.open == []
        assert not HARMFUL.search(text)
        self.check()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":  # a line may end here, and no word does
            self._goes_on = True
            return
        values = dict(attrs)
        assert len(values) == len(attrs), attrs
        self.tags.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._goes_on:
            self.words[-1] += data
        else:
            self.words.append(data)
        self._goes_on = False

    @property
    def text(self) -> str:
        return " ".join(self.between.join(self.words).split())

    between = ""
    """What is read between two pieces of text that a tag parts."""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements with this name."""
        return [values for name, values in self.tags if name == tag]

    @property
    def links(self) -> list[str]:
        return [values["href"] or "" for values in self.all("a")]

    @property
    def ids(self) -> list[str]:
        return [values["id"] or "" for _, values in self.tags if "id" in values]

    def check(self) -> None:
        """Look for what such a page should not have."""


class Seen(Page):
    """A page of the web: it runs nothing of its own and links only within us."""

    between = " "

    @property
    def headings(self) -> list[int]:
        """The levels of its headings."""
        return [int(tag[1]) for tag, _ in self.tags if re.fullmatch("h[1-6]", tag)]

    def check(self) -> None:
        assert len(self.ids) == len(set(self.ids)), self.ids
        for tag, values in self.tags:
            assert tag not in ("style", "iframe", "object", "embed", "base"), tag
            assert "style" not in values, values
            assert not [name for name in values if name.startswith("on")], values
            if tag == "script":
                assert re.search(r"/static/pages\.js\?v=\w{16}$", values["src"] or "")
            for name in ("href", "src", "action", "data-src", "data-stream"):
                if name in values:
                    where = values[name] or ""
                    assert re.match(r"/(?!/)|#|https?://|data:,$", where), where
        labelled = {values.get("for") for values in self.all("label")}
        for tag in ("input", "select"):
            for values in self.all(tag):
                assert values.get("type") == "hidden" or values["id"] in labelled
        for values in self.all("img"):
            assert "alt" in values
        before = 0 if self.all("main") else 1  # a part of a page begins below its title
        for level in self.headings:
            assert level <= before + 1, self.headings
            before = level


def seen(response: httpx2.Response, status: int = 200, referrer: str = "no-referrer") -> Seen:
    """A page as it was answered, with the headers that every page has."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == referrer
    page = Seen(response.text)
    if response.text.startswith("<!doctype html>"):
        assert len(page.all("main")) == 1
        assert page.headings.count(1) == 1
        assert page.all("html") == [{"lang": "en"}]
    return page
