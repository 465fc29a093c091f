"""The pages: what each shows, that links keep the filters, and that no text of an audit acts."""

from __future__ import annotations

import re
import threading
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from fastapi import FastAPI

from tests.support.database_files import by_hand
from tests.support.pages import seen
from tests.support.processes import ROOT
from tests.support.web import application, client_of
from veritas_peewee import AuditStore, StoreBusy, StoreError
from veritas_peewee.queries.filters import Filters
from veritas_peewee.testing import make_audit, make_event, make_finding
from veritas_peewee.web import api_router, pages_integrity, pages_list, pages_router

SHOP = "https://shop.example/"
SAMPLES = ROOT / "data" / "samples"
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></main></section><img src=x onerror=alert(1)>",
    '"><b onmouseover=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}{% for x in y %}",
    "\u202egnp.exe\u2066 \u200f\x1b[31m\x07",
    "[click](javascript:alert(1)) <javascript:alert(1)> ![x](https://evil.example/x.png)",
    "| a | b |\n|:--|--:|\n| 1 | 2 |\n\n# big\n\n###### small",
    "w" * 100_000,
]


@pytest.fixture
def app(store, monkeypatch):
    # Pages wait for their counts, and everybody gets new ones, however slow the machine is.
    monkeypatch.setattr(pages_list, "PATIENCE", 60.0)
    monkeypatch.setattr(pages_list, "COUNTS_FRESH", 0.0)
    return application(store)


@pytest.fixture
async def client(app):
    async with client_of(app) as found:
        yield found


async def page_of(client, path, status=200, **headers):
    return seen(await client.get(path), status, **headers)


