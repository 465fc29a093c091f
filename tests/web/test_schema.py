"""What the API answers is what its schema says, whatever it is asked."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.amount import amount
from tests.support.audits import fill
from tests.support.server import serving
from veritas_peewee import connect

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "audits.db"
    with connect(path):
        fill()
    with serving(path, "--writable") as server:
        yield schemathesis.openapi.from_url(f"{server.address}api/openapi.json")


def test_no_request_is_answered_otherwise_than_the_schema_says(schema):
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=amount(20, 300),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case):
            case.call_and_validate(checks=CHECKS)

        ask()
        tried.add(operation.label)
    assert len(tried) == 16
