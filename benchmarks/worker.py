"""One measurement in its own process: the specification as argument, metrics on standard output."""

from __future__ import annotations

import json
import os
import sys
import traceback

from benchmarks.model import Spec, Unsupported


def main() -> None:
    spec = Spec.from_json(json.loads(sys.argv[1]))
    if spec.source is not None:
        # The cases import the package, which is to come from there; the benchmark is this one.
        sys.path.insert(0, str(spec.source))
    from benchmarks.cases import CASES

    if spec.pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        answer: dict[str, object] = {"metrics": CASES[spec.case].run(spec)}
    except Unsupported as error:
        answer = {"unsupported": str(error)}
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("\n" + json.dumps(answer), flush=True)
    # A peer's threads that do not end must not hold up the other measurements.
    os._exit(0)


if __name__ == "__main__":
    main()
