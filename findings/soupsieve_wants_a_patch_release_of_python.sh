#!/usr/bin/env bash
# soupsieve 3.0.2 and later ask for Python 3.11.5, not for 3.11: versions that were pinned with one
# 3.11 cannot be installed with an earlier one, among them the 3.11.2 of Debian 12.
#
# Whoever has it through beautifulsoup4 (Sphinx themes do) and pins it in a constraints file is not
# told so: the resolver leaves out what the interpreter cannot have before it looks for a solution,
# and then says that beautifulsoup4 has "conflicting dependencies", though 4.1.3 satisfies what it
# asks for (>=1.6.1). Without the constraint 2.10 is taken, and nothing is said.
#
# Seen with pip 25.3, which is told the interpreter's version:
#   3.11.4 soupsieve==4.1.3: exit code 1, requires a different python version
#   3.11.5 soupsieve==4.1.3: exit code 0
#   3.11.4 beautifulsoup4==4.15.0 with the constraint: exit code 1, conflicting dependencies
#   3.11.4 soupsieve==2.10: exit code 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pip==25.3 2> "$folder/log"
echo "soupsieve==4.1.3" > "$folder/constraints.txt"
ask() {
    local version=$1 code=0 told=""
    shift
    "$folder/venv/bin/python" -m pip install --dry-run --quiet --disable-pip-version-check \
        --only-binary=:all: --target "$folder/none" --python-version "$version" "$@" \
        > "$folder/log" 2>&1 || code=$?
    for told in "requires a different python version" "require a different python version" "conflicting dependencies" ""; do
        if [ -z "$told" ] || grep -q "$told" "$folder/log"; then break; fi
    done
    echo "exit code $code${told:+, ${told/require a/requires a}}"
}
{
    echo "3.11.4 soupsieve==4.1.3: $(ask 3.11.4 soupsieve==4.1.3)"
    echo "3.11.5 soupsieve==4.1.3: $(ask 3.11.5 soupsieve==4.1.3)"
    echo "3.11.4 beautifulsoup4==4.15.0 with the constraint: $(ask 3.11.4 beautifulsoup4==4.15.0 --constraint "$folder/constraints.txt")"
    echo "3.11.4 soupsieve==2.10: $(ask 3.11.4 soupsieve==2.10)"
} > "$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'SEEN'
3.11.4 soupsieve==4.1.3: exit code 1, requires a different python version
3.11.5 soupsieve==4.1.3: exit code 0
3.11.4 beautifulsoup4==4.15.0 with the constraint: exit code 1, conflicting dependencies
3.11.4 soupsieve==2.10: exit code 0
SEEN
echo "as described"
