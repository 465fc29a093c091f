"""The frame and style of a report, and its texts made safe: escaped, without control characters."""

from __future__ import annotations

import html
import json
import re
from typing import Any

# Control characters except tab and line feed; those that change the direction of writing;
# surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

_DEPTH = 4
"""How many levels of a JSON value are shown as lists."""


def clean(text: str) -> str:
    """`text` without the characters that would change how other text is shown."""
    return _CONTROL.sub("", text)


def safe(value: object) -> str:
    """A value as text of a page, safe also inside an attribute."""
    return html.escape(clean(str(value)))


def flowing(value: object) -> str:
    """`safe`, for a text between tags: a long word in it, such as an address, goes on in the next
    line behind its signs; in the middle of a word only where a line is too short for that."""
    marked = _LONG.sub(lambda word: _BEHIND.sub(_BREAK, word[0]), clean(str(value)))
    return html.escape(marked).replace(_BREAK, "<wbr>")


_LONG = re.compile(r"\S{16,}")
_BEHIND = re.compile(r"(?<=[/?&.=#_])(?![/?&.=#_]|$)")
_BREAK = "\0"  # no text has one that was cleaned


def words(value: object) -> str:
    """A name such as `hidden_cancel` as words."""
    return safe(str(value).replace("_", " ").strip())


def markdown(text: str) -> str:
    """Markdown as HTML if markdown-it-py is installed (the `cli` extra brings it), else the text.

    HTML in it is shown as text, images are not loaded, and a link shows where it leads.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        return f'<div class="plain">{flowing(text)}</div>'
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    # Replaces the parser's own check: a link to anything but a web address stays text.
    parser.validateLink = _is_web_address  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("text", _text)
    for name in ("heading_open", "heading_close"):
        parser.add_render_rule(name, _heading)
    for name in ("th_open", "td_open"):
        parser.add_render_rule(name, _cell)
    return clean(str(parser.render(clean(text))))


def _is_web_address(url: str) -> bool:
    return re.match(r"https?://", url, re.I) is not None


def _link(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    href = safe(tokens[index].attrGet("href"))
    kind = ' class="bare"' if tokens[index].info == "auto" else ""
    return f'<a href="{href}" rel="noopener noreferrer nofollow"{kind}>'


def _text(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    return flowing(tokens[index].content)


def _heading(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    # Whatever levels a narrative has, they are all below the heading of its section.
    return "</h3>\n" if tokens[index].nesting < 0 else "<h3>"


def _cell(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    # By a class: the policy of a page allows no style inside an element.
    side = str(tokens[index].attrGet("style") or "").removeprefix("text-align:")
    return f'<{tokens[index].tag} class="{side}">' if side else f"<{tokens[index].tag}>"


def laid_out(value: Any, depth: int = 0) -> str:
    """A JSON value as HTML lists within lists, `_DEPTH` levels deep; deeper ones are JSON text."""
    if isinstance(value, dict | list) and depth >= _DEPTH:
        return f'<span class="mono">{flowing(json_text(value))}</span>'
    if isinstance(value, dict) and value:
        items = "".join(
            f"<dt>{words(key)}</dt><dd>{laid_out(inner, depth + 1)}</dd>"
            for key, inner in value.items()
        )
        return f"<dl>{items}</dl>"
    if isinstance(value, list) and value:
        return f"<ul>{''.join(f'<li>{laid_out(inner, depth + 1)}</li>' for inner in value)}</ul>"
    if isinstance(value, dict | list):
        return "none"
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f'<span class="text">{flowing(value)}</span>'


def json_text(value: Any) -> str:
    """A value as JSON text; "…" for one that is nested too deeply for the encoder."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"


def head(title: object) -> str:
    """The beginning of a page; by its policy the browser loads nothing and runs no script."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; \
form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{safe(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
"""


END = "</main>\n</body>\n</html>\n"

