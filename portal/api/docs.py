"""`/api/docs`: every route of the API with its first line, and the OpenAPI document to read it by machine.

FastAPI's own page loads scripts from elsewhere, which the content security policy forbids, and rightly.
"""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_METHODS = ("get", "post", "patch", "put", "delete")


@router.get("/api/docs", response_class=HTMLResponse)
def docs(request: Request) -> str:
    document: dict[str, Any] = request.app.openapi()
    rows = "".join(
        f'<tr><td><code>{method.upper()}</code></td><th scope="row"><code>{escape(path)}</code></th>'
        f"<td>{escape(_first_line(operation))}</td><td>{escape(_parameters(operation))}</td></tr>"
        for path, operations in sorted(document["paths"].items())
        for method, operation in operations.items()
        if method in _METHODS
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Schoolgate API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/style.css"></head>
<body><main>
<h1>Schoolgate API</h1>
<p>Send <code>Authorization: Bearer TOKEN</code>. Errors are <code>application/problem+json</code> (RFC 9457).
Shapes of what is sent and answered: <a href="/api/openapi.json">openapi.json</a>.</p>
<table><thead><tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">What it does</th>
<th scope="col">Parameters</th></tr></thead><tbody>{rows}</tbody></table>
</main></body></html>
"""


def _first_line(operation: dict[str, Any]) -> str:
    text = str(operation.get("description") or operation.get("summary") or "")
    return text.strip().partition("\n\n")[0].replace("\n", " ")


def _parameters(operation: dict[str, Any]) -> str:
    return ", ".join(one["name"] for one in operation.get("parameters", ()) if one["in"] != "header")
