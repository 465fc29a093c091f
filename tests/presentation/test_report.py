"""A report stands alone: everything of the audit, nothing loaded, nothing run, all escaped."""

from __future__ import annotations

import base64
import html
import re
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.database_files import by_hand
from tests.support.events import event
from tests.support.pages import Page
from tests.support.processes import ROOT
from veritas_peewee import AuditNotFound, connect
from veritas_peewee.database import current
from veritas_peewee.ledger.stored import read_stored
from veritas_peewee.presentation.page import clean, flowing, markdown
from veritas_peewee.presentation.report import report_html
from veritas_peewee.queries import lookups
from veritas_peewee.recording import ingest, operations, recorder
from veritas_peewee.testing import make_event, make_png

SAMPLES = ROOT / "data" / "samples"
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "div",
    "span", "p", "h1", "h2", "h3", "h4", "h5", "h6", "dl", "dt", "dd", "ul", "ol", "li", "table",
    "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "a", "svg", "circle", "rect",
    "text", "br", "hr", "strong", "em", "code", "pre", "blockquote",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "rel", "src", "alt",
    "viewbox", "role", "aria-label", "aria-hidden", "cx", "cy", "r", "fill", "stroke", "x", "y",
    "stroke-width", "stroke-dasharray", "transform", "text-anchor", "font-size", "font-weight",
    "width", "height", "preserveaspectratio", "start", "style",
}  # fmt: skip


class Report(Page):
    """A report: it has the elements of a text and pictures of its own, and nothing else."""

    @property
    def images(self) -> list[str]:
        return [values["src"] or "" for values in self.all("img")]

    def check(self) -> None:
        for tag, values in self.tags:
            assert tag in ALLOWED, tag
            assert set(values) <= ATTRIBUTES, values
            if "style" in values:
                assert re.fullmatch(r"text-align:(left|right|center)", values["style"] or "")
        for link in self.links:
            assert re.match(r"(https?://|#screenshot-)", link, re.I), link
        for image in self.images:
            assert re.match(r"data:image/(png|jpeg|webp);base64,", image)


def checked(text: str) -> Report:
    page = Report(text)
    assert text.startswith("<!doctype html>")
    assert "default-src 'none'" in text
    text.encode()
    return page


@pytest.mark.parametrize("name", ["shop-2026-04.json", "stream-odd-values.json",
                                  "clinic-unreachable.json", "travel-stdout.txt"])  # fmt: skip
def test_a_report_has_all_of_an_audit(path, name, monkeypatch):
    monkeypatch.chdir(SAMPLES.parents[1])
    with connect(path):
        audit_id = ingest.ingest(str(SAMPLES / name)).id
        audit = lookups.get(audit_id)
        page = checked(report_html(audit_id))
        assert audit.url in page.text
        assert audit.seal in page.text
        assert "it is as it was written" in page.text
        for row in audit.findings:
            assert " ".join(clean(row.description).split()) in page.text
        for module in audit.security_results:
            assert module.replace("_", " ") in page.text
        assert len(page.images) == len(audit.screenshots)
        folder = current.screenshot_folder()
        for shot, image in zip(audit.screenshots, page.images, strict=True):
            assert base64.b64decode(image.split(",")[1]) == folder.read(shot.file_path)
            assert f"screenshot-{shot.index_num}" in page.ids
        for link in page.links:
            assert not link.startswith("#") or link[1:] in page.ids


