#!/usr/bin/env bash
# Datasette 0.65.5 and sqlite-utils 4.2.1 look for a table's FTS5 index by the text content="table" (or
# content=[table]) in its declaration. One that is spelled as in FTS5's own documentation,
# content='table', or with a space, is not found: no search box, "not configured for full-text search".
# And where the content is a view, Datasette's box is there, and no search finds anything.
#
# Datasette searches by `rowid in (…)`, and does not look at FTS5's content_rowid. The rowid of a view is
# NULL, or an error, as SQLite was built. A view with a column of that name can be searched. The text may
# even stand in a comment of the declaration: SQLite keeps it.
#
# Seen: datasette 0.65.5, sqlite-utils 4.2.1, Python 3.11, SQLite 3.40:
#   content='page': box False, sqlite-utils None
#   content = "page": box False, sqlite-utils None
#   content="page": box True, found 1, sqlite-utils search
#   content='page' /* content="page" */: box True, found 1, sqlite-utils search
#   content="page_view": box True, found nothing
#   content="rowid_view": box True, found 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasette==0.65.5 sqlite-utils==4.2.1
cat > "$folder/seen.py" <<'PY'
import asyncio
import os
import sqlite3
import sys

import sqlite_utils
from datasette.app import Datasette

DECLARED = {
    "content='page'": "page",
    'content = "page"': "page",
    'content="page"': "page",
    "content='page' /* content=\"page\" */": "page",
    'content="page_view"': "page_view",
    'content="rowid_view"': "rowid_view",
}


async def look(path, table):
    client = Datasette([path]).client
    box = 'name="_search"' in (await client.get(f"/pages/{table}")).text
    if not box:
        return "box False"
    answer = (await client.get(f"/pages/{table}.json?_search=hidden&_shape=objects")).json()
    rows = answer.get("rows", [])
    assert "rows" in answer or answer["error"] == "no such column: rowid", answer
    return f"box True, found {len(rows) or 'nothing'}"


for number, (declared, table) in enumerate(DECLARED.items()):
    path = f"{sys.argv[1]}/{number}/pages.db"
    os.mkdir(f"{sys.argv[1]}/{number}")
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE page (id INTEGER PRIMARY KEY, text TEXT)")
    file.execute("CREATE VIEW page_view AS SELECT id, text FROM page")
    file.execute("CREATE VIEW rowid_view AS SELECT id, id AS rowid, text FROM page")
    file.execute(
        f"CREATE VIRTUAL TABLE search USING fts5(text, content_rowid='id', {declared})"
    )
    file.execute("INSERT INTO page (text) VALUES ('a hidden cost'), ('a timer')")
    file.execute("INSERT INTO search (search) VALUES ('rebuild')")
    assert file.execute("SELECT rowid FROM search('hidden')").fetchall() == [(1,)]
    file.commit()
    file.close()
    told = asyncio.run(look(path, table))
    if table == "page":
        other = sqlite_utils.Database(path)
        told += f", sqlite-utils {other['page'].detect_fts()}"
        other.close()
    print(f"{declared}: {told}")
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
content='page': box False, sqlite-utils None
content = "page": box False, sqlite-utils None
content="page": box True, found 1, sqlite-utils search
content='page' /* content="page" */: box True, found 1, sqlite-utils search
content="page_view": box True, found nothing
content="rowid_view": box True, found 1
SEEN
echo "as described"
