"""What changed from audit to audit: nothing guessed, nothing matched by id."""

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from tests.support.audits import add_audit
from tests.support.command_line import run_here
from tests.support.processes import ROOT
from veritas_peewee import Audit, AuditFinding, AuditNotFound, Comparison, InvalidAudit, connect
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.queries.comparison import (
    ScoreChange,
    TextChange,
    ValueChange,
    compare,
    last_two,
)
from veritas_peewee.recording import ingest, operations
from veritas_peewee.testing import make_finding

SAMPLES = ROOT / "data" / "samples"
SHOP = "https://shop.example/checkout"
START = datetime(2026, 1, 1, tzinfo=UTC)


NUMBERS = count()
"""No two findings have the same id: nothing is matched by it."""


def make(number, findings=(), *, url="https://a.example/", **columns):
    """A whole audit that ran on day `number`."""
    told = [
        make_finding(next(NUMBERS), category=category, pattern_type=pattern, severity=severity,
                     description=text)
        for category, pattern, severity, text in findings
    ]  # fmt: skip
    columns = {"started_at": START + timedelta(days=number), "status": "completed", **columns}
    return add_audit(url, told, **columns)


def step(before, after):
    (found,) = compare([before, after]).steps
    return found


def texts(findings):
    return [finding.description for finding in findings]


@pytest.fixture
def samples(script, monkeypatch):
    """The shop's four audits and one that failed, stored in no good order."""
    monkeypatch.chdir(ROOT)
    names = ("shop-2026-11.json", "shop-2026-01.json", "clinic-unreachable.json")
    found = {name: ingest.ingest(SAMPLES / name).id for name in (*names, "shop-2026-04.json")}
    found["shop-2026-09.jsonl"] = ingest.ingest(SAMPLES / "shop-2026-09.jsonl").id
    operations.update(found["shop-2026-09.jsonl"], started_at=datetime(2026, 9, 8, 10, tzinfo=UTC))
    return found


def test_the_samples_step_by_step(samples):
    shop = [one for name, one in samples.items() if name.startswith("shop")]
    found = compare(shop)
    assert [audit.trust_score for audit in found.audits] == [34, 52, 71, 68]
    assert [one.trust_score.difference for one in found.steps] == [18, 19, -3]
    first, second, third = found.steps
    assert first.risk_level == TextChange("high_risk", "suspicious")
    assert first.signals["visual"] == ScoreChange(31, 55, 24)
    assert [(pair.after.pattern_type, pair.severity_steps) for pair in first.findings.still] == [
        ("preselected_extras", -1),
        ("countdown_timer", -1),
        ("forced_account", -1),
    ]
    assert [one.pattern_type for one in first.findings.gone] == ["hidden_decline"]
    assert first.findings.new == first.findings.unknown == []
    # The engine of January told no security results: unknown, and no change.
    assert first.security["headers"].before is None
    assert first.security["headers"].score == ScoreChange(None, 0.45, None)
    assert first.security["headers"].differences == []
    assert second.security["headers"].score == ScoreChange(0.45, 0.6, 0.15)
    assert second.security["headers"].differences[0] == ValueChange(
        "missing", ["content-security-policy", "permissions-policy"], ["content-security-policy"],
    )  # fmt: skip
    assert second.security["phishing_lists"].before is None
    assert third.security["cookies"].after is None
    assert [(one.label, one.before is None, one.after is None) for one in third.screenshots] == [
        ("t0", False, False),
        ("t10", False, True),
        ("fullpage", False, True),
    ]
    assert {pair.label: pair.same for pair in first.screenshots} == {"t0": True, "fullpage": False}


def test_what_is_unknown_stays_unknown(samples):
    found = step(samples["clinic-unreachable.json"], samples["shop-2026-01.json"])
    assert found.before.id == samples["shop-2026-01.json"]  # it ran before
    assert found.trust_score == ScoreChange(34, None, None)
    assert found.risk_level == TextChange("high_risk", None)
    assert found.signals["visual"] == ScoreChange(31, None, None)
    assert found.after.findings is None
    assert len(found.findings.unknown) == 4
    assert found.findings.new == found.findings.gone == found.findings.still == []


def test_a_score_of_zero_is_a_score(script):
    found = step(make(1, trust_score=0.0), make(2, trust_score=0.5))
    assert found.trust_score == ScoreChange(0, 0.5, 0.5)