HOSTILE = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "<!-- ",
    "]]><svg onload=alert(1)>",
    "&lt;script&gt;&#60;script&#62;",
    "{{7*7}} ${7*7}",
    "\u202egnp.exe\u2066\x1b]0;x\x07\x9b",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt&colon;alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[click](//evil.example/x) [file](file:///etc/passwd) [rel](../x)",
    "![pixel](https://evil.example/pixel.png)",
    "![pixel][1]\n\n[1]: https://evil.example/pixel.png",
    '<https://evil.example/?a="b"> <javascript:alert(1)>',
    '[x](https://evil.example/"onclick="alert(1) "ti\\"tle")',
    "```html\n<script>alert(1)</script>\n```",
    "<iframe srcdoc='x'>\n\n<b>html</b>",
    "&#x202e;&#27;",
    "> " * 500 + "deep",
    "[" * 3000,
    "| a | b |\n|---|:-:|\n| <b>1</b> | [x](javascript:1) |",
]


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text)[1:25] for text in HOSTILE])
def test_hostile_texts_stay_texts_wherever_they_stand(path, text):
    with connect(path) as database:
        audit_id = operations.create("https://example.com/").id
        operations.update(
            audit_id, narrative=text, risk_level=text[:50], site_type=text[:50], errors=[text],
            error_message=text, audit_tier=text[:50], verdict_mode=text[:20],
            signal_scores={text: 5}, security_results={text: {text: [text, {text: text}]}},
        )  # fmt: skip
        recorder.record(audit_id, {"type": text[:90], "message": text})
        recorder.record(audit_id, {"type": "x", text: text, "rest": [text]})
        recorder.record(audit_id, {"type": "finding", "finding": {
            "id": "f", "category": text[:50], "pattern_type": text[:90], "severity": "high",
            "confidence": 0.5, "description": text, "plain_english": text}})  # fmt: skip
        recorder.record(audit_id, make_event("screenshot", label=text))
        # Past all checks, as another program could.
        for table, column in (("audits", "url"), ("audits", "status"), ("audits", "created_at"),
                              ("audits", "seal"), ("audit_findings", "severity"),
                              ("audit_findings", "created_at"), ("audit_events", "timestamp"),
                              ("audit_screenshots", "sha256"),
                              ("audit_screenshots", "media_type")):  # fmt: skip
            database.raw.execute(f"UPDATE {table} SET {column} = ?", (text,))
        page = checked(report_html(audit_id))
        assert "not as it was written" in page.text
        assert len(page.images) == 1
        database.raw.execute("DELETE FROM audits")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    with connect(tmp_path_factory.mktemp("report") / "audits.db") as database:
        yield database


