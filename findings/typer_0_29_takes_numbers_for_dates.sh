#!/usr/bin/env bash
# Typer 0.29.0 converts arguments with pydantic, which it depends on and imports since: one and the
# same program, unchanged, takes other command lines than with 0.28.0.
#
# A `datetime` parameter documents three forms without a zone, and gave naive values or an error.
# Now a bare number is a moment (seconds since 1970), a zone is accepted, and then the value is
# aware: comparing it with a naive default raises TypeError. An `int` takes "5.0", and
# "10.0" passes `max=10`. A whole number in other digits than ASCII's was taken, and is not now.
# So after `pip install --upgrade`, a typing error such as a year and month run together
# (`--since 20260102`) is no longer refused: it is a day in August 1970.
#
# Seen with pydantic 2.14.3 and Python 3.11 (the exit code, then what the program was given):
#   0.28.0 --count 5.0: 2            0.29.0 --count 5.0: 0 5
#   0.28.0 --few 10.0: 2             0.29.0 --few 10.0: 0 10
#   0.28.0 --since 20260102: 2       0.29.0 --since 20260102: 0 1970-08-23T11:48:22+00:00
#   0.28.0 --since 2026-01-02T03:04:05+02:00: 2
#   0.29.0 --since 2026-01-02T03:04:05+02:00: 0 2026-01-02T03:04:05+02:00
#   both   --since 2026-01-02: 0 2026-01-02T00:00:00
#   pydantic imported: False, then True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/seen.py" <<'PY'
import sys
from datetime import datetime
from importlib.metadata import version
from typing import Annotated

import typer
from typer.testing import CliRunner

app = typer.Typer()


@app.command()
def main(
    count: Annotated[int | None, typer.Option()] = None,
    few: Annotated[int | None, typer.Option(max=10)] = None,
    since: Annotated[datetime | None, typer.Option()] = None,
):
    print(next(x for x in (count, few, since and since.isoformat()) if x is not None))


for words in (
    "--count 5.0", "--few 10.0", "--since 20260102", "--since 2026-01-02T03:04:05+02:00",
    "--since 2026-01-02",
):  # fmt: skip
    done = CliRunner().invoke(app, words.split())
    print(version("typer"), words + ":", done.exit_code, done.stdout.strip() * (not done.exit_code))
print("pydantic imported:", "pydantic" in sys.modules)
PY
for typer in 0.28.0 0.29.0; do
    "${PYTHON:-python3}" -m venv "$folder/$typer"
    "$folder/$typer/bin/python" -m pip install --quiet --disable-pip-version-check "typer==$typer" pydantic==2.14.3
    "$folder/$typer/bin/python" "$folder/seen.py"
done > "$folder/seen"
cat "$folder/seen"
diff <(sed 's/ *$//' "$folder/seen") - <<'SEEN'
0.28.0 --count 5.0: 2
0.28.0 --few 10.0: 2
0.28.0 --since 20260102: 2
0.28.0 --since 2026-01-02T03:04:05+02:00: 2
0.28.0 --since 2026-01-02: 0 2026-01-02T00:00:00
pydantic imported: False
0.29.0 --count 5.0: 0 5
0.29.0 --few 10.0: 0 10
0.29.0 --since 20260102: 0 1970-08-23T11:48:22+00:00
0.29.0 --since 2026-01-02T03:04:05+02:00: 0 2026-01-02T03:04:05+02:00
0.29.0 --since 2026-01-02: 0 2026-01-02T00:00:00
pydantic imported: True
SEEN
echo "as described"
