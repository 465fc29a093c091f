"""An engine for tests: it takes the steps of its arguments, one after the other.

An event as JSON is printed as a line, `progress` as a line of form 2, `result` is a result of form
3, `wait=SECONDS`, `say=TEXT` writes to standard error, `exit=CODE`, `kill` ends it by SIGKILL,
`deaf` has it ignore SIGTERM, `child=FILE` leaves a child that holds the pipes open and writes FILE
if it is told to end, `shot=PATH` is a result with a screenshot.
"""

import json
import os
import signal
import sys
import time

RESULT = {
    "url": "https://example.com/", "status": "completed", "elapsed_seconds": 2.5,
    "judge_decision": {"trust_score_result": {"final_score": 46, "risk_level": "suspicious"}},
    "scout_results": [],
}  # fmt: skip


def child(file):
    ready, tell = os.pipe()
    if os.fork() == 0:

        def told(*_):
            with open(file, "w") as out:
                out.write("told to end")
            os._exit(0)

        signal.signal(signal.SIGTERM, told)
        os.write(tell, b".")
        for _ in range(600):  # half a minute: no test leaves one for good
            time.sleep(0.05)
        os._exit(0)
    os.read(ready, 1)  # from now on it does not miss that it is told to end


def take(step):
    name, _, value = step.partition("=")
    if step.startswith("{"):
        print(step, flush=True)
    elif name == "progress":
        line = {"phase": "scout", "step": "navigating", "pct": 5, "detail": "home"}
        print(f"##PROGRESS:{json.dumps(line)}", flush=True)
    elif name in ("result", "shot"):
        visits = [{"screenshots": [value], "screenshot_labels": ["home"]}] if value else []
        print(json.dumps(RESULT | {"scout_results": visits}, indent=2), flush=True)
    elif name == "wait":
        time.sleep(float(value))
    elif name == "say":
        print(value, file=sys.stderr, flush=True)
    elif name == "exit":
        sys.exit(int(value))
    elif name == "kill":
        os.kill(os.getpid(), 9)
    elif name == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif name == "child":
        child(value)
    else:
        sys.stdout.write(value)
        sys.stdout.flush()


for step in sys.argv[1:]:
    take(step)
