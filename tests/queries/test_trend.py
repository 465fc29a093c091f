"""A site over time, by url or by host, and the hosts by which it is found."""

import builtins
import importlib.util
import itertools
import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.audits import add_audit
from tests.support.command_line import run_here
from tests.support.database_files import by_hand, with_texts_twice
from tests.support.processes import ROOT
from veritas_peewee import Audit, AuditFinding, InvalidAudit, StoreError, Trend, connect
from veritas_peewee.cli.chart import _draw_findings
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.migrations import fresh
from veritas_peewee.queries.trends import MAX_POINTS, TrendPoint, trend
from veritas_peewee.recording import ingest, operations, recorder
from veritas_peewee.testing import make_finding
from veritas_peewee.values.addresses import host_of

SAMPLES = ROOT / "data" / "samples"
SHOP = "https://shop.example/checkout"
START = datetime(2026, 1, 1, tzinfo=UTC)


NUMBERS = itertools.count()


def make(number, *, url="https://a.example/", findings=(), **columns):
    """An audit that ran on day `number`."""
    told = [make_finding(next(NUMBERS), severity=severity) for severity in findings]
    columns = {"started_at": START + timedelta(days=number), "status": "completed", **columns}
    return add_audit(url, told, **columns)


def scores(found):
    return [point.trust_score for point in found.points]


# ---- hosts ----


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://shop.example/checkout?a=b#c", "shop.example"),
        ("http://WWW.Shop.Example:8080", "shop.example"),
        ("https://user:secret@shop.example./", "shop.example"),
        ("shop.example", "shop.example"),
        ("  SHOP.example:443/path ", "shop.example"),
        ("//shop.example/x", "shop.example"),
        ("shop.example/?u=https://other.example/", "shop.example"),
        ("localhost:3000", "localhost"),
        ("https://www.www.example/", "www.example"),
        ("https://www.example/", "www.example"),
        ("https://www2.shop.example/", "www2.shop.example"),
        ("https://Bücher.example/", "xn--bcher-kva.example"),
        ("https://bu\u0308cher.example/", "xn--bcher-kva.example"),
        ("www.BÜCHER.example", "xn--bcher-kva.example"),
        ("https://XN--BCHER-KVA.example/", "xn--bcher-kva.example"),
        ("https://例え.テスト/", "xn--r8jz45g.xn--zckzah"),
        ("https://例え。テスト。/", "xn--r8jz45g.xn--zckzah"),
        ("https://shop\uff0eexample/", "shop.example"),
        # Sharp s, final sigma and the joiners are letters of their own.
        ("https://straße.example/", "xn--strae-oqa.example"),
        ("STRA\u1e9eE.example", "xn--strae-oqa.example"),
        ("https://xn--strae-oqa.example/", "xn--strae-oqa.example"),
        ("https://strasse.example/", "strasse.example"),
        ("https://\u03bf\u03b4\u03bf\u03c2.example/", "xn--pxavbm.example"),
        ("https://\u039f\u0394\u039f\u03a3.example/", "xn--pxavbq.example"),
        (
            "https://\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example/",
            "xn--mgba3gch31f060k.example",
        ),
        ("https://אבג1.example/", "xn--1-zhcde.example"),
        ("https://\U0001f600.example/", "xn--e28h.example"),
        ("https://\uff57\uff57\uff57\uff0eshop\u3002example\uff0e", "shop.example"),
        ("https://sh\u00adop\u200b.example/", "shop.example"),
        ("https://b%C3%BCcher.example/", "xn--bcher-kva.example"),
        ("https://sh%6Fp%2Eexample/", "shop.example"),
        ("https://shop.example%2Fpath/", "shop.example%2fpath"),
        ("https://%ff.example/", "%ff.example"),
        ("https://shop.example\\@other.example/", "shop.example"),
        ("https://192.0.2.7:81/", "192.0.2.7"),
        ("https://[2001:DB8::1]:443/", "2001:db8::1"),
        ("https://[2001:0db8:0:0::0:1]/", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("::FFFF:192.0.2.7", "::ffff:c000:207"),
        ("https://ü..example/", "xn--tda..example"),
        ("https://" + "ü" * 70 + ".example", f"xn--td{'a' * 70}.example"),
        ("https://[::1/", ""),
        ("https://a℀b.example/", ""),
        ("https:///path", "path"),
        ("", ""),
    ],
)
def test_the_host_of_an_address(url, host):
    assert host_of(url) == host
    assert host_of(host) == host


