"""The shell script that checks a bag without this library, under each shell that is here.

That it refuses what the library refuses is the fault `bags` of the torture.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

from torture import mutations
from torture.faults.bags import SCRIPT, SHELLS, verify
from veritas_peewee.evidence import bags, keys
from veritas_peewee.evidence.bag_check import check_bag


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> mutations.Bags:
    return mutations.make(tmp_path_factory.mktemp("bags"))


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(SHELLS[name][0]) is None:
        warnings.warn(f"NOT RUN: there is no {name}: apt-get install {name}", stacklevel=1)
        pytest.skip(f"there is no {name}")
    return name


def copied(made: mutations.Bags, target: Path) -> Path:
    shutil.copytree(made.whole, target)
    return target


@pytest.mark.filterwarnings("always:NOT RUN:UserWarning")
def test_of_a_whole_bag_it_says_what_the_library_says(shell: str, made: mutations.Bags):
    lines = check_bag(made.whole, made.key, root=made.root).lines()
    assert verify(shell, made.whole, made) == (0, "\n".join([*lines, ""]))


@pytest.mark.filterwarnings("always:NOT RUN:UserWarning")
def test_an_image_that_is_left_out_is_told(shell: str, made: mutations.Bags, tmp_path: Path):
    bag = copied(made, tmp_path / "bag")
    image = next((bag / bags.SCREENSHOTS).rglob("*.png"))
    image.unlink()
    (bag / bags.STAMP).unlink()
    mutations.remake(bag)
    code, said = verify(shell, bag, made)
    assert code == 0
    assert f"image that is not in the bag: {image.parent.name}/{image.name}\n" in said
    assert "time: the checkpoint has no time stamp\n" in said
    assert said.splitlines() == check_bag(bag, made.key, root=made.root).lines()


@pytest.mark.filterwarnings("always:NOT RUN:UserWarning")
def test_it_takes_a_key_as_pem_too_and_no_other_one(
    shell: str, made: mutations.Bags, tmp_path: Path
):
    public = keys.public_key(made.key)
    other = keys.make_key(tmp_path / "other.key", str(public.name))
    for name, text, told in (
        ("pem", public.pem, None),
        ("other", f"{other.vkey}\n", "not signed by the given key"),
        ("other.pem", other.pem, "not signed by the given key"),
        ("named", f"{public.vkey.replace('store', 'shop')}\n", "and not of the key"),
        ("text", "hello\n", "the key is none"),
        ("empty", "", "the key is none"),
    ):
        (tmp_path / name).write_text(text)
        done = run(shell, made.whole, tmp_path / name)
        assert (done.returncode, told is None or told in done.stderr) == (1 if told else 0, True)
        if told is None:
            assert "time: not checked, for no root certificate was given\n" in done.stdout


@pytest.mark.filterwarnings("always:NOT RUN:UserWarning")
def test_wrong_usage_ends_with_2(shell: str, made: mutations.Bags, tmp_path: Path):
    for words in ((), (made.whole,), (tmp_path / "none", made.key), (made.whole, tmp_path / "no")):
        done = run(shell, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "usage: sh verify.sh BAG KEY [ROOT]\n"


def run(shell: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SHELLS[shell], str(SCRIPT), *map(str, words)], capture_output=True, text=True
    )


def _commands(bag: Path, mark: Path) -> None:
    """Texts that a shell would run, where it computes with them."""
    (bag / bags.INDEX).write_text(f"a[$(touch {mark})]\n")
    mutations.remake(bag)


def _in_lengths(bag: Path, mark: Path) -> None:
    (bag / bags.LENGTHS).write_text(f"a[$(touch${{IFS}}{mark})]\n")
    mutations.remake(bag)


def _in_a_name(bag: Path, mark: Path) -> None:
    (bag / "data" / f"$(touch {mark.name})").write_text("")
    mutations.remake(bag)


def _in_the_size(bag: Path, mark: Path) -> None:
    note = (bag / bags.CHECKPOINT).read_text().split("\n")
    note[1] = f"a[$(touch {mark})]"
    (bag / bags.CHECKPOINT).write_text("\n".join(note))
    mutations.remake(bag)


def _too_large(bag: Path, mark: Path) -> None:
    (bag / bags.LENGTHS).write_text("999999999999999\n")
    mutations.remake(bag)


def _a_link(bag: Path, mark: Path) -> None:
    (bag / bags.README).unlink()
    (bag / bags.README).symlink_to("/etc/passwd")


def _a_pipe(bag: Path, mark: Path) -> None:
    os.mkfifo(bag / "data" / "pipe")


@pytest.mark.filterwarnings("always:NOT RUN:UserWarning")
@pytest.mark.parametrize(
    "hostile",
    [_commands, _in_lengths, _in_a_name, _in_the_size, _too_large, _a_link, _a_pipe],
    ids=lambda one: one.__name__.strip("_"),
)
def test_a_hostile_bag_runs_nothing_and_is_refused(
    shell: str, made: mutations.Bags, tmp_path: Path, hostile: Any
):
    bag, mark = copied(made, tmp_path / "bag"), tmp_path / "mark"
    hostile(bag, mark)
    code, said = verify(shell, bag, made)
    assert (code, said.startswith("NOT VERIFIED: ")) == (1, True), said
    assert "\x1b" not in said
    assert not list(tmp_path.rglob("mark"))


@pytest.mark.parametrize("what", ["a file", "a folder"])
def test_what_it_may_not_read_is_no_fault_of_the_bag(made: mutations.Bags, what: str):
    user = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if user and shutil.which(user[0]) is None:
        pytest.skip("NOT TESTED: this needs to be another user than root")
    with tempfile.TemporaryDirectory() as folder:
        bag, key = Path(folder, "bag"), Path(folder, "key")
        shutil.copytree(made.whole, bag)
        key.write_text(keys.public_key(made.key).vkey + "\n")
        for one in (Path(folder), *bag.rglob("*"), bag, key):
            one.chmod(0o755)
        (bag / (bags.EVENTS if what == "a file" else "data/proof")).chmod(0)
        done = subprocess.run(
            [*user, "/bin/sh", "-s", bag, key], input=SCRIPT.read_text(), capture_output=True,
            text=True,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "NOT CHECKED: " in done.stderr
    assert "cannot be read" in done.stderr
