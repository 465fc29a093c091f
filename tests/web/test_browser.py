"""The pages in a real Chromium: drawn, used, live, without a server for a while, without script."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest

from tests.support.browser import Engine, Server, chromium, left_out
from tests.support.processes import PROGRAMS
from tests.support.server import serving
from veritas_peewee import sync
from veritas_peewee.testing import make_audit, make_event, make_finding, make_png

SHOP = "https://shop.example/"
PATIENCE = 60_000


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def server(path):
    found = Server(path)
    yield found
    found.kill()


@pytest.fixture
def engine(path, server):
    found = Engine(path)
    yield found
    found.close()


@pytest.fixture
def open_at(browser):
    """Opens a page of a server; whatever the browser complains about is a failure."""
    opened = []

    def open_(address, **options):
        context = browser.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(address)
        opened.append((context, complaints))
        return page

    yield open_
    for context, complaints in opened:
        context.close()
        # While the server is gone, the browser says so.
        assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest.fixture
def open_page(open_at, server):
    """Opens a page of the server that the test's engine writes beside."""
    return lambda path="/", **options: open_at(server.url + path, **options)


@pytest.fixture
def starting(path):
    """The address of `veritas-peewee serve` with an engine."""
    runs = [sys.executable, "-S", str(PROGRAMS / "engine.py"), json.dumps(make_event("log_entry"))]
    with serving(path, "--writable", "--engine", shlex.join(runs)) as found:
        yield found.address


def fill(engine, number=3):
    """Completed audits of a shop, newest last; returns their ids."""
    ids = []
    for n in range(number):
        finding = make_finding(1, screenshot_index=0, severity=["low", "high"][n % 2])
        other = make_finding(2, pattern_type=f"pattern_{n}", category="sneaking")
        audit = make_audit(
            f"{SHOP}{n}", findings=[finding, other], trust_score=30.0 + 20 * n,
            site_type="shop" if n else "news", narrative="# Verdict\n\nIt is **odd**.\n\n- a\n- b",
            signal_scores={"visual": 40.0, "graph": 80.0}, recommendations=["leave"],
            security_results={"tls": {"score": 0.9}},
        )  # fmt: skip
        ids.append(engine.do(sync.ingest, audit).id)
    return ids


def paths(ids):
    return ["/", "/?status=completed&order=highest", f"/audits/{ids[0]}", "/search?q=hidden",
            "/search", "/?min_score=x", "/audits/none", "/sites/shop.example",
            f"/compare?ids={ids[0]}&ids={ids[1]}", "/integrity?examine=1"]  # fmt: skip


def test_each_page_is_drawn_on_a_desktop_and_a_phone(engine, open_page):
    ids = fill(engine)
    running = engine.do(sync.create, "https://live.example/").id
    engine.do(sync.record, running, {"type": "phase_start", "phase": "scout", "pct": 20})
    for size in ({"width": 1280, "height": 900}, {"width": 320, "height": 640}):
        page = open_page("/", viewport=size)
        for path in [*paths(ids), f"/audits/{running}"]:
            page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + path)
            assert page.locator("h1").count() == 1
            # Nothing is wider than the window: it is read without scrolling sideways.
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], (path, width)
            assert page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius")
        page.goto(f"{page.url.split('/audits')[0]}/audits/{ids[0]}")
        for image in page.locator("main img").all():
            image.scroll_into_view_if_needed()
            page.wait_for_function(
                "(e) => e.complete && e.naturalWidth > 0", arg=image.element_handle()
            )


BROKEN = """() => {
  const found = [], walker = document.createTreeWalker(document.querySelector("main"), 4);
  const above = (node, at) => {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getClientRects()[0]?.top;
  };
  while (walker.nextNode()) {
    const node = walker.currentNode, text = node.data;
    if (node.parentElement.closest(".hidden") || node.parentElement.clientWidth < 2) continue;
    for (let at = 1; at < text.length; at++)
      if (/^[^\\s/?&.=#_-][^\\s]$/.test(text.slice(at - 1, at + 1)))
        if (above(node, at) > above(node, at - 1) + 4) found.push(text.slice(at - 9, at + 9));
  }
  return found;
}"""
"""The words that are broken in the middle, not behind one of their signs."""