def test_the_host_of_a_very_long_name_is_told_at_once():
    assert host_of("https://" + "ü" * 1_000_000) == "ü" * 1_000_000


def test_an_audit_has_its_host_from_its_creation_on(script):
    audit = operations.create("https://WWW.Bücher.example/x")
    assert audit.host == Audit.get_by_id(audit.id).host == "xn--bcher-kva.example"
    operations.update(audit.id, url="http://other.example:80/")
    assert Audit.get_by_id(audit.id).host == "other.example"
    recorder.record(audit.id, {"type": "audit_result", "result": {"url": "http://third.example/"}})
    assert Audit.get_by_id(audit.id).host == "third.example"
    with pytest.raises(InvalidAudit, match="kept by the store"):
        operations.update(audit.id, host="x")


def test_peewee_code_of_ones_own_keeps_hosts_in_step(script):
    audit = operations.create("https://a.example/")
    Audit.update(url="https://www.b.example/").where(Audit.id == audit.id).execute()
    assert Audit.get_by_id(audit.id).host == "b.example"
    row = Audit.get_by_id(audit.id)
    row.url = "https://c.example/"
    row.save()
    assert Audit.get_by_id(audit.id).host == "c.example"
    Audit.insert_many([{"url": f"https://d.example/{n}"} for n in range(3)]).execute()
    assert Audit.select().where(Audit.host == "d.example").count() == 3
    Audit.update(host="wrong").execute()
    assert Audit.select().where(Audit.host == "wrong").count() == 0
    with script.atomic() as change:
        Audit.update(url="https://e.example/").where(Audit.id == audit.id).execute()
        change.rollback()
    assert Audit.get_by_id(audit.id).host == "c.example"


async def test_what_the_facade_returns_has_its_host_and_seal(store):
    audit = await store.create("https://a.example/")
    changed = await store.update(audit.id, url="https://b.example/", status="completed")
    again = await store.get(audit.id)
    assert changed.host == again.host == "b.example"
    assert (changed.seal, changed.sealed_events) == (again.seal, again.sealed_events)
    stored = await store.ingest({"url": "https://www.c.example/", "status": "completed"})
    again = await store.get(stored.id)
    assert (stored.host, stored.seal) == ("c.example", again.seal)


