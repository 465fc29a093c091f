"""The benchmark measures this package: each case that writes or reads audits of ours still runs."""

from __future__ import annotations

import pytest

from benchmarks import files
from benchmarks.cases import CASES, reads, together
from benchmarks.model import Spec


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        for module in (files, reads, together):
            patch.setattr(module, "AUDITS", 10)
        files.prepare(folder, (), audits=True, results=False, findings=False, lines={})
        yield folder


@pytest.mark.parametrize(
    ("case", "param"),
    [
        ("MIX", "1"), ("E1", "finding"), ("W1", "16"), ("W2", "1"), ("R1", "16"), ("M1", "both"),
        ("L1", "W1 at 100"),
    ],
)  # fmt: skip
def test_each_case_measures_what_its_tables_show(data, case, param):
    spec = Spec(case, "ours", param, data, seconds=0.05, quick=True)
    metrics = CASES[case].run(spec)
    assert metrics.keys() >= {view.metric for view in CASES[case].views}
    assert metrics.get("write_errors", 0) == 0