@settings(
    max_examples=amount(20, 60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(event, max_size=8))
def test_any_audit_has_a_report(script, events):
    audit = operations.create("https://example.com")
    for one in events:
        recorder.record(audit.id, one, lenient=True)
    checked(report_html(audit.id))


def test_the_narrative_is_rendered_and_a_link_shows_where_it_leads():
    found = markdown("# Verdict\n\n**Bad.** See [this](https://a.example/x?a=1&b=2).\n\n- one\n")
    assert "<strong>Bad.</strong>" in found
    assert '<a href="https://a.example/x?a=1&amp;b=2" rel="noopener noreferrer nofollow">' in found
    assert "<li>one</li>" in found


def test_without_the_library_the_narrative_is_shown_as_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    assert markdown("**a** <b>") == '<div class="plain">**a** &lt;b&gt;</div>'


def test_an_image_that_is_gone_is_told_and_the_rest_shown(path):
    with connect(path):
        audit_id = operations.create("https://example.com").id
        recorder.record(audit_id, make_event("screenshot", label="home"))
        file = current.screenshot_folder().root / lookups.get(audit_id).screenshots[0].file_path
        image = file.read_bytes()
        file.unlink()
        page = checked(report_html(audit_id))
        assert "cannot be read: No such file" in page.text
        assert "it is as it was written" not in page.text
        file.write_bytes(b"<script>")
        assert "the image cannot be shown" in checked(report_html(audit_id)).text
        file.write_bytes(image)
        assert "it is as it was written" in checked(report_html(audit_id)).text
        with pytest.raises(AuditNotFound):
            report_html("nope")


def test_an_image_that_was_exchanged_is_told_beside_it_and_at_the_end(path):
    with connect(path) as database:
        audit_id = operations.create("https://example.com").id
        for index in range(2):
            image = make_png(index)
            recorder.record(
                audit_id, make_event("screenshot", index=index, label=f"page {index}", data=image)
            )
        shots = lookups.get(audit_id).screenshots
        file = current.screenshot_folder().root / shots[1].file_path
        file.write_bytes(make_png(7))
        page = checked(report_html(audit_id))
        warning = f"the image {shots[1].file_path} is not the one that its row tells of"
        assert page.text.count(warning) == 2
        assert f"This audit is not as it was written: {warning}." in page.text
        assert shots[0].file_path not in page.text
        assert len(page.images) == 2
        database.execute_sql("UPDATE audit_screenshots SET sha256 = NULL, file_size_bytes = NULL")
        page = checked(report_html(audit_id))
        assert "Of 2 of its images no digest is known to check them by." in page.text
        file.unlink()
        # As the rows of an older store, whose files are elsewhere.
        page = checked(report_html(audit_id))
        assert "cannot be read: No such file" in page.text
        assert "it is as it was written" in page.text


def test_what_is_checked_is_what_is_shown(path, monkeypatch):
    def meanwhile(audit_id: str) -> Any:
        by_hand(path, "UPDATE audits SET narrative = 'later'")
        return read_stored(audit_id)

    with connect(path):
        audit_id = operations.create("https://example.com").id
        monkeypatch.setattr("veritas_peewee.presentation.report.read_stored", meanwhile)
        page = checked(report_html(audit_id))
        assert "it is as it was written" in page.text
        assert "not as it was written" in checked(report_html(audit_id)).text


def test_numbers_without_end_are_shown_as_unknown(path):
    with connect(path) as database:
        audit_id = operations.create("https://example.com").id
        database.raw.execute("UPDATE audits SET elapsed_seconds = 9e999, trust_score = 9e999")
        assert "Tookunknown" in checked(report_html(audit_id)).text


def test_on_a_phone_each_event_of_the_log_has_the_whole_width(path):
    with connect(path):
        style = report_html(operations.create("https://example.com").id)
    narrow = style[style.index("@media (max-width: 40rem)") : style.index("@media print")]
    assert re.search(r"\.log td \{ display: block; \}", narrow)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("https://shop.example/a?b=1&c=2", "https://|shop.|example/|a?|b=|1&|c=|2"),
        ("/var/lib/veritas/shot_4.png", "/|var/|lib/|veritas/|shot_|4.|png"),
        ("of e.g. 1.5 and shop.example", "of e.g. 1.5 and shop.example"),
        ("see https://shop.example/... now", "see https://|shop.|example/... now"),
        ("W" * 40, "W" * 40),
        ("<script>/alert(1)//</script>", "<script>/|alert(1)//|</|script>"),
        ("a\0/b&amp;c/d?e=f.example", "a/|b&|amp;c/|d?|e=|f.|example"),
    ],
)
def test_a_long_word_goes_on_in_the_next_line_behind_its_signs(text, lines):
    shown = flowing(text)
    assert [html.unescape(piece) for piece in shown.split("<wbr>")] == lines.split("|")
    assert "<" not in shown.replace("<wbr>", "")


def test_an_address_can_be_broken_wherever_a_report_shows_it_and_nowhere_in_a_tag(script):
    long = "https://accounts.shop.example/checkout/step?session=abcdef&return=cart"
    audit_id = ingest.ingest(
        {
            "url": long,
            "status": "completed",
            "errors": [f"scout: {long}"],
            "judge_decision": {"narrative": f"At {long} and <{long}>"},
            "vision_result": {"findings": [{"category": "x", "description": f"At {long}"}]},
            "security_results": {"headers": {"final_url": long}},
        }
    ).id
    text = report_html(audit_id)
    assert checked(text).text.count(long) >= 6
    body = text.partition("</h1>")[2]
    assert re.findall(r"checkout/(?!<wbr>)", re.sub(r"<(?!wbr>)[^>]*>", "", body)) == []
    assert "<wbr" not in "".join(re.findall(r"<(?!wbr>)[^>]*>", text))