def test_a_failed_audit_s_own_findings_are_matched_all_the_same(script):
    there = ("sneaking", "extras", "high", "Insurance is preselected")
    gone = ("urgency", "countdown", "low", "A countdown")
    found = step(make(1, [there, gone]), make(2, [there], status="error"))
    assert texts(pair.after for pair in found.findings.still) == [there[3]]
    assert texts(found.findings.unknown) == [gone[3]]


def test_what_is_missing_in_an_audit_that_completed_is_missing(script):
    there = ("sneaking", "extras", "high", "Insurance is preselected")
    other = ("urgency", "countdown", "low", "A countdown")
    clean, failed = make(1), make(2, [there, other], status="error")
    found = step(clean, failed).findings
    assert texts(found.new) == [there[3], other[3]]
    assert found.gone == found.unknown == []
    after = make(3, [there])
    found = step(failed, after).findings
    assert texts(found.gone) == [other[3]]
    assert found.new == found.unknown == []
    assert texts(step(failed, make(4, [("a", "x", "low", "t")])).findings.unknown) == ["t"]


def test_the_order_is_that_in_which_they_ran(script):
    ids = [make(number, trust_score=number * 10.0) for number in (3, 1, 2)]
    assert [audit.id for audit in compare(ids).audits] == [ids[1], ids[2], ids[0]]
    assert compare(ids) == compare(ids[::-1])
    stored_only = operations.create("https://a.example/").id  # as of now
    assert compare([stored_only, ids[0]]).audits[-1].id == stored_only


def test_a_finding_is_matched_by_what_it_is_however_it_is_written(script):
    before = make(1, [("Forced Continuity", "Hidden_Cancel", "low", "The link is 9 px wide.")])
    after = make(2, [("forced_continuity", "hidden cancel", "critical", "the  LINK is 9px wide")])
    (pair,) = step(before, after).findings.still
    assert pair.severity_steps == 3
    assert (pair.before.audit_id, pair.after.audit_id) == (before, after)


def test_the_same_pattern_of_another_category_is_another_finding(script):
    found = step(make(1, [("a", "x", "low", "t")]), make(2, [("b", "x", "low", "t")])).findings
    assert (len(found.new), len(found.gone), len(found.still)) == (1, 1, 0)


def test_duplicates_count(script):
    same = ("sneaking", "extras", "high", "Insurance")
    found = step(make(1, [same] * 3), make(2, [same] * 2)).findings
    assert (len(found.still), len(found.gone), len(found.new)) == (2, 1, 0)
    found = step(make(3, [same]), make(4, [same] * 4)).findings
    assert (len(found.still), len(found.gone), len(found.new)) == (1, 0, 3)


def test_among_several_of_a_kind_the_wording_decides(script):
    before = [
        ("sneaking", "extras", "high", "Insurance is in the basket"),
        ("sneaking", "extras", "low", "A newsletter box is ticked"),
        ("sneaking", "extras", "medium", "Gift wrap was added unasked"),
    ]
    after = [
        ("sneaking", "extras", "low", "The newsletter box is still ticked"),
        ("sneaking", "extras", "critical", "insurance is in the basket!"),
    ]
    found = step(make(1, before), make(2, after)).findings
    assert {(pair.before.description[:6], pair.after.description[:6]) for pair in found.still} == {
        ("Insura", "insura"),
        ("A news", "The ne"),
    }
    assert texts(found.gone) == ["Gift wrap was added unasked"]