def test_a_wrong_host_is_named_and_given_again_without_a_new_seal(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        ids = [make(1), make(2)]
        seals = [Audit.get_by_id(one).seal for one in ids]
    by_hand(path, f"UPDATE audits SET host = 'x.example' WHERE id = '{ids[0]}'",
            f"UPDATE audits SET host = NULL WHERE id = '{ids[1]}'")  # fmt: skip
    with connect(path, read_only=True):
        told = verify().problems
    assert told == [f"audit {one}: host is not that of its url" for one in sorted(ids)]
    with connect(path):
        assert repair() == ["gave 2 audits the host of their url"]
        assert verify().ok
        assert repair() == []
        assert [Audit.get_by_id(one).seal for one in ids] == seals


def test_an_upgrade_gives_hosts_and_does_not_make_an_altered_row_look_right(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        ids = [make(1, url="https://www.Bücher.example/"), make(2)]
    with_texts_twice(path)
    by_hand(
        path,
        *[f"DROP VIEW {name}" for name in fresh.VIEWS - {fresh.SEARCH_CONTENT}],
        *[f"DROP TABLE {name}" for name in ("search_index", "audit_catalog", "audit_patterns")],
        *[f"DROP TABLE {name}" for name in ("audit_counts", "import_heads", "absent_images")],
        *[f"DROP INDEX idx_audits_{name}" for name in ("host_history", "host_time", "url_time")],
        "DROP INDEX idx_audits_tier_history",
        "ALTER TABLE audits DROP COLUMN host",
        "DELETE FROM veritas_migrations WHERE name >= '0003_hosts'",
        f"UPDATE audits SET trust_score = 99 WHERE id = '{ids[1]}'",
    )
    with connect(path):
        hosts = {audit.id: audit.host for audit in Audit.select()}
        assert hosts == {ids[0]: "xn--bcher-kva.example", ids[1]: "a.example"}
        assert trend(host="bücher.example").points[0].audit_id == ids[0]
        problem, *_ = verify().problems
        assert problem.startswith(f"audit {ids[1]}: its row was altered")


# ---- the series ----


def test_the_samples_in_the_order_in_which_they_ran(script, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in ("shop-2026-11", "shop-2026-01", "shop-2026-04", "news"):
        ingest.ingest(SAMPLES / f"{name}.json")
    found = trend(SHOP)
    assert isinstance(found, Trend)
    assert scores(found) == [34, 52, 68]
    assert [point.risk_level for point in found.points] == [
        "high_risk",
        "suspicious",
        "suspicious",
    ]
    assert found.points[0].findings == {"low": 0, "medium": 1, "high": 2, "critical": 1}
    assert found.points[0].time == datetime(2026, 1, 14, 9, 12, 30, tzinfo=UTC)
    assert found.is_whole
    assert trend(host="www.SHOP.example:443").points == found.points
    assert trend(host="news.example").points[0].trust_score == 93


def test_an_audit_that_did_not_complete_is_a_gap(script):
    make(1, trust_score=50.0, findings=["high"])
    for number, status in enumerate(("error", "disconnected", "running", "queued"), 2):
        make(number, status=status, trust_score=10.0, risk_level="high_risk", findings=["low"])
        operations.update_status(trend("https://a.example/").points[-1].audit_id, status)
    make(9)
    found = trend("https://a.example/")
    assert scores(found) == [50, None, None, None, None, None]
    assert [point.status for point in found.points[1:]] == [
        "error",
        "disconnected",
        "running",
        "queued",
        "completed",
    ]
    assert [point.risk_level for point in found.points] == [None] * 6
    assert [point.findings for point in found.points[1:5]] == [None] * 4
    assert sum(found.points[0].findings.values()) == 1
    assert set(found.points[5].findings.values()) == {0}


def test_by_url_exactly_and_by_host_all_of_it(script):
    urls = ["https://a.example/", "https://a.example", "http://www.A.example:8000/x?y",
            "https://a.example/#z", "https://sub.a.example/", "https://a.example.com/"]  # fmt: skip
    for number, url in enumerate(urls):
        make(number, url=url, trust_score=float(number))
    assert [scores(trend(url)) for url in urls] == [[n] for n in range(len(urls))]
    assert scores(trend(host="A.EXAMPLE")) == [0, 1, 2, 3]
    assert trend(host="http://www.a.example/anything").host == "a.example"
    assert trend("https://nothing.example/") == Trend("https://nothing.example/", None, [], True)


def test_from_when_to_when_and_how_many(script):
    for number in range(10):
        make(number, trust_score=float(number))
    day = START + timedelta(days=4)
    url = "https://a.example/"
    assert scores(trend(url, since=day)) == [4, 5, 6, 7, 8, 9]
    assert scores(trend(url, until=day)) == [0, 1, 2, 3]
    assert scores(trend(host="a.example", since=day, until=day + timedelta(seconds=1))) == [4]
    newest = trend(url, limit=3)
    assert (scores(newest), newest.is_whole) == ([7, 8, 9], False)
    assert trend(url, limit=10).is_whole
    stored_only = operations.create(url).id  # no start is known: as of when it was stored
    assert trend(url, since=day).points[-1].audit_id == stored_only


def test_findings_are_counted_as_a_count_of_each_audit_would(script):
    chance = random.Random(5)
    severities = ["low", "medium", "high", "critical"]
    for number in range(40):
        make(number, findings=chance.choices(severities, k=chance.randrange(6)))
    for point in trend("https://a.example/").points:
        rows = AuditFinding.select().where(AuditFinding.audit == point.audit_id)
        for severity in severities:
            own = rows.where(AuditFinding.severity == severity).count()
            assert point.findings[severity] == own


def test_values_of_another_program_do_not_hide_a_point(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        one = make(1, trust_score=5.0, findings=["low"])
    by_hand(path, "UPDATE audits SET trust_score = 'much', started_at = 'soon', created_at = 'x'",
            "UPDATE audit_findings SET severity = 'blocker'")  # fmt: skip
    with connect(path, read_only=True):
        (point,) = trend("https://a.example/").points
    assert (point.audit_id, point.time, point.trust_score) == (one, None, None)
    assert point.findings["blocker"] == 1


def test_infinite_scores_and_severities_that_are_no_text_are_shown(site, capsys, tmp_path):
    by_hand(site, "UPDATE audits SET trust_score = 9e999 WHERE trust_score = 10",
            "UPDATE audit_findings SET severity = x'ff00' WHERE severity = 'low'")  # fmt: skip
    code, out, err = run_here(capsys, "trend", "--host", "a.example", "--plot", tmp_path / "a.png")
    assert (code, err) == (0, "")
    assert out.splitlines()[2].strip() == "··█"
    code, out, _ = run_here(capsys, "trend", "--host", "a.example", "--json")
    first = json.loads(out)["points"][0]
    assert (first["trust_score"], sum(first["findings"].values())) == (None, 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "one of them must be given"),
        ({"url": "https://a.example/", "host": "a.example"}, "one of them must be given"),
        ({"url": 5}, "url: must be text"),
        ({"url": "a\0"}, "url: holds a NUL"),
        ({"host": 5}, "host: must be text"),
        ({"host": "/"}, "host: must be a host"),
        ({"host": "\ud800"}, "host: holds a lone surrogate"),
        ({"host": "a.example", "limit": 0}, "limit: must be a whole number from 1"),
        ({"host": "a.example", "limit": MAX_POINTS + 1}, "limit"),
        ({"host": "a.example", "limit": True}, "limit"),
        ({"host": "a.example", "since": datetime(2026, 1, 1)}, "since: must have a time zone"),
        ({"host": "a.example", "until": "soon"}, "until: must be a date such as 2026-01-31"),
        ({"host": "a.example", "until": 2026}, "until: must be a datetime"),
    ],
)
def test_wrong_arguments_are_named(script, arguments, told):
    with pytest.raises(InvalidAudit, match=told):
        trend(**arguments)


@pytest.mark.parametrize("site", [{"url": "https://a.example/"}, {"host": "a.example"}])
def test_a_series_is_read_by_an_index_in_its_order(script, monkeypatch, site):
    """Also without statistics, and the findings of all its points by one statement."""
    for number in range(3):
        make(number, findings=["low"])
    plans = []
    execute_sql = script.execute_sql

    def explained(text, values=None):
        plan = execute_sql(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
        plans.append("; ".join(row[3] for row in plan))
        return execute_sql(text, values)

    monkeypatch.setattr(script, "execute_sql", explained)
    for bounds in ({}, {"since": START}, {"until": START}, {"since": START, "until": START}):
        plans.clear()
        trend(**site, **bounds)
        points, findings = plans
        (name,) = site
        assert points.startswith(f"SEARCH t1 USING INDEX idx_audits_{name}_time ({name}=?")
        assert points.count("<expr>") == len(bounds)
        assert "TEMP B-TREE" not in points
        assert findings.startswith("SEARCH t1 USING INDEX idx_findings_audit_id (audit_id=?)")


async def test_the_facade_tells_a_series_as_plain_data(store):
    for score in (10, 20):
        audit = await store.create("https://www.a.example/x")
        await store.update(audit.id, trust_score=score, status="completed")
    found = await store.trend(host="a.example")
    assert scores(found) == [10, 20]
    assert found == await store.trend(host="A.example", limit=2)
    assert scores(await store.trend("https://www.a.example/x", until=START)) == []
    with pytest.raises(InvalidAudit):
        await store.trend()


# ---- the command line ----


@pytest.fixture
def site(tmp_path, monkeypatch):
    path = tmp_path / "audits.db"
    monkeypatch.setenv("VERITAS_DATABASE", str(path))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    with connect(path):
        make(1, trust_score=10.0, risk_level="likely_fraudulent", findings=["critical", "low"])
        make(2, status="error")
        make(3, trust_score=100.0, risk_level="trusted", url="http://www.A.example/$x$/{y}")
    return path


def test_a_line_and_a_table(site, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = run_here(capsys, "trend", "--host", "a.example")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].strip() == "a.example"
    assert "+90 since the first, from 10 to 100, 1 audit without a score" in lines[1]
    assert lines[2].strip() == "▁·█"
    rows = [line.split() for line in lines[5:8]]
    assert rows[0][:8] == [
        "2026-01-02", "00:00", "10", "likely_fraudulent", "1", "critical,", "1", "low",
    ]  # fmt: skip
    assert rows[1][:5] == ["2026-01-03", "00:00", "-", "error", "-"]
    assert rows[2][:6] == ["2026-01-04", "00:00", "100", "+90", "trusted", "none"]


@pytest.mark.parametrize("columns", [40, 50, 60, 75, 100, 140])
def test_the_table_fits_the_line(site, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = run_here(capsys, "trend", "--host", "a.example")
    assert code == 0
    assert max(map(len, out.splitlines())) <= columns
    assert "error" in out
    assert "+90" in out


@pytest.mark.parametrize("columns", [40, 56, 60, 70, 80, 100, 120])
@pytest.mark.parametrize("paths", [[""], ["", "b"]])
def test_no_date_and_no_number_is_cut(site, capsys, monkeypatch, columns, paths):
    severities = ["critical", "high", "medium", "low"]
    with connect(site):
        for day, score in enumerate((100.0, 12.5, 99.5, 2.0)):
            make(day, url=f"https://b.example/{paths[day % len(paths)]}", trust_score=score,
                 risk_level="likely_fraudulent", findings=severities)  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = run_here(capsys, "trend", "--host", "b.example")
    row = next(line for line in out.splitlines() if "2026-01-02" in line)
    assert ["12.5", "-87.5"] in (row.split()[1:3], row.split()[2:4])
    assert ("00:00" in row) == (columns >= 60)
    assert "1c 1h 1m 1l" in row or "1 critical, 1 high, 1 medium, 1 low" in row


def test_a_terminal_without_such_letters_gets_plain_ones(site, capsys, monkeypatch):
    monkeypatch.setattr("rich.console.Console.encoding", "ascii")
    code, out, _ = run_here(capsys, "trend", "--host", "a.example")
    assert code == 0
    assert out.splitlines()[2].strip() == "_x#"


def test_json_has_the_whole_series(site, capsys):
    _, out, _ = run_here(capsys, "trend", "https://a.example/", "--json", "--limit", "1")
    found = json.loads(out)
    assert (found["url"], found["host"], found["is_whole"]) == ("https://a.example/", None, False)
    (point,) = found["points"]
    assert (point["status"], point["trust_score"], point["findings"]) == ("error", None, None)
    assert point["time"] == "2026-01-03T00:00:00+00:00"


def test_a_site_without_audits(site, capsys, tmp_path):
    code, out, err = run_here(capsys, "trend", "--host", "b.example")
    assert (code, out.strip(), err) == (0, "no audits", "")
    file = tmp_path / "x.png"
    for more in ([], ["--json"]):
        code, out, err = run_here(capsys, "trend", "--host", "b.example", "--plot", file, *more)
        assert (code, bool(out)) == (1, True)
        assert err == f"veritas-peewee: {file}: was not drawn, for there are no audits\n"
        assert not file.exists()


def test_a_picture_in_each_form(site, capsys, tmp_path):
    for name, start in (("a.png", b"\x89PNG"), ("b.SVG", b"<?xml")):
        file = tmp_path / name
        code, out, err = run_here(capsys, "trend", "--host", "a.example", "--plot", file)
        assert (code, err) == (0, "")
        assert name in out
        first = file.read_bytes()
        assert first.startswith(start)
        # The same series is the same file.
        assert run_here(capsys, "trend", "--host", "a.example", "--plot", file)[0] == 0
        assert file.read_bytes() == first


def bars(series):
    """The bars of a picture in pixels, by the name in its legend."""
    # Here, for another test asks whether anything has loaded the library that decodes images.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), dpi=120)
    axes = figure.subplots()
    _draw_findings(axes, series)
    return {
        container.get_label(): [bar.get_window_extent() for bar in container]
        for container in axes.containers
    }


def test_a_picture_leaves_out_no_finding_and_no_audit():
    def point(day, **findings):
        time = START + timedelta(days=day)
        return TrendPoint("a", time, "https://a.example/", "completed", 5.0, "x", findings)

    assert set(bars([point(1, low=2)])) == {"critical", "high", "medium", "low"}
    assert bars([point(1, low=2, blocker=1, fatal=2)])["other"][0].height > 0
    drawn = bars([point(day, low=1) for day in range(MAX_POINTS)])["low"]
    assert min(bar.width for bar in drawn) > 1.5


def test_times_that_no_axis_reaches_are_told(site, capsys, tmp_path):
    for year, years in (("0001", "1 to 2026"), ("9999", "2026 to 9999")):
        moment = f"{year}-06-01 00:00:00.000000"
        by_hand(site, f"UPDATE audits SET started_at = '{moment}' WHERE trust_score = 10")
        code, out, err = run_here(
            capsys, "trend", "--host", "a.example", "--plot", tmp_path / "a.png"
        )
        assert (code, out) == (1, "")
        assert f"cannot draw the years {years}" in err
    by_hand(site, "UPDATE audits SET started_at = 'soon'")
    code, _, err = run_here(capsys, "trend", "--host", "a.example", "--plot", tmp_path / "a.png")
    assert (code, err) == (0, "")


def test_a_picture_of_an_address_that_looks_like_a_formula(site, capsys, tmp_path):
    with connect(site):
        url = "https://a.example/$x^$/{\u4f8b}"
        make(1, url=url, status="error")
    file = tmp_path / "a.svg"
    code, _, err = run_here(capsys, "trend", url, "--plot", file, "--json")
    assert (code, err) == (0, "")
    assert file.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ([], 2, "either a URL or --host"),
        (["https://a.example/", "--host", "a.example"], 2, "either a URL or --host"),
        (["a.example"], 2, "http:// or https://"),
        (["--host", "/"], 2, "host: must be a host"),
        (["--host", "a.example", "--since", "soon"], 2, "is no date"),
        (["--host", "a.example", "--plot", "x.jpg"], 2, "must end in .png or .svg"),
        (["--host", "a.example", "--plot", "/nowhere/x.png"], 1, "/nowhere/x.png"),
    ],
)
def test_wrong_usage_is_one_line(site, capsys, args, code, told):
    found, out, err = run_here(capsys, "trend", *args)
    assert (found, out) == (code, "")
    assert told in err
    assert err.count("\n") == 1


def test_without_matplotlib_it_says_what_to_install(site, capsys, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "veritas_peewee.cli.chart.find_spec",
        lambda name, *rest: None if name == "matplotlib" else real(name, *rest),
    )
    file = tmp_path / "x.png"
    code, out, err = run_here(capsys, "trend", "--host", "a.example", "--plot", file)
    assert (code, out) == (1, "")
    assert "veritas-peewee[plot]" in err
    assert run_here(capsys, "trend", "--host", "a.example")[0] == 0


def test_a_series_without_a_picture_does_not_import_matplotlib(site, capsys, monkeypatch):
    real = builtins.__import__

    def refusing(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise StoreError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    assert run_here(capsys, "trend", "--host", "a.example")[0] == 0
