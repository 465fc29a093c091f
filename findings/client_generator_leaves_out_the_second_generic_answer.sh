#!/usr/bin/env bash
# FastAPI 0.165.0 and openapi-python-client 0.29.1: of two routes that return a generic dataclass with
# different parameters, one is missing from the generated client, and the generator exits with 0.
#
# The components in the schema have names of their own (`Page_Shop_`, `Page_News_`), but the same
# `title`, "Page", because pydantic writes the class's name there. The generator names its classes
# by the title, not by the component, so the second one meets the first; then it drops that component
# and, with it, the answer of each route that has it: the function is generated, and returns None
# where the server answered with 200. With the exit code 0 a build does not notice.
#
# A page of one kind in each schema, or `title`s that differ, is all that it takes to have both.
#
# Seen with pydantic 2.14.3 and Python 3.11, with generics and then with a class for each:
#   generic: components News, Page_News_, Page_Shop_, Shop; titles News, Page, Page, Shop
#   generic: exit code 0, what the functions parse: news Page, shops None
#   plain:   exit code 0, what the functions parse: news NewsPage, shops ShopPage
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/make.py" <<'PY'
import json
import sys
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import FastAPI

T = TypeVar("T")


@dataclass
class Shop:
    name: str


@dataclass
class News:
    text: str


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class ShopPage:
    items: list[Shop]


@dataclass
class NewsPage:
    items: list[News]


generic = sys.argv[1] == "generic"
app = FastAPI()
app.get("/news", operation_id="news", response_model=Page[News] if generic else NewsPage)(lambda: None)
app.get("/shops", operation_id="shops", response_model=Page[Shop] if generic else ShopPage)(lambda: None)
schema = app.openapi()
parts = schema["components"]["schemas"]
if generic:
    titles = ", ".join(sorted(part["title"] for part in parts.values()))
    print(f"generic: components {', '.join(sorted(parts))}; titles {titles}")
with open(sys.argv[2], "w") as file:
    json.dump(schema, file)
PY
cat > "$folder/look.py" <<'PY'
import importlib
import json
import sys

sys.path.insert(0, sys.argv[1])
found = []
for name in ("news", "shops"):
    module = importlib.import_module(f"client.api.default.{name}")
    answer = {"items": []}
    parsed = module._parse_response(
        client=type("Client", (), {"raise_on_unexpected_status": False})(),
        response=type("Answer", (), {"status_code": 200, "json": lambda self: answer})(),
    )
    found.append(f"{name} {type(parsed).__name__.removesuffix('Type')}")
print("what the functions parse:", ", ".join(found))
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fastapi==0.165.0 pydantic==2.14.3 openapi-python-client==0.29.1
for kind in generic plain; do
    "$folder/venv/bin/python" "$folder/make.py" "$kind" "$folder/$kind.json"
    printf 'project_name_override: client\npackage_name_override: client\npost_hooks: []\n' > "$folder/config.yaml"
    code=0
    "$folder/venv/bin/openapi-python-client" generate --path "$folder/$kind.json" --meta none \
        --config "$folder/config.yaml" --output-path "$folder/$kind/client" > "$folder/$kind.log" 2>&1 || code=$?
    printf '%-8s exit code %s, ' "$kind:" "$code"
    "$folder/venv/bin/python" "$folder/look.py" "$folder/$kind"
done > "$folder/seen" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
cat "$folder/seen"
diff "$folder/seen" - <<'SEEN'
generic: components News, Page_News_, Page_Shop_, Shop; titles News, Page, Page, Shop
generic: exit code 0, what the functions parse: news Page, shops None
plain:   exit code 0, what the functions parse: news NewsPage, shops ShopPage
SEEN
echo "as described"