def test_no_word_is_broken_in_the_middle_that_fits_a_line(engine, open_page):
    """Neither an address nor what stands beside one in a table."""
    url = "https://accounts.long-name.shop.example/checkout/step?session=abcdef&return=cart"
    audit = engine.do(sync.create, url).id
    for kind in ("phase_start", "phase_complete"):
        engine.do(sync.record, audit, {"type": kind, "phase": "security", "message": url})
    finding = {"type": "finding", "finding": make_finding(1, description=f"at {url}")}
    engine.do(sync.record, audit, finding)
    engine.do(sync.update_status, audit, "disconnected", error_message=f"lost {url}")
    host = "accounts.long-name.shop.example"
    for width in (320, 700, 1000, 1400):
        page = open_page("/", viewport={"width": width, "height": 900})
        root = page.url.rstrip("/")
        for path in ("/", f"/audits/{audit}", f"/sites/{host}", "/search?q=checkout",
                     f"/api/audits/{audit}/report"):  # fmt: skip
            page.goto(root + path)
            broken = [word for word in page.evaluate(BROKEN) if "…" not in word]
            assert (width, path, broken) == (width, path, [])
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_filter_is_used_and_a_page_is_turned(engine, open_page):
    ids = fill(engine, 3)
    page = open_page("/?limit=1")
    rows = page.locator("#audits tbody tr")
    assert rows.first.get_attribute("id") == f"a-{ids[2]}"
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**cursor=**")
    assert rows.first.get_attribute("id") == f"a-{ids[1]}"
    page.get_by_role("link", name="First page").click()
    page.get_by_label("Max score").fill("60")
    page.get_by_label("Order", exact=True).select_option("lowest")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**max_score=60**")
    assert rows.first.get_attribute("id") == f"a-{ids[0]}"
    page.get_by_role("link", name="news", exact=True).click()
    page.wait_for_url("**site_type=news**")
    page.wait_for_selector("#facets:has-text('1 audit with these filters')")
    page.get_by_label("Search the audits").fill("cancel")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=cancel**")
    assert page.locator("mark").count() >= 1
    assert page.locator(".hits > li").count() == 1  # the filters are those of the list
    page.locator(".hits a").first.click()
    page.wait_for_url(f"**/audits/{ids[0]}")


def test_two_images_are_compared(engine, open_page):
    ids = fill(engine, 2)
    shot = make_event("screenshot", index=0, data=make_png(7, 300))
    other = make_audit(f"{SHOP}0", screenshots=0)
    ids.append(engine.do(sync.ingest, [shot, *other]).id)
    page = open_page(f"/compare?ids={ids[0]}&ids={ids[2]}")
    pair = page.locator(".pair")
    assert "over" not in pair.get_attribute("class")
    page.get_by_label("Before or after").fill("40")
    assert pair.get_attribute("class") == "pair over"
    after = pair.locator("figure").nth(1)
    assert "40%" in after.evaluate("(e) => getComputedStyle(e).clipPath")
    page.get_by_label("Difference").check()
    assert after.evaluate("(e) => getComputedStyle(e).mixBlendMode") == "difference"


def test_two_images_are_compared_by_keyboard_and_without_script_side_by_side(engine, open_page):
    ids = fill(engine, 2)
    shot = make_event("screenshot", index=0, data=make_png(7, 300))
    ids.append(engine.do(sync.ingest, [shot, *make_audit(f"{SHOP}0", screenshots=0)]).id)
    path = f"/compare?ids={ids[0]}&ids={ids[2]}"
    page = open_page(path)
    before, after = page.locator(".pair figure").all()
    page.get_by_label("Before or after").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "3%" in after.evaluate("(e) => getComputedStyle(e).clipPath")
    places = [(box["x"], box["y"]) for box in (before.bounding_box(), after.bounding_box())]
    assert places[0] == places[1]  # one lies over the other
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert after.evaluate("(e) => getComputedStyle(e).mixBlendMode") == "difference"
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")
    plain = open_page(path, java_script_enabled=False)
    assert plain.locator("input[type=range]").count() == 0
    for shown in (page, plain):
        before, after = [one.bounding_box() for one in shown.locator(".pair figure").all()]
        assert before["x"] + before["width"] <= after["x"]
        assert before["y"] == after["y"]


