"""The page that shows who looked at a patient: plain HTML without a script, readable at a phone's width."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape

from fhir_server.audit.event import Event
from fhir_server.fhir.clock import Micros, instant

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
}
# On a narrow screen each row is a block, with the columns' names in front of the values.
_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { margin: 0 auto; max-width: 70rem; padding: 1rem }
h1 { font-size: 1.4rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8885 }
td { overflow-wrap: anywhere }
.refused { font-weight: bold }
@media (max-width: 45rem) {
  thead { position: absolute; left: -999rem }
  tr { display: block; padding: .6rem 0; border-bottom: 1px solid #8885 }
  td { display: grid; grid-template-columns: 6rem 1fr; border: 0; padding: .1rem 0 }
  td::before { content: attr(data-name); opacity: .7 }
}
"""
_ABOUT = "Everybody who read, searched for or was sent this patient's data, newest first. Refused attempts are marked."
_COLUMNS = ("When", "Who", "Role", "Through", "What", "Outcome")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def render(patient: str, events: Sequence[Event], zone: tzinfo, *, is_all: bool) -> bytes:
    """The page; times are the clinic's. Where the events are not all, it says so."""
    title = f"Who looked at Patient/{escape(patient)}"
    columns = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in _COLUMNS)
    rows = "".join(_row(event, zone) for event in events)
    table = f'<table role="table"><thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
    table += f'<tbody role="rowgroup">{rows}</tbody></table>'
    more = "" if is_all else f"<p><strong>There are more before these {len(events):,}; narrow the time.</strong></p>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{_ABOUT}</p>
{more}
{table if events else "<p><strong>Nobody did in this time.</strong></p>"}
</main>
</body>
</html>
""".encode()


def _row(event: Event, zone: tzinfo) -> str:
    is_seen = event.outcome == "0"
    cells = (
        f'<time datetime="{instant(event.recorded)}">{_local(event.recorded, zone)}</time>',
        escape(event.user_name or event.user or "not known"),
        escape(event.role),
        escape(event.client or "no app"),
        escape(event.entity or event.query),
        "seen" if is_seen else f'<span class="refused">refused: {escape(event.description)}</span>',
    )
    named = zip(_COLUMNS, cells, strict=True)
    # The roles: once a row is a block, browsers take its cells for no cells any more.
    return (
        '<tr role="row">'
        + "".join(f'<td role="cell" data-name="{name}"><span>{cell}</span></td>' for name, cell in named)
        + "</tr>"
    )


def _local(moment: Micros, zone: tzinfo) -> str:
    at = (_EPOCH + timedelta(microseconds=moment)).astimezone(zone)
    return at.strftime("%Y-%m-%d %H:%M:%S %Z")
