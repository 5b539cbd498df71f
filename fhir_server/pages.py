"""`/docs`: what the server offers, as one plain page made of the table of interactions and of OpenAPI.

It loads nothing from elsewhere and needs no script, so that it works where the server works.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from fhir_server.interactions.interaction import Interaction

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { margin: 0 auto; max-width: 60rem; padding: 1rem }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8885 }
code { overflow-wrap: anywhere }
"""


def api_page(origin: str, table: Sequence[Interaction], openapi: Mapping[str, Any]) -> str:
    """The page."""
    fhir = ((row.method, f"/{{tenant}}/fhir/{row.path}".rstrip("/"), row.name) for row in table)
    others = (
        (method.upper(), path, str(operation.get("description") or operation.get("summary", "")))
        for path, operations in openapi.get("paths", {}).items()
        for method, operation in operations.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fhir-server: what it offers</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>What this server offers</h1>
<p>FHIR R4 (4.0.1) at <code>{escape(origin)}/{{tenant}}/fhir</code>. Types, search parameters and formats are in each
clinic's <code>/metadata</code>; the other endpoints are described in <a href="/openapi.json">OpenAPI</a>.</p>
<h2>FHIR</h2>
{_rows(fhir, "interaction")}
<h2>Authorization and operation</h2>
{_rows(others, "what it does")}
</main>
</body>
</html>
"""


def _rows(rows: Iterable[tuple[str, str, str]], last: str) -> str:
    head = f"<tr><th scope='col'>method</th><th scope='col'>path</th><th scope='col'>{last}</th></tr>"
    body = "".join(
        f"<tr><td>{escape(method)}</td><td><code>{escape(path)}</code></td><td>{escape(text)}</td></tr>"
        for method, path, text in rows
    )
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
