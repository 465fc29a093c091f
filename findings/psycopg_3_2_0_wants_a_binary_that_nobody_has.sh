#!/usr/bin/env bash
# psycopg 3.2.0: its extra `binary` cannot be installed, for it wants psycopg-binary 3.2.0.dev1, which
# was never published (3.2.0 was). So whoever resolves to the lowest versions of `psycopg[binary]>=3.2`
# gets an error, and 3.2.1 is the lowest that there is.
#
# Seen with pip 23.2.1 and Python 3.11:
#   3.2.0 wants psycopg-binary==3.2.0.dev1
#   3.2.0: not installed
#   3.2.1: installed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
install() {
    "$folder/venv/bin/python" -m pip install --disable-pip-version-check --dry-run \
        "psycopg[binary]==$1" > "$folder/told" 2>&1 && echo "$1: installed" || echo "$1: not installed"
}
{
    install 3.2.0 > "$folder/first"
    grep -o 'psycopg-binary==3.2.0.dev1' "$folder/told" | head -1 | sed 's/^/3.2.0 wants /'
    cat "$folder/first"
    install 3.2.1
} > "$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'SEEN'
3.2.0 wants psycopg-binary==3.2.0.dev1
3.2.0: not installed
3.2.1: installed
SEEN
echo "as described"
