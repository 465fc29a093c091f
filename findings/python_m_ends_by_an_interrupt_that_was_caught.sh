#!/usr/bin/env bash
# CPython, `python -m program`: once a KeyboardInterrupt has passed through `exec()` of a text, the
# process ends as if by SIGINT (130 in a shell), although the program caught the interrupt, went on
# and called `sys.exit(5)`. Run as a script, the same program exits with 5.
#
# The interpreter notes, where it evaluates a text, that an interrupt has left it, and whoever starts
# a module with `-m` looks at this note at the very end. Nobody takes it back when the interrupt is
# caught; the next text that is executed does. It needs no `exec` of one's own: `dataclasses` and
# `collections.namedtuple` make their methods from text, so Ctrl-C, or a SIGTERM that a handler turns
# into KeyboardInterrupt, while such a class is being made (a first import within a `try`) is enough.
# A supervisor is told then that the program was interrupted, whatever it has made of that.
#
# Seen with CPython 3.11.7, 3.12.1 and 3.13.0 (-2: ended by signal 2):
#   a script: went on, 5
#   -m: went on, -2
#   -m, while a dataclass is made: went on, -2
#   -m, with another text executed before the exit: went on, 5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > plain.py <<'PY'
import sys

try:
    exec("raise KeyboardInterrupt")
except KeyboardInterrupt:
    print("went on")
sys.exit(5)
PY
sed 's/^sys.exit/exec("")\nsys.exit/' plain.py > cleared.py
cat > made.py <<'PY'
import dataclasses
import signal
import sys



def interrupt(frame, event, argument):
    """Press Ctrl-C while the text is executed that makes `__init__`."""
    if frame.f_code.co_filename == "<string>":
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)


sys.settrace(interrupt)
try:
    dataclasses.make_dataclass("Point", ["x"])
except KeyboardInterrupt:
    print("went on")
sys.exit(5)
PY
"${PYTHON:-python3}" - <<'PY' | tee seen
import subprocess
import sys

for name, words in (
    ("a script", ["plain.py"]),
    ("-m", ["-m", "plain"]),
    ("-m, while a dataclass is made", ["-m", "made"]),
    ("-m, with another text executed before the exit", ["-m", "cleared"]),
):
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    print(f"{name}: {done.stdout.strip()}, {done.returncode}")
PY
diff seen - <<'SEEN'
a script: went on, 5
-m: went on, -2
-m, while a dataclass is made: went on, -2
-m, with another text executed before the exit: went on, 5
SEEN
echo "as described"
