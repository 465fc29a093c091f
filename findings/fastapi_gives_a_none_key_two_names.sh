#!/usr/bin/env bash
# FastAPI 0.165.0 with pydantic 2.14.3: a None among a dict's keys becomes the text "null" or the
# text "None", depending only on whether the route has a return type, and a dict that has the text
# as a key too becomes an object with the same name twice, of which a reader keeps one.
#
# A count by category with None for "no category" is the ordinary case: {None: 2, "null": 1}.
# Without a return type the answer is {"null":2,"null":1}, which JSON readers take for {"null": 1};
# with `-> dict[str | None, int]` it is {"None":2,"null":1}. Neither can be told from a category
# that is called so, and adding the type to a route changes the name for its clients.
#
# Seen: fastapi 0.165.0, starlette 1.10.0, pydantic 2.14.3, Python 3.11:
#   no type: {"null":2,"null":1}
#   typed: {"None":2,"null":1}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fastapi==0.165.0 starlette==1.10.0 pydantic==2.14.3
cat > "$folder/seen.py" <<'PY'
import asyncio
import json

from fastapi import FastAPI

app = FastAPI()
COUNTS = {None: 2, "null": 1}


@app.get("/untyped")
def untyped():
    return COUNTS


@app.get("/typed")
def typed() -> dict[str | None, int]:
    return COUNTS


async def answer(path):
    parts = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        parts.append(message.get("body", b""))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "scheme": "http", "server": ("localhost", 80), "client": ("localhost", 1), "root_path": "",
    }
    await app(scope, receive, send)
    return b"".join(parts).decode()


one, other = asyncio.run(answer("/untyped")), asyncio.run(answer("/typed"))
print("no type:", one)
print("typed:", other)
assert one == '{"null":2,"null":1}', one
assert sum(json.loads(one).values()) == 1, "a reader keeps both"
assert other == '{"None":2,"null":1}', other
PY
"$folder/venv/bin/python" -W ignore "$folder/seen.py"
