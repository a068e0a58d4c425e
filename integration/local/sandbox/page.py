"""The HTML page at `/`, without scripts: received calls, newest first, and the active rules."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.local.sandbox.state import SandboxState

_MOST_ROWS = 100
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="refresh" content="2"><title>wolkvox sandbox</title>
<style>body{{font:14px/1.5 system-ui;margin:2rem;max-width:75rem}}
table{{border-collapse:collapse;width:100%}}
td,th{{border-bottom:1px solid #ccc;padding:.25rem .5rem;text-align:left}}
code{{white-space:pre-wrap;word-break:break-word}}</style></head><body>
<h1>wolkvox sandbox</h1>
<p>{count} calls, {accepted} accepted; {overlaps} overlapped another on its token.</p>
<h2>Calls, newest first</h2>
<table><tr><th>#<th>received<th>token<th>call<th>body<th>answer</tr>{calls}</table>
<h2>Rules</h2><table><tr><th>#<th>rule</tr>{rules}</table></body></html>"""


def page(state: SandboxState) -> str:
    """Return the HTML of the page."""
    stats = state.stats()
    calls = "".join(
        _row(
            call["seq"],
            call["received_at"],
            call["token"],
            f"{call['method']} {call['path']} {json.dumps(call['query'])}",
            json.dumps(call["body"], ensure_ascii=False),
            f"{call['status'] or '…'} / {call['code'] or '-'}",
        )
        for call in state.newest_calls(_MOST_ROWS)
    )
    rules = "".join(_row(rule["id"], json.dumps(rule, ensure_ascii=False)) for rule in state.rules())
    return _PAGE.format(
        count=stats["count"],
        accepted=stats["accepted"],
        overlaps=stats["overlap_count"],
        calls=calls,
        rules=rules,
    )


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td><code>{html.escape(str(cell))}</code></td>" for cell in cells) + "</tr>"
