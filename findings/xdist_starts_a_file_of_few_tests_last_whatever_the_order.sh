#!/usr/bin/env bash
# pytest-xdist 3.8.0: with `--dist loadfile` the file with the fewest tests is started last, in whatever
# order the tests were collected, or put by a hook.
#
# A suite with one file of a few long tests ends with one process at work and the others idle: to order the
# tests by how long they take, in `pytest_collection_modifyitems` or with a plugin, changes nothing, though
# the same order is heeded without `-n` and with `--dist load`. `--no-loadscope-reorder` keeps it; its help
# speaks of loadscope, and it is for loadfile too.
# Seen with pytest-xdist 3.8.0, pytest 9.0.2 and Python 3.11, where the hook puts the file of one test first:
#   without -n: long, many
#   --dist load: long, many
#   --dist loadfile: many, long
#   --dist loadfile --no-loadscope-reorder: long, many
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pytest==9.0.2 pytest-xdist==3.8.0
mkdir "$folder/tests"
cat > "$folder/tests/conftest.py" <<'PY'
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "long" not in item.nodeid)


def pytest_runtest_logstart(nodeid, location):
    with open("started", "a") as file:
        file.write(nodeid.split("_")[1].split(".")[0] + "\n")
PY
printf 'def test_one(): pass\n' > "$folder/tests/test_long.py"
for number in 1 2 3; do printf 'def test_%d(): pass\n' "$number"; done > "$folder/tests/test_many.py"
cd "$folder/tests"

look() { # WORDS OPTION…
    rm -f started
    "$folder/venv/bin/python" -m pytest -q -p no:cacheprovider "${@:2}" > told || { cat told; exit 1; }
    printf '%s: %s\n' "$1" "$(uniq started | paste -sd, | sed 's/,/, /g')"
}

{
    look "without -n"
    look "--dist load" -n 1 --dist load
    look "--dist loadfile" -n 1 --dist loadfile
    look "--dist loadfile --no-loadscope-reorder" -n 1 --dist loadfile --no-loadscope-reorder
} | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
without -n: long, many
--dist load: long, many
--dist loadfile: many, long
--dist loadfile --no-loadscope-reorder: long, many
SEEN