@pytest.mark.parametrize("scripts", [True, False])
def test_an_audit_is_started_with_a_form(starting, open_at, scripts):
    page = open_at(starting, java_script_enabled=scripts)
    page.get_by_role("link", name="New audit").click()
    page.get_by_label("Address").fill("ftp://shop.example/")
    page.get_by_role("button", name="Start").click()
    fault = page.locator("#url-fault")
    assert "ftp://shop.example/" in fault.inner_text()
    field = page.get_by_label("Address")
    assert field.input_value() == "ftp://shop.example/"
    assert field.get_attribute("aria-invalid") == "true"
    field.fill(SHOP)
    page.get_by_label("Tier").select_option("quick scan")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/audits/vrts_*")
    assert page.locator("h1").count() == 1
    page.wait_for_selector(f"text={SHOP}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_form(starting, open_at, scheme):
    page = open_at(f"{starting}new", color_scheme=scheme, viewport={"width": 320, "height": 640})
    for _ in range(2):
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.get_by_label("Address").fill("ftp://shop.example/")
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("#url-fault")


def test_the_keyboard_reaches_the_content_first(engine, open_page):
    page = open_page("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_live_audit_appears_progresses_and_ends_on_the_list(engine, open_page):
    fill(engine, 1)
    page = open_page("/")
    page.evaluate("window.same = true")
    audit = engine.do(sync.create, "https://live.example/").id
    page.wait_for_selector(f"#a-{audit}")
    assert "queued" in page.inner_text(f"#a-{audit}")
    engine.do(sync.record, audit, {"type": "phase_start", "phase": "deep_scan", "pct": 12})
    page.wait_for_selector(f"#run-{audit} .pct:text-is('12 %')")
    assert "deep scan" in page.inner_text(f"#run-{audit}")
    engine.do(sync.record, audit, {"type": "phase_complete", "phase": "deep_scan", "pct": 80})
    page.wait_for_selector(f"#run-{audit} .pct:text-is('80 %')")
    result = {"url": "https://live.example/", "trust_score": 71.0, "risk_level": "trusted"}
    engine.do(sync.record, audit, {"type": "audit_result", "result": result})
    engine.do(sync.record, audit, {"type": "audit_complete"})
    page.wait_for_selector(f"#a-{audit} .score:text-is('71')")
    assert page.locator(f"#run-{audit}").count() == 0
    engine.do(sync.delete, audit)
    page.wait_for_selector(f"#a-{audit}", state="detached")
    assert page.evaluate("window.same") is True


def events_of(page):
    return page.evaluate("[...document.querySelectorAll('#events > tr')].map(r => +r.id.slice(6))")


def test_a_live_audit_progresses_and_ends_on_its_page(engine, open_page):
    audit = engine.do(sync.create, "https://live.example/").id
    page = open_page(f"/audits/{audit}")
    page.evaluate("window.same = true")
    assert "queued" in page.inner_text("#progress").lower()
    ids = [engine.do(sync.record, audit, {"type": "phase_start", "phase": "scout", "pct": 10})]
    page.wait_for_selector("#progress .pct:text('10 %')")
    ids += engine.do(
        sync.record_many, audit, [make_event(message=f"<b>n{n}</b>") for n in range(230)]
    )
    page.wait_for_selector(f"#event-{ids[-1]}")
    finding = make_event("finding", finding=make_finding(1, description="<img src=x> is hidden"))
    ids.append(engine.do(sync.record, audit, finding))
    page.wait_for_selector("#findings .finding")
    assert "<img src=x> is hidden" in page.inner_text("#findings")
    ids.append(engine.do(sync.record, audit, make_event("screenshot", label="home", index=1)))
    page.wait_for_selector("#screenshot-1 img")
    result = {"url": "https://live.example/", "trust_score": 22.0, "risk_level": "high_risk"}
    ids.append(engine.do(sync.record, audit, {"type": "audit_result", "result": result}))
    ids.append(engine.do(sync.record, audit, {"type": "audit_complete"}))
    page.wait_for_selector("#seal:has-text('it is as it was written')")
    assert "high risk" in page.inner_text("#verdict").lower()
    assert page.locator("#progress").is_hidden()
    assert events_of(page) == ids
    assert page.locator("#events b").count() == 0
    assert page.evaluate("window.same") is True


def test_an_audit_that_is_removed_says_so(engine, open_page):
    audit = engine.do(sync.create, "https://live.example/").id
    page = open_page(f"/audits/{audit}")
    engine.do(sync.record, audit, make_event())
    page.wait_for_selector("#events > tr")
    engine.do(sync.delete, audit)
    page.wait_for_selector("#state:text('This audit was removed.')")


def test_viewers_who_lose_the_server_catch_up(engine, server, open_page):
    audit = engine.do(sync.create, "https://live.example/").id
    ids = engine.do(sync.record_many, audit, [make_event("phase_start"), make_event()])
    page, whole = open_page(f"/audits/{audit}"), open_page("/")
    for viewer in (page, whole):
        viewer.evaluate("window.same = true")
    ids.append(engine.do(sync.record, audit, make_event()))
    page.wait_for_selector(f"#event-{ids[-1]}")
    server.kill()
    page.wait_for_selector("#state:text('The server does not answer')")
    whole.wait_for_selector("#state:text('The server does not answer')")
    ids += engine.do(sync.record_many, audit, [make_event() for _ in range(120)])
    server.start()
    page.wait_for_selector(f"#event-{ids[-1]}")
    whole.wait_for_selector(f"#run-{audit}")
    for viewer in (page, whole):
        viewer.wait_for_selector("#state:text-is('')", state="attached")
    ids.append(engine.do(sync.record, audit, make_event("phase_start", phase="last", pct=99)))
    page.wait_for_selector(f"#event-{ids[-1]}")
    whole.wait_for_selector("#running .phase:text('last')")
    assert events_of(page) == ids
    ids.append(engine.do(sync.record, audit, {"type": "audit_complete"}))
    page.wait_for_selector(f"#event-{ids[-1]}")
    page.wait_for_selector("#seal:has-text('it is as it was written')")
    whole.wait_for_selector("#running", state="hidden")
    assert events_of(page) == ids
    for viewer in (page, whole):
        assert viewer.evaluate("window.same") is True


def test_without_script_pages_are_whole(engine, open_page):
    ids = fill(engine, 2)
    live = engine.do(sync.create, "https://live.example/").id
    engine.do(sync.record, live, {"type": "phase_start", "phase": "scout", "pct": 33})
    page = open_page("/?limit=1&status=completed", java_script_enabled=False)
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**cursor=**")
    assert page.locator(f"#a-{ids[0]}").count() == 1
    page.get_by_role("link", name="Audits", exact=True).click()
    assert "33 %" in page.inner_text(f"#run-{live}")
    page.locator(f"#run-{live} a").click()
    assert "33 %" in page.inner_text("#progress")
    engine.do(sync.record, live, {"type": "phase_start", "phase": "scout", "pct": 44})
    page.get_by_role("link", name="show it as it is now").click()
    assert "44 %" in page.inner_text("#progress")


def test_the_store_is_verified_from_its_page(starting, open_at):
    page = open_at(f"{starting}integrity", viewport={"width": 320, "height": 640})
    page.get_by_role("button", name="Verify all of it now").click()
    while not page.get_by_text("All is there, as it was written.").count():
        assert "Under way" in page.inner_text("main")
        page.goto(f"{starting}integrity")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def violations(page):
    """What axe-core has to say against a page."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        left_out("PyPI's axe-playwright-python is not installed, so axe-core was not run")
    return [
        (page.url, one["id"], node["html"][:200], re.sub(r"\s+", " ", node["failureSummary"]))
        for one in Axe().run(page).response["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(engine, server, open_page, scheme, width):
    ids = fill(engine)
    live = engine.do(sync.create, "https://live.example/").id
    engine.do(sync.record, live, {"type": "phase_start", "phase": "scout", "pct": 33})
    failed = engine.do(sync.ingest, make_audit("https://bank.example/", error="it fell over")).id
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    for path in [*paths(ids), f"/audits/{live}", f"/audits/{failed}"]:
        page.goto(server.url + path)
        assert violations(page) == []
