"""The small changes that `make mutants` makes, and the lists beside it."""

from __future__ import annotations

import pytest

from mutants import lists
from mutants.changes import changes_of
from mutants.lists import NotFound, Promise, promises, stale

SOURCE = '''\
from x import y

def f(a: int = 1, *, b=True) -> str | None:
    """Not -1 nor True."""
    assert a == 1
    try:
        with y(a):
            if a and not b:
                raise ValueError("é" + a)
            while a < 3:
                a += 1
            y(a)
    except ValueError:
        y.z = a - 1
        y()
    finally:
        y.close()
        y.open()
    return f"{a + 1}"
'''


def changed(*kinds: str) -> list[list[str]]:
    source = SOURCE.encode()
    found = changes_of("veritas_peewee/room/module.py", source)
    return [
        [line[0] + line[1:].strip() for line in one.diff(source)]
        for one in found
        if one.kind in kinds
    ]


def test_every_change_compiles_and_is_one():
    source = SOURCE.encode()
    found = changes_of("veritas_peewee/room/module.py", source)
    assert len(found) == len({one.applied(source) for one in found}) > 20
    assert all(one.compiles(source) and one.diff(source) for one in found)
    assert {one.room for one in found} == {"room"}


def test_conditions_are_negated_and_dropped():
    assert changed("condition negated") == [
        ["-if a and not b:", "+if not (a and not b):"],
        ["-while a < 3:", "+while not (a < 3):"],
    ]
    assert ["-if a and not b:", "+if True and not b:"] in changed("condition dropped")
    assert changed("not dropped") == [["-if a and not b:", "+if a and (b):"]]


def test_statements_are_dropped():
    assert changed("statement dropped", "return value dropped") == [
        ['-raise ValueError("é" + a)', "+pass"],
        ["-a += 1", "+pass"],
        ["-y(a)", "+pass"],
        ["-y.z = a - 1", "+pass"],
        ["-y()", "+pass"],
        ["-y.close()", "+pass"],
        ["-y.open()", "+pass"],
        ['-return f"{a + 1}"', "+return None"],
    ]


def test_a_false_result_becomes_true_and_not_none():
    source = b"def f():\n    return False\n"
    found = changes_of("veritas_peewee/room/module.py", source)
    assert [one.text for one in found] == ["True"]


def test_blocks_are_emptied():
    assert changed("with dropped") == [["-with y(a):", "+if True:"]]
    assert changed("except emptied") == [["-y.z = a - 1", "-y()", "+pass"]]
    assert changed("finally removed") == [["-y.close()", "-y.open()", "+pass"]]


def test_operators_and_constants_are_others_but_not_in_texts_and_types():
    assert changed("operator") == [
        ["-if a and not b:", "+if a or not b:"],
        ["-while a < 3:", "+while a <= 3:"],
        ["-a += 1", "+a -= 1"],
        ["-y.z = a - 1", "+y.z = a + 1"],
    ]
    signature = "def f(a: int = 1, *, b=True) -> str | None:"
    assert changed("constant")[:3] == [
        [f"-{signature}", f"+{signature.replace('1', '0')}"],
        [f"-{signature}", f"+{signature.replace('1', '2')}"],
        [f"-{signature}", f"+{signature.replace('True', 'False')}"],
    ]


def test_each_change_that_breaks_a_promise_can_still_be_made():
    """In one test, for of many cases only some are run each time."""
    for promise in promises():
        assert promise.change().diff((lists.ROOT / promise.file).read_bytes()), promise.name


def test_a_line_that_is_gone_or_there_twice_is_named():
    file = "veritas_peewee/threads/group_commit.py"
    for before, count in (("no such line", 0), ("job.take_back()", 5)):
        with pytest.raises(
            NotFound, match=rf"a name: {file} has this {count} times.*\n.*{before[:7]}"
        ):
            Promise("a name", file, before, "pass").change()
    with pytest.raises(NotFound, match=r"has no Job\.walk"):
        Promise("a name", file, "x", "pass", "Job.walk").change()


def test_what_is_listed_as_changing_nothing_is_still_in_the_source():
    assert stale() == []
