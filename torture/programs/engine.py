"""An engine: it reports an audit on standard output, in one of two forms, and ends some time later.

    python -S torture/programs/engine.py SEED LINGER

It imports nothing of the store. LINGER are the seconds from its result to its end.
"""

import json
import random
import sys
import time


def say(line: str) -> None:
    print(line, flush=True)
    time.sleep(chance.random() * 0.02)


def events() -> None:
    """Form 1, with or without a closing event."""
    say(json.dumps({"type": "phase_start", "phase": "scout"}))
    for number in range(chance.randrange(6)):
        say(json.dumps({"type": "log_entry", "message": f"line {number}"}))
    status = chance.choice(["completed", "completed", "error"])
    say(json.dumps({"type": "audit_result", "result": {"status": status, "trust_score": 46}}))
    time.sleep(linger)
    if status == "completed" and chance.random() < 0.5:
        say(json.dumps({"type": "audit_complete", "elapsed": 2}))


def output() -> None:
    """Forms 2 and 3."""
    for step in ("starting", "navigating", "done"):
        say(f"##PROGRESS:{json.dumps({'phase': 'scout', 'step': step, 'detail': step})}")
    result = {"url": "https://example.com/", "status": "completed", "judge_decision": {}}
    say(json.dumps(result, indent=2))
    time.sleep(linger)
    if chance.random() < 0.3:
        print("the browser did not end", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    chance, linger = random.Random(int(sys.argv[1])), float(sys.argv[2])
    chance.choice([events, output])()