STYLE = """\
:root { color-scheme: light; --ink: #1c2430; --soft: #566070; --line: #dfe4ea; --paper: #fff;
  --ground: #f3f5f8; --link: #1d5fa8; --critical: #9d1c33; --high: #b93a22; --medium: #8a5a00;
  --low: #2f6d94; --fair: #55701b; --good: #23703f; }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --ink: #e4e8ee; --soft: #a3adbb; --line: #39424f; --paper: #1a2029;
    --ground: #11151b; --link: #8dbdf5; --critical: #ff8fa3; --high: #ff9a80; --medium: #eab54f;
    --low: #82c0e6; --fair: #b3cf6b; --good: #73cf97; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 2rem auto; padding: 2.5rem 3rem; background: var(--paper);
  border: 1px solid var(--line); border-radius: 10px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--line); break-after: avoid; }
h3 { font-size: 1rem; margin: 1.2rem 0 .5rem; break-after: avoid; }
p { margin: .4rem 0; }
a { color: var(--link); }
.soft { color: var(--soft); }
.small { font-size: .85rem; }
.plain, .text { white-space: pre-wrap; unicode-bidi: plaintext; }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .85em; }
.verdict { display: flex; gap: 2rem; align-items: center; }
.verdict svg { flex: none; width: 8.5rem; height: 8.5rem; }
.track { fill: none; stroke: var(--line); }
.ground { fill: var(--line); } .unit { fill: var(--soft); }
.risk { font-size: 1.25rem; font-weight: 600; }
.risk::first-letter { text-transform: uppercase; }
.good { color: var(--good); } .fair { color: var(--fair); } .medium { color: var(--medium); }
.high { color: var(--high); } .critical { color: var(--critical); } .low { color: var(--low); }
.chip { display: inline-block; padding: .05rem .6rem; margin: .15rem .3rem .15rem 0;
  border: 1px solid currentColor; border-radius: 1rem; font-size: .85rem; font-weight: 600;
  white-space: nowrap; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
  gap: .6rem 1.5rem; margin: 1.5rem 0 0; }
.facts div { border-left: 3px solid var(--line); padding-left: .7rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; }
.narrative h3 { margin: 1rem 0 .3rem; }
.narrative a::after { content: " (" attr(href) ")"; color: var(--soft); font-size: .85em; }
.narrative a.bare::after { content: ""; }
.narrative table, table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); }
.left { text-align: left; } .center { text-align: center; } .right { text-align: right; }
th { color: var(--soft); font-size: .8rem; font-weight: 600; }
thead th, .own td { overflow-wrap: break-word; } .own .text { overflow-wrap: anywhere; }
.narrative th { overflow-wrap: anywhere; }
tbody th, .word, .signals td:first-child { min-width: 7.5rem; }
.signals td:nth-child(2) { text-align: right; width: 4rem; font-variant-numeric: tabular-nums; }
.signals td:nth-child(3) { width: 55%; } .signals svg { width: 100%; height: .8rem; }
.finding { border: 1px solid var(--line); border-left: 4px solid; border-radius: 6px;
  padding: .7rem 1rem; margin: .7rem 0; break-inside: avoid; }
.finding > * { color: var(--ink); } .finding .soft { color: var(--soft); }
.finding .title { font-weight: 600; } .finding .title::first-letter { text-transform: uppercase; }
.module { border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem;
  margin: .7rem 0; }
.module h3 { margin: 0 0 .3rem; }
.module dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr;
  gap: .15rem 1.2rem; margin: 0; font-size: .9rem; }
.module dl dl { font-size: 1em; } .module ul { margin: 0; padding-left: 1.2rem; }
.shots { display: grid; gap: 1.2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; break-inside: avoid; }
.frame { max-height: 34rem; overflow: auto; background: var(--ground); text-align: center; }
figure img { max-width: 100%; display: block; margin: 0 auto; }
figcaption { padding: .5rem .8rem; border-top: 1px solid var(--line); }
.log { table-layout: fixed; } .log th:nth-child(1) { width: 10rem; }
.log th:nth-child(2) { width: 9rem; } .log td { font-size: .85rem; }
.log td:first-child { color: var(--soft);
  font-variant-numeric: tabular-nums; }
.warn { border: 1px solid var(--high); border-radius: 6px; padding: .6rem 1rem; }
footer { margin-top: 2.4rem; padding-top: .8rem; border-top: 2px solid var(--line); }
@media (max-width: 40rem) { main { margin: 0; padding: 1.2rem; border: 0; }
  .verdict { flex-direction: column; align-items: flex-start; }
  .log, .log tbody, .log tr, .log td { display: block; } .log thead { display: none; }
  .log td { padding: 0; border: 0; } .log td:nth-child(2) { font-weight: 600; }
  .log tr { padding: .4rem 0; border-bottom: 1px solid var(--line); } }
@media print {
  @page { margin: 16mm; }
  body { background: none; font-size: 10.5pt; }
  main { max-width: none; margin: 0; padding: 0; border: 0; }
  .frame { max-height: none; overflow: visible; } figure img { max-height: 220mm; }
  .log th:nth-child(1) { width: 8rem; } .log th:nth-child(2) { width: 7rem; }
  thead { display: table-header-group; } tr { break-inside: avoid; }
}
"""
