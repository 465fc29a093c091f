"""Events of any type, with sound and with odd values, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from veritas_peewee.recording.effects import KINDS
from veritas_peewee.testing import make_event

IMAGE = make_event("screenshot")["data"]

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
scalar = st.none() | st.booleans() | st.integers(-5, 2**70) | text
scalar |= st.floats(-1, 200, allow_nan=False)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
severity = st.sampled_from(["low", "MEDIUM", "high", "critical", "odd", 5, None])
finding = st.fixed_dictionaries(
    {"category": st.sampled_from(["c", "d"]), "severity": severity},
    optional={
        "id": st.sampled_from(["f1", "f2", "f3", 7, ""]),
        "pattern_type": st.sampled_from(["p", "q", 5, None]),
        "confidence": st.sampled_from([0.5, 1, 7, "x"]),
        "description": st.sampled_from(["one", "two", 5]),
        "screenshot_index": st.sampled_from([-1, 0, "x"]),
    },
)
result = st.fixed_dictionaries(
    {},
    optional={
        "url": st.sampled_from(["https://example.com/b", "ftp://x", 5]),
        "status": st.sampled_from(["completed", "ERROR", "odd", None]),
        "trust_score": st.sampled_from([46, 99.5, -1, "46", None]),
        "signal_scores": st.dictionaries(st.sampled_from("ab"), scalar, max_size=2) | scalar,
        "security_results": st.dictionaries(st.sampled_from("mn"), value, max_size=2),
        "errors": st.lists(scalar, max_size=3) | scalar,
        "findings": st.lists(finding, max_size=3),
        "pages_scanned": scalar,
        "narrative": text,
        "start_time": st.sampled_from([1770812070.5, "soon", 1e300]),
        "elapsed_seconds": st.sampled_from([5, 2.5, "x", -1]),
        "vision_result": st.fixed_dictionaries({"findings": st.lists(finding, max_size=2)}),
    },
)
KEYS = ["phase", "message", "error", "site_type", "confidence", "module", "result", "stats"]
KEYS += ["elapsed", "finding", "changes", "index", "label", "url"]
event = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["phase_start", "audit_complete", "other"])}),
    st.fixed_dictionaries({"type": st.just("finding"), "finding": finding}),
    st.fixed_dictionaries({"type": st.sampled_from(["audit_result", "engine_result"]),
                           "result": result}),
    st.fixed_dictionaries({"type": st.just("site_type"), "site_type": scalar,
                           "confidence": scalar}),
    st.fixed_dictionaries({"type": st.just("security_result"), "module": st.sampled_from("mno"),
                           "result": value}),
    st.fixed_dictionaries({"type": st.just("screenshot"), "index": st.integers(0, 3) | scalar,
                           "label": text, "data": st.just(IMAGE) | st.none()}),
    st.fixed_dictionaries({"type": st.sampled_from(sorted(KINDS))},
                          optional=dict.fromkeys(KEYS, value)),
)  # fmt: skip