@pytest.mark.parametrize("number", [2, 60])
@pytest.mark.parametrize("words", ["A cookie", "Day {day}: a cookie named {name}"])
def test_the_order_in_which_findings_are_told_changes_no_severity(script, number, words):
    def told(day, severities):
        return make(
            day,
            [
                ("privacy", "tracking", severity, words.format(day=day, name=f"c{day}{place}"))
                for place, severity in enumerate(severities)
            ],
        )

    severities = ["low", "critical"] * (number // 2)
    found = step(told(1, severities), told(2, severities[::-1])).findings
    assert [pair.severity_steps for pair in found.still] == [0] * number


def test_an_accent_may_be_written_either_way(script):
    before = make(1, [(None, "unknown", "low", "Bu\u0308cher zum Schein")])
    after = make(2, [(None, "unknown", "low", "B\u00fccher zum Schein")])
    assert len(step(before, after).findings.still) == 1


def test_findings_without_a_pattern_are_told_apart_by_their_text(script):
    before = make(1, [(None, "unknown", "low", "One thing"), (None, "unknown", "low", "Another")])
    after = make(2, [(None, "unknown", "low", "another."), (None, "unknown", "low", "A third")])
    found = step(before, after).findings
    assert texts(found.new) == ["A third"]
    assert texts(found.gone) == ["One thing"]
    assert len(found.still) == 1


def test_each_finding_is_in_exactly_one_list_also_among_very_many(script):
    def many(number, day):
        audit = make(day)
        rows = [
            {"audit": audit, "pattern_type": f"p{n % 3}", "severity": "low", "confidence": 1,
             "description": f"text {n % 97} of {day}"} for n in range(number)
        ]  # fmt: skip
        AuditFinding.insert_many(rows).execute()
        return audit

    before, after = many(400, 1), many(330, 2)
    found = step(before, after).findings
    seen = Counter(one.id for one in (*found.new, *found.gone, *found.unknown))
    seen.update(one.id for pair in found.still for one in (pair.before, pair.after))
    assert set(seen.values()) == {1}
    assert len(seen) == 730
    assert (len(found.still), len(found.gone), len(found.new)) == (330, 70, 0)


def test_severities_and_values_of_another_program_are_compared_as_they_are(tmp_path):
    path = tmp_path / "odd.db"
    with connect(path):
        before = make(1, [("a", "x", "low", "t")], signal_scores={"visual": 5})
        after = make(2, [("a", "x", "high", "t")])
    with connect(path) as database:
        execute = database.raw.execute
        execute("UPDATE audit_findings SET severity = 'blocker' WHERE audit_id = ?", (after,))
        execute(
            "UPDATE audits SET signal_scores = '[1]', security_results = '\"x\"', "
            "trust_score = 'much' WHERE id = ?",
            (after,),
        )
        found = step(before, after)
        execute("UPDATE audits SET trust_score = 9e999 WHERE id = ?", (before,))
        assert step(before, after).trust_score == ScoreChange(None, None, None)
    assert found.findings.still[0].severity_steps is None
    assert found.signals == {"visual": ScoreChange(5, None, None)}
    assert found.trust_score == ScoreChange(None, None, None)
    assert found.security == {}


@pytest.mark.parametrize(
    ("before", "after", "score", "differences"),
    [
        ({"score": 0.7}, {"score": 0.45}, (0.7, 0.45, -0.25), []),
        ({"grade": "A"}, {"grade": "B"}, (None, None, None), [("grade", "A", "B")]),
        ({"csp": False}, {"csp": 0}, (None, None, None), [("csp", False, 0)]),
        ({"missing": ["a", "b"]}, {"missing": ["b", "a"]}, (None, None, None), []),
        ({"score": True}, {"score": 1}, (None, 1, None), []),
        ({"a": 1}, {}, (None, None, None), [("a", 1, None)]),
        ({"a": [{"n": 1, "of": [1, 2]}]}, {"a": [{"of": [2, 1], "n": 1}]}, (None,) * 3, []),
        ({"a": {"csp": True}}, {"a": {"csp": 1}}, (None,) * 3, [("a", {"csp": True}, {"csp": 1})]),
        ({"a": ["x", "x"]}, {"a": ["x"]}, (None,) * 3, [("a", ["x", "x"], ["x"])]),
        ({"score": 10**400}, {"score": 1}, (None, 1, None), []),
        ({"score": -1.7e308}, {"score": 1.7e308}, (-1.7e308, 1.7e308, None), []),
        (["x"], ["y"], (None, None, None), [("", ["x"], ["y"])]),
        ({"a": 1}, ["y"], (None, None, None), [("", {"a": 1}, ["y"])]),
    ],
)
def test_a_module_s_outcome_of_any_shape(script, before, after, score, differences):
    one = make(1, security_results={"m": before})
    other = make(2, security_results={"m": after})
    change = step(one, other).security["m"]
    assert (change.before, change.after) == (before, after)
    assert change.score == ScoreChange(*score)
    assert change.differences == [ValueChange(*one) for one in differences]


def test_wrong_ids_are_told(script):
    one = make(1)
    for ids, told in (
        ([], "two audits or more"),
        ([one], "two audits or more"),
        ([one, one], "given twice"),
        (one, "must be a list"),
        (5, "must be a list"),
    ):
        with pytest.raises(InvalidAudit, match=told):
            compare(ids)
    for missing in ("vrts_nowhere", 5, None, "a\0b", ["x"]):
        with pytest.raises(AuditNotFound):
            compare([one, missing])


def test_the_last_two_are_those_that_completed_and_ran_last(samples):
    assert last_two(SHOP) == [samples["shop-2026-09.jsonl"], samples["shop-2026-11.json"]]
    operations.update_status(samples["shop-2026-11.json"], "error")
    assert last_two(SHOP) == [samples["shop-2026-04.json"], samples["shop-2026-09.jsonl"]]
    with pytest.raises(AuditNotFound, match=r"no completed audit of .https://x\.example/."):
        last_two("https://x.example/")


async def test_the_facade_compares_and_what_it_returns_is_plain(store, finding):
    ids = []
    for score in (40, None):
        audit = await store.create("https://a.example/")
        await store.record_many(audit.id, [finding(), {"type": "audit_complete"}])
        await store.update(audit.id, trust_score=score)
        ids.append(audit.id)
    found = await store.compare(ids)
    assert isinstance(found, Comparison)
    (only,) = found.steps  # on the event loop, where a query would be an error
    assert only.trust_score == ScoreChange(40, None, None)
    assert len(only.findings.still) == 1
    assert only.before.time < only.after.time
    with pytest.raises(AuditNotFound):
        await store.compare([ids[0], "vrts_nowhere"])
    with pytest.raises(InvalidAudit):
        await store.compare(ids[:1])


# ---- the command line ----


@pytest.fixture
def stored(tmp_path, monkeypatch):
    path = tmp_path / "audits.db"
    monkeypatch.setenv("VERITAS_DATABASE", str(path))
    monkeypatch.chdir(ROOT)
    with connect(path):
        names = ("shop-2026-01.json", "shop-2026-04.json", "shop-2026-11.json", "news.json")
        yield {name: ingest.ingest(SAMPLES / name).id for name in names}
    with connect(path):
        assert verify().ok
    shutil.rmtree(tmp_path / "screenshots")


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 120, 200])
def test_the_table_fits_the_line(stored, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = run_here(capsys, "compare", *stored.values())
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= columns
    assert "+18" in out
    assert "milder" in out


def test_a_difference_has_no_more_digits_than_a_score(stored, capsys):
    first, second, *_ = stored.values()
    operations.update(second, trust_score=74.5815)
    out = run_here(capsys, "compare", first, second)[1]
    assert ["trust", "score", "34", "74.6", "+40.6"] in [line.split() for line in out.splitlines()]
    out = run_here(capsys, "trend", SHOP, "--until", "2026-05")[1]
    assert "+40.6 since the first" in out


def test_a_person_sees_what_is_better_and_worse(stored, capsys):
    code, out, _ = run_here(capsys, "compare", "--url", SHOP)
    assert code == 0
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["trust", "score", "52", "68", "+16"] in lines
    assert ["headers", "0.45", "0.7", "+0.25"] in lines
    assert ["cookies", "0.5", "-"] in lines
    assert ["headers", "missing:", "-content-security-policy"] in lines
    assert ["new", "medium", "low_stock_message"] in [line[:3] for line in lines]
    assert ["t0", "same"] in [line[:2] for line in lines]


def lines_of(capsys, *args):
    code, out, err = run_here(capsys, "compare", *args)
    assert (code, err) == (0, "")
    return [line.strip() for line in out.splitlines()]


@pytest.mark.parametrize(("columns", "tables"), [(40, 5), (80, 2), (120, 2), (200, 1)])
def test_of_many_audits_each_has_a_line(stored, capsys, monkeypatch, columns, tables):
    monkeypatch.setenv("COLUMNS", str(columns))
    signals = ("visual", "structural", "temporal")
    kept = ("sneaking", "extras", "high", "Insurance is preselected")
    ids = [
        make(
            number,
            [kept, ("urgency", "countdown", "low", f"{number}")][: 1 + number % 2],
            trust_score=40.5 + number,
            risk_level="likely_fraudulent",
            signal_scores=dict.fromkeys(signals, 5.25 + number),
        )
        for number in range(30)
    ]
    lines = lines_of(capsys, *ids)
    assert max(map(len, lines)) <= columns
    assert sum(line.startswith("Run, UTC") for line in lines) == tables
    assert len(lines) == 1 + tables * 31 + (tables - 1) + 2
    assert any("41.5 +1" in line and line.startswith("2026-01-02") for line in lines)
    assert all(any(one in line for line in lines) for one in (*ids, "2, 1 new", "6.25 +1"))
    assert lines[-1].endswith("--all")
    assert sum(line.startswith("new") for line in lines_of(capsys, *ids, "--all")) == 15


def test_of_thousands_of_findings_a_person_sees_the_gravest(stored, capsys):
    def many(day, number, severity):
        audit = make(day, [("a", "x", "critical", f"the worst of {day}")])
        rows = [
            {"audit": audit, "pattern_type": f"p{day} {place}", "severity": severity,
             "confidence": 1, "description": "text"} for place in range(number)
        ]  # fmt: skip
        AuditFinding.insert_many(rows).execute()
        return audit

    ids = [many(1, 1200, "low"), many(2, 2500, "high")]
    lines = lines_of(capsys, *ids)
    assert len(lines) < 40
    assert any(line.split()[:3] == ["still", "critical", "x"] for line in lines)
    assert "and 2,490 new, 1,190 gone: --all" in lines
    whole = lines_of(capsys, *ids, "--all")
    assert sum(line.startswith("new ") for line in whole) == 2500
    assert not any("--all" in line for line in whole)


def test_in_a_series_what_stays_as_it_was_is_counted(stored, capsys):
    kept, graver = [("a", "x", "low", "t")] * 3, [("a", "y", "low", "t"), ("a", "y", "high", "t")]
    ids = [make(1, [*kept, graver[0]]), make(2, [*kept, graver[1]]), make(3, [*kept, graver[1]])]
    lines = lines_of(capsys, *ids)
    assert [line.split()[:4] for line in lines if line.startswith("graver")] == [
        ["graver", "low", ">", "high"]
    ]
    assert [line for line in lines if "still" in line] == [
        "and 3 still: --all", "and 4 still: --all",
    ]  # fmt: skip
    assert sum(line.startswith("still") for line in lines_of(capsys, *ids[:2])) == 3


def test_colours_tell_better_from_worse(stored, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    _, out, _ = run_here(capsys, "compare", "--url", SHOP)
    assert "\x1b[32m +16" in out
    assert "\x1b[31mnew" in out


def test_json_has_all_of_it(stored, capsys):
    ids = [stored["shop-2026-11.json"], stored["shop-2026-01.json"]]
    _, out, _ = run_here(capsys, "compare", *ids, "--json")
    found = json.loads(out)
    assert [audit["id"] for audit in found["audits"]] == ids[::-1]
    (only,) = found["steps"]
    assert only["trust_score"] == {"before": 34, "after": 68, "difference": 34}
    assert only["security"]["headers"]["before"] is None
    assert {"new", "gone", "still", "unknown"} == set(only["findings"])
    assert only["findings"]["gone"][0]["pattern_type"] == "preselected_extras"


def test_text_of_an_audit_steers_no_terminal(stored, capsys):
    hostile = "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold]"
    evil = [("c", hostile, "low", hostile)]
    ids = [
        make(day, evil * day, url=f"https://a.example/{day}", risk_level="[red]\x1b[0m",
             signal_scores={hostile: day}, security_results={hostile: {hostile: [str(day)]}})
        for day in (1, 2)
    ]  # fmt: skip
    code, out, _ = run_here(capsys, "compare", *ids)
    assert code == 0
    assert "\x1b" not in out
    assert "[bold]" in out


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ([], 2, "two audits or more, or --url"),
        (["a"], 2, "two audits or more"),
        (["a", "a"], 2, "given twice"),
        (["a", "--url", SHOP], 2, "or --url"),
        (["--url", "x"], 2, "http:// or https://"),
        (["a", "b"], 1, "there is no audit 'a'"),
        (["--url", "https://news.example/"], 1, "only one completed audit"),
    ],
)
def test_wrong_usage_is_one_line(stored, capsys, args, code, told):
    found, out, err = run_here(capsys, "compare", *args)
    assert (found, out) == (code, "")
    assert told in err
    assert err.count("\n") == 1


def test_an_audit_s_columns_are_not_changed_by_comparing(script):
    ids = [make(1), make(2)]
    before = list(Audit.select().order_by(Audit.id).dicts())
    compare(ids)
    assert list(Audit.select().order_by(Audit.id).dicts()) == before


def test_a_module_s_odd_outcomes_are_shown(stored, capsys):
    many = [f"tracker {number}" for number in range(100)]
    before = {"m": {"score": 10**400, "found": ["a", "a"], "trackers": many}}
    after = {"m": {"score": 1, "found": ["a"], "trackers": [f"{one}x" for one in many]}}
    ids = [make(1, security_results=before), make(2, security_results=after)]
    code, out, err = run_here(capsys, "compare", *ids)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["m", "told", "1", "changed"] in lines
    assert ["m", "found:", "-a"] in lines