def query_of(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


# ---- the list ----


async def test_an_empty_store_has_pages_too(client):
    assert "There are no audits here." in (await page_of(client, "/")).text
    assert "No audit matches." in (await page_of(client, "/?status=error")).text
    assert (await client.get("/running")).status_code == 200


async def test_the_list_shows_each_audit_with_its_band_and_its_findings(client, store):
    grave = [make_finding(1), make_finding(2), make_finding(3, severity="low")]
    one = await store.ingest(make_audit(SHOP, findings=grave, trust_score=12.5))
    two = await store.ingest(make_audit("https://news.example/", findings=0, trust_score=93.0))
    bad = await store.ingest(make_audit("https://bank.example/", error="it fell over"))
    page = await page_of(client, "/")
    for audit in (one, two, bad):
        assert f"/audits/{audit.id}" in page.links
        assert audit.url in page.text
    assert "12.5 likely fraudulent suspicious 2 high 1 low" in page.text
    assert "93 trusted suspicious none" in page.text
    assert "no score error" in page.text
    assert "/sites/shop.example" in page.links
    assert "3 audits" in page.text


async def test_an_audit_that_runs_is_on_top_with_its_phase_and_percent(client, store):
    audit = await store.create(SHOP)
    await store.ingest(make_audit("https://news.example/"))
    before = (await client.get("/running")).text
    assert "hidden" in before.split(">", 1)[0]
    await store.record(audit.id, {"type": "phase_start", "phase": "deep_scan", "pct": 41.6})
    page = await page_of(client, "/")
    assert page.text.index("Running now") < page.text.index("2 audits")
    assert f"{SHOP} deep scan 42 %" in page.text
    assert page.all("progress")[0]["value"] == "41.6"
    # Only where such audits are asked for, and not again on further pages.
    assert "deep scan" not in (await page_of(client, "/?status=completed")).text
    assert "deep scan" not in (await page_of(client, "/?host=news.example")).text
    assert "deep scan" in (await page_of(client, "/?host=shop.example")).text
    first = await page_of(client, "/?limit=1")
    (further,) = [link for link in first.links if "cursor" in link]
    assert "Running now" not in (await page_of(client, further)).text


async def test_what_runs_has_another_version_once_anything_has_changed(client, store, monkeypatch):
    monkeypatch.setattr(pages_list, "FRESH", 0.0)
    versions = []

    async def look():
        page = await page_of(client, "/running")
        (section,) = page.all("section")
        versions.append(section["data-version"])

    await look()
    audit = await store.create(SHOP)
    await look()
    await store.record(audit.id, {"type": "phase_start", "phase": "scout", "pct": 1})
    await look()
    await store.record(audit.id, {"type": "audit_complete"})
    await look()
    await store.delete(audit.id)
    await look()
    assert len(set(versions)) == len(versions)
    await look()
    assert versions[-1] == versions[-2]


async def test_viewers_who_look_at_once_cost_one_read(client, store, monkeypatch):
    monkeypatch.setattr(pages_list, "FRESH", 1000.0)
    first = (await client.get("/running")).text
    audit = await store.create(SHOP)
    await store.record(audit.id, {"type": "phase_start", "phase": "scout", "pct": 1})
    assert (await client.get("/running")).text == first
    assert "scout" in (await client.get("/running?host=shop.example")).text
    for number in range(100):
        await client.get(f"/running?host=site{number}.example")
    assert "scout" in (await client.get("/running")).text


async def test_every_filter_has_a_field_and_is_kept_in_links(client, store):
    for number in range(3):
        await store.ingest(
            make_audit(SHOP, trust_score=50.0 + number, site_type="shop", audit_tier="quick_scan")
        )
    given = {
        "status": "completed", "risk_level": "suspicious", "url": SHOP, "host": "shop.example",
        "audit_tier": "quick_scan", "min_score": "50", "max_score": "60",
        "since": "2026-01", "until": "2126-01-01", "pattern_type": "hidden_cancel",
        "min_severity": "medium", "site_type": "",
    }  # fmt: skip
    assert set(given) == set(Filters.__annotations__)
    wanted = {name: value for name, value in given.items() if value}
    query = "&".join(f"{name}={value}" for name, value in given.items())
    page = await page_of(client, f"/?{query}&order=highest&limit=1")
    fields = {values["name"]: values for tag in ("input", "select") for values in page.all(tag)}
    assert set(given) | {"order", "q"} <= set(fields)
    assert fields["min_score"]["value"] == "50"
    assert [one for one in page.all("option") if "selected" in one]
    (further,) = [link for link in page.links if "cursor" in link]
    assert query_of(further).items() >= {**wanted, "order": "highest", "limit": "1"}.items()
    ids, path = [], further
    while path:
        page = await page_of(client, path)
        ids += re.findall(r"/audits/(\w+)", " ".join(page.links))
        path = next((link for link in page.links if "cursor" in link), None)
    assert len(set(ids)) == len(ids) == 2
    (without,) = [link for link in page.links if "hidden_cancel" not in link and "min_sev" in link]
    assert query_of(without) == {
        name: value
        for name, value in {**wanted, "order": "highest", "limit": "1"}.items()
        if name != "pattern_type"
    }
    hidden = {
        values["name"]: values["value"]
        for values in page.all("input")
        if values.get("type") == "hidden"
    }
    assert hidden == wanted


async def test_a_page_does_not_wait_for_counts_that_take_long(client, store, monkeypatch):
    monkeypatch.setattr(pages_list, "PATIENCE", -1.0)
    audit = await store.ingest(make_audit(SHOP, site_type="shop"))
    page = await page_of(client, "/?host=shop.example&order=oldest")
    assert f"/audits/{audit.id}" in page.links
    (facets,) = [values for values in page.all("div") if values.get("id") == "facets"]
    counts = await page_of(client, facets["data-src"])
    assert "1 audit with these filters" in counts.text
    assert query_of(next(link for link in counts.links if "site_type" in link)) == {
        "host": "shop.example", "order": "oldest", "site_type": "shop",
    }  # fmt: skip
    (link,) = [link for link in page.links if "counts=1" in link]
    assert "1 audit with these filters" in (await page_of(client, link)).text
    assert "min_score" in (await page_of(client, "/facets?min_score=x", 422)).text


async def test_counts_that_took_long_are_not_waited_for_again_for_a_while(
    client, store, monkeypatch
):
    begun = []

    def counted(**filters):
        begun.append(filters)
        return facets(**filters)

    facets = pages_list.sync.facets
    monkeypatch.setattr(pages_list.sync, "facets", counted)
    monkeypatch.setattr(pages_list, "COUNTS_FRESH", 1000.0)
    await store.ingest(make_audit(SHOP))
    monkeypatch.setattr(pages_list, "PATIENCE", -1.0)
    assert "with these filters" not in (await page_of(client, "/?host=shop.example")).text
    monkeypatch.setattr(pages_list, "PATIENCE", 60.0)
    before = len(begun)
    for _ in range(3):
        assert "with these filters" not in (await page_of(client, "/?host=shop.example")).text
    assert len(begun) == before
    assert "1 audit" in (await page_of(client, "/")).text  # others are
    # What the script has asked for is on the next page at once.
    assert "1 audit with" in (await page_of(client, "/facets?host=shop.example")).text
    assert "1 audit with these filters" in (await page_of(client, "/?host=shop.example")).text
    monkeypatch.setattr(pages_list, "COUNTS_FRESH", 0.0)
    assert "with these filters" not in (await page_of(client, "/?host=shop.example")).text
    monkeypatch.setattr(pages_list, "IMPATIENT", 0.0)
    assert "1 audit with these filters" in (await page_of(client, "/?host=shop.example")).text


async def test_a_facet_filters_and_is_taken_away_by_a_second_click(client, store):
    await store.ingest(make_audit(SHOP, site_type="shop"))
    await store.ingest(make_audit("https://news.example/", site_type="news"))
    page = await page_of(client, "/?order=oldest")
    link = next(link for link in page.links if query_of(link).get("site_type") == "news")
    page = await page_of(client, link)
    assert "1 audit with these filters" in page.text
    assert SHOP not in page.text
    (chosen,) = [values for values in page.all("a") if "aria-current" in values]
    assert chosen["href"] == "/?order=oldest"


@pytest.mark.parametrize(
    ("query", "named"),
    [("min_score=x", "min_score"), ("status=odd", "status"), ("since=soon", "since"),
     ("host=%20", "host"), ("cursor=x", "cursor"), ("limit=0", "limit"), ("order=up", "order"),
     ("min_severity=<script>", "min_severity")],
)  # fmt: skip
async def test_a_bad_filter_gives_a_page_that_says_so(client, query, named):
    page = await page_of(client, f"/?{query}", 422)
    assert named in page.text
    if "order" not in query:
        assert named in (await page_of(client, f"/search?q=x&{query}", 422)).text


# ---- an audit ----


@pytest.mark.parametrize("name", ["shop-2026-04.json", "stream-odd-values.json",
                                  "clinic-unreachable.json", "travel-stdout.txt"])  # fmt: skip
async def test_an_audit_s_page_has_all_of_it(client, store, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    audit = await store.ingest(str(SAMPLES / name))
    audit = await store.get(audit.id)
    page = await page_of(client, f"/audits/{audit.id}?wording=expert")
    assert audit.url in page.text
    assert audit.seal in page.text
    assert "it is as it was written" in page.text
    for row in audit.findings:
        assert row.pattern_type.replace("_", " ") in page.text
        assert " ".join(row.description.split())[:40] in page.text
    for module in audit.security_results:
        assert module.replace("_", " ") in page.text
    for shot in audit.screenshots:
        src = f"/api/audits/{audit.id}/screenshots/{shot.id}"
        assert src in [values["src"] for values in page.all("img")]
        assert (await client.get(src)).headers["content-type"].startswith("image/")
    events = await store.events(audit.id)
    rows = [v["id"] for v in page.all("tr") if v.get("id", "").startswith("event-")]
    assert rows == [f"event-{event.id}" for event in events]
    for link in page.links:
        if link.startswith("/") and "/sites/" not in link:
            assert (await client.get(link)).status_code == 200, link


async def test_a_finding_shows_its_screenshot_and_has_two_wordings(client, store):
    finding = make_finding(1, screenshot_index=0)
    audit = await store.ingest(make_audit(SHOP, findings=[finding], verdict_mode="simple"))
    (shot,) = (await store.get(audit.id)).screenshots
    simple = await page_of(client, f"/audits/{audit.id}?wording=simple")
    expert = await page_of(client, f"/audits/{audit.id}?wording=expert")
    for page in (simple, expert):
        assert finding["plain_english"] in page.text
        images = [values["src"] for values in page.all("img")]
        assert images == [f"/api/audits/{audit.id}/screenshots/{shot.id}"] * 2
    assert finding["description"] in expert.text
    assert finding["description"] not in simple.text.split("Log")[0]


async def test_the_log_is_shown_in_pieces(client, store):
    audit = await store.create(SHOP)
    ids = await store.record_many(audit.id, [make_event(message=f"n{n}") for n in range(250)])
    rows, path, turned = [], f"/audits/{audit.id}", 0
    while path:
        page = await page_of(client, path)
        found = [values["id"] for values in page.all("tr") if "id" in values]
        rows = [*found, *rows]
        path = next((link for link in page.links if "before=" in link), None)
        turned += 1
    assert rows == [f"event-{id}" for id in ids]
    assert turned == 3
    rows, after = [], ids[49]
    while after:
        page = await page_of(client, f"/audits/{audit.id}?after={after}")
        rows += [values["id"] for values in page.all("tr") if "id" in values]
        later = next((link for link in page.links if "after=" in link), None)
        after = later and query_of(later)["after"]
    assert rows == [f"event-{id}" for id in ids[50:]]
    last = await page_of(client, f"/audits/{audit.id}?after={ids[-1]}")
    assert [values for values in last.all("tr") if "id" in values] == []
    for odd in ("after=x", "before=9.5", "wording=odd"):
        await page_of(client, f"/audits/{audit.id}?{odd}", 422)
    for extreme in (2**63, -(2**70)):
        assert (await client.get(f"/audits/{audit.id}?before={extreme}")).status_code == 200
        assert (await client.get(f"/audits/{audit.id}?after={extreme}")).status_code in (200, 422)


async def test_an_audit_that_runs_says_where_its_stream_is(client, store):
    audit = await store.create(SHOP)
    phases = [
        {"type": "phase_start", "phase": "scout", "pct": 3, "message": "it looks"},
        {"type": "phase_complete", "phase": "scout", "pct": 20, "message": "it has looked"},
        {"type": "phase_start", "phase": "vision", "pct": 21},
        {"type": "phase_error", "phase": "vision", "pct": 30, "error": "no eyes"},
    ]
    await store.record_many(audit.id, phases)
    page = await page_of(client, f"/audits/{audit.id}")
    (live,) = [values for values in page.all("div") if values.get("id") == "live"]
    last = (await store.events(audit.id))[-1]
    assert (live["data-status"], live["data-token"]) == ("running", last.token)
    assert live["data-stream"] == f"/api/audits/{audit.id}/events"
    assert "Running : vision 30 %" in page.text
    assert "scout done" in page.text
    assert "no eyes" in page.text
    assert "once it has ended" in page.text
    await store.record(audit.id, {"type": "audit_complete"})
    page = await page_of(client, f"/audits/{audit.id}")
    assert not page.all("progress")
    assert "it is as it was written" in page.text


async def test_an_audit_that_was_changed_by_hand_says_so(path):
    async with AuditStore.open(path) as store, client_of(application(store)) as client:
        audit = await store.ingest(make_audit(SHOP))
        by_hand(path, "UPDATE audits SET trust_score = 99")
        page = await page_of(client, f"/audits/{audit.id}")
        assert "not as it was written" in page.text


async def test_unknown_audits_and_files_are_pages_with_404(client):
    for path in ("/audits/none", "/audits/%3Cscript%3E", f"/audits/{'x' * 5000}"):
        page = await page_of(client, path, 404)
        assert "there is no audit" in page.text
    for path in ("/static/none.css", "/static/%2e%2e%2fpages.py"):
        assert (await client.get(path)).status_code == 404


async def test_a_store_that_is_busy_says_when_to_come_again(client, store, monkeypatch):
    async def busy(*_):
        raise StoreBusy("another process is writing")

    monkeypatch.setattr(store, "read", busy)
    response = await client.get("/")
    assert "another process is writing" in seen(response, 503).text
    assert response.headers["retry-after"]


async def test_a_fault_inside_tells_nothing_of_it(client, store, monkeypatch, caplog):
    async def failed(*_):
        raise StoreError("/secret/place is damaged")

    monkeypatch.setattr(store, "read", failed)
    page = await page_of(client, "/", 500)
    assert "secret" not in page.text
    assert "a page could not be made" in caplog.text


# ---- the search ----


async def test_a_search_marks_its_words_and_turns_pages(client, store):
    for number in range(5):
        finding = make_finding(1, description=f"the <b>cancel</b> link {number} is hidden")
        await store.ingest(make_audit(f"{SHOP}{number}", findings=[finding]))
    page = await page_of(client, "/search?q=cancel&limit=2&status=completed")
    assert len(page.all("mark")) >= 2
    assert "<b>" in page.text
    found, path = set(), "/search?q=cancel&limit=2&status=completed"
    while path:
        page = await page_of(client, path)
        found |= {link for link in page.links if link.startswith("/audits/")}
        path = next((link for link in page.links if "cursor" in link), None)
        assert path is None or query_of(path)["status"] == "completed"
    assert len(found) == 5
    assert "Nothing was found" in (await page_of(client, "/search?q=unheard")).text
    assert "Type words" in (await page_of(client, "/search")).text
    assert "Nothing was found" in (await page_of(client, "/search?q=cancel&status=error")).text


# ---- a site, a comparison, integrity ----


def found(*patterns, **result):
    findings = [make_finding(n, pattern_type=one) for n, one in enumerate(patterns, 1)]
    return make_audit(SHOP, findings=findings, screenshots=0, **result)


async def test_a_site_shows_its_scores_and_each_finding_s_life(client, store):
    ids = [
        (await store.ingest(audit)).id
        for audit in (
            found("nagging", "hidden_cost", trust_score=20.0),
            found("nagging", trust_score=40.0),
            make_audit(SHOP, error="it fell over"),
            found("hidden_cost", trust_score=60.0),
        )
    ]
    page = await page_of(client, "/sites/www.shop.example")
    assert "4 audits" in page.text
    (chart,) = [values for values in page.all("svg") if "chart" in values["class"]]
    assert "trust scores from 20 to 60" in chart["aria-label"]
    assert "1 without a score" in chart["aria-label"]
    paths = {values["class"]: values["d"] for values in page.all("path")}
    assert paths["line"].count("M") == 2  # a gap where the failed audit is
    assert paths["dots"].count("M") == 3
    assert paths["gaps"].count("M") == 1
    assert paths["bar high"].count("M") == 3
    words = page.text[page.text.index("What became") :]
    assert re.search(r"hidden cost.*still there, came back once 2 nagging.*gone since.* 2", words)
    assert f"/compare?ids={ids[1]}&ids={ids[3]}" in page.links
    assert {values["value"] for values in page.all("input") if values["name"] == "ids"} == set(ids)
    first = await page_of(client, "/sites/shop.example?limit=3")
    (further,) = [link for link in first.links if "cursor" in link]
    assert f"/audits/{ids[0]}" in (await page_of(client, further)).links
    assert "there is no audit" in (await page_of(client, "/sites/none.example", 404)).text
    await page_of(client, "/sites/%20", 422)
    await page_of(client, "/sites/a%2Fb", 404)


async def test_audits_are_compared_and_pairs_stepped_through(client, store):
    ids = [
        (await store.ingest(audit)).id
        for audit in (
            found("nagging", trust_score=20.0, signal_scores={"visual": 10.0}),
            found("nagging", "hidden_cost", trust_score=15.0, signal_scores={"visual": 30.0}),
            make_audit(SHOP, error="it fell over"),
            found("hidden_cost", trust_score=60.0, security_results={"tls": {"score": 0.5}}),
            make_audit("https://other.example/", trust_score=50.0),
        )
    ]
    page = await page_of(client, f"/compare?ids={ids[1]}&ids={ids[0]}")
    assert "20 → 15 -5" in page.text
    assert "visual 10 → 30 +20" in page.text
    assert "1 new, 0 gone, 1 still there" in page.text
    (further,) = [link for link in page.links if "/compare" in link]
    assert further == f"/compare?ids={ids[1]}&ids={ids[3]}"
    page = await page_of(client, further)
    assert "0 new, 1 gone, 1 still there" in page.text
    assert "only in the later one" in page.text
    (back,) = [link for link in page.links if "/compare" in link]
    assert back == f"/compare?ids={ids[0]}&ids={ids[1]}"
    three = await page_of(client, f"/compare?ids={','.join(ids[:3])}")
    assert len([level for level in three.headings if level == 2]) == 2
    assert "Nobody can know" in three.text
    await page_of(client, f"/compare?ids={ids[0]}&ids={ids[4]}")
    for query in ("", f"?ids={ids[0]}", f"?ids={ids[0]}&ids={ids[0]}", "?ids=" + "x," * 30):
        assert "ids" in (await page_of(client, f"/compare{query}", 422)).text
    await page_of(client, f"/compare?ids={ids[0]}&ids=none", 404)


async def test_few_wait_for_an_examination_and_others_are_told_to_come_again(
    file_store, monkeypatch
):
    go_on = threading.Event()
    monkeypatch.setattr(pages_integrity, "diagnose", lambda given: [] if go_on.wait(60) else None)
    answers = []

    async def ask(client) -> None:
        answers.append(await client.get("/integrity?examine=1"))
        if len(answers) == 3:  # these were refused while the first is under way
            go_on.set()

    async with client_of(application(file_store)) as client:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(pages_integrity.MOST_WAIT + 4):
                    group.start_soon(ask, client)
        assert [one.status_code for one in answers[:3]] == [503] * 3
        for one in answers[:3]:
            assert int(one.headers["Retry-After"]) > 0
            assert "is being examined for others" in one.text
        assert {one.status_code for one in answers[3:]} == {200}
        assert (await client.get("/integrity?examine=1")).status_code == 200


async def test_the_head_the_removals_and_the_health_are_shown(client, store):
    audit = await store.ingest(make_audit(SHOP))
    assert (
        "None was ever removed."
        in (await page_of(client, "/integrity", referrer="same-origin")).text
    )
    await store.delete(audit.id)
    page = await page_of(client, "/integrity", referrer="same-origin")
    (head,) = [values for values in page.all("input") if values.get("id") == "head"]
    assert head["value"] == str(await store.head())
    assert f"Removed audits (1) Audit Stored Removed {audit.id}" in page.text
    page = await page_of(client, "/integrity?examine=1", referrer="same-origin")
    wanted = "in memory" if store.location.in_memory else "file ok"
    if store.location.server is not None:
        wanted = "vacuum ok"
    assert wanted in page.text


# ---- hostile texts, weight, files ----


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_every_text_of_an_audit_is_shown_as_text(client, store, text):
    finding = make_finding(1, description=text, plain_english=text)
    audit = await store.ingest(
        make_audit(
            f"https://evil.example/?{re.sub(r'[^!-~]', '_', text)}",
            findings=[finding],
            narrative=text,
            recommendations=[text],
            domain_info={text[:100]: text},
            security_results={text[:100]: {text: text}},
            site_type=text[:50],
            risk_level=text[:50],
        )
    )
    await store.record(audit.id, {"type": "log_entry", "message": text})
    live = await store.create("https://live.example/")
    await store.record(live.id, {"type": "phase_start", "phase": text, "message": text})
    paths = ["/", "/running", f"/audits/{audit.id}", f"/audits/{live.id}", "/search?q=evil",
             "/sites/evil.example", f"/compare?ids={audit.id}&ids={live.id}"]  # fmt: skip
    for path in paths:
        page = await page_of(client, path)
        assert not page.all("b")
        assert {values.get("src", "")[:5] for values in page.all("img")} <= {"/api/"}
    for path in ("/", "/search"):
        response = await client.get(path, params={"q": text[:5000], "site_type": text[:900]})
        seen(response, response.status_code)
        assert response.status_code in (200, 422)
        assert len(response.content) < 60_000
    for path in ("/", "/running", "/search?q=evil"):
        assert len((await client.get(path)).content) < 60_000


async def test_rows_that_another_program_has_written_are_shown(path):
    async with AuditStore.open(path) as store, client_of(application(store)) as client:
        by_hand(
            path,
            "INSERT INTO audits (id, url, status, audit_tier, verdict_mode, signal_scores, "
            "security_results, pages_scanned, screenshots_count, elapsed_seconds, errors, "
            "created_at, updated_at, host, risk_level) VALUES ('odd?#<i>', 'javascript:alert(1)', "
            "'odd', 'x', 'x', '[1]', '7', 'x', 0, 'x', '7', 'then', 'x', '<i>', 5)",
            "INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence, description)"
            " VALUES ('odd?#<i>', '<i>', '<i>', 'x', '<i>')",
        )
        page = await page_of(client, "/")
        assert "javascript:alert(1)" in page.text
        (link,) = {link for link in page.links if link.startswith("/audits/")}
        assert not page.all("i")
        for path in (link, "/sites/%3Ci%3E"):
            page = await page_of(client, path)
            assert not page.all("i")


async def test_a_page_of_fifty_audits_is_light(client, store):
    for number in range(50):
        findings = [
            make_finding(n, severity=severity, pattern_type=f"pattern_{number}_{n}")
            for n, severity in enumerate(("low", "medium", "high", "critical"))
        ]
        await store.ingest(
            make_audit(
                f"https://site{number}.example/a/long/path/to/a/page?with=parameters&and=more",
                findings=findings, screenshots=0, site_type=f"kind_{number}",
                risk_level=f"risk_{number}", narrative="the cancel link is hidden " * 100,
            )
        )  # fmt: skip
    for path in ("/?limit=50", "/search?q=cancel&limit=50", "/?limit=50&order=highest"):
        response = await client.get(path)
        seen(response)
        assert len(response.content) <= 60_000, path


async def test_what_pages_load_is_kept_for_ever_under_its_version(client):
    page = await page_of(client, "/")
    (style,) = [values["href"] for values in page.all("link") if values["rel"] == "stylesheet"]
    (script,) = [values["src"] for values in page.all("script")]
    for path, kind in ((style, "text/css"), (script, "text/javascript")):
        response = await client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(kind)
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
        tag = response.headers["etag"]
        again = await client.get(path, headers={"If-None-Match": f"W/{tag}, x"})
        assert (again.status_code, again.content) == (304, b"")
        plain = await client.get(path.split("?")[0])
        assert plain.headers["cache-control"] == "no-cache"
    assert "url(" not in (await client.get(style)).text
    assert "innerHTML" not in (await client.get(script)).text


async def test_pages_know_where_they_are_mounted(tmp_path):
    async with AuditStore.open(tmp_path / "audits.db") as store:
        audit = await store.ingest(make_audit(SHOP))
        app = FastAPI()
        app.include_router(api_router(), prefix="/v1/api")
        app.include_router(pages_router(api_prefix="/v1/api/"), prefix="/look")
        app.state.veritas_store = store
        outer = FastAPI()
        outer.mount("/inner", app)
        async with client_of(outer) as client:
            page = await page_of(client, "/inner/look/")
            assert f"/inner/look/audits/{audit.id}" in page.links
            page = await page_of(client, f"/inner/look/audits/{audit.id}")
            (live,) = [values for values in page.all("div") if values.get("id") == "live"]
            assert live["data-stream"] == f"/inner/v1/api/audits/{audit.id}/events"
            for values in (*page.all("img"), *page.all("script")):
                assert (await client.get(values["src"])).status_code == 200
            shown = (await client.get(live["data-stream"].removesuffix("/events"))).json()
            assert [shot["url"] for shot in shown["screenshots"]] == [
                values["src"] for values in page.all("img")
            ]
