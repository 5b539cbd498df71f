"""The pages of the authorization server: plain HTML, and the headers that guard them.

Everything works without JavaScript, but for passkeys, which browsers have for scripts alone: pages with a button for
them may run that one script, and no other page may run any.
Source: OWASP secure headers; RFC 9700 §4.16 (clickjacking), §4.2 (leaks by Referer).
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from smart_auth.cors import ANY
from smart_auth.urls import TenantUrls

# SMART App Launch 2.2.0, `smart_style_url`: how an app may look like the clinic's pages.
STYLE = {
    "color_background": "#ffffff",
    "color_error": "#a4001d",
    "color_highlight": "#0b5cad",
    "color_modal_backdrop": "",
    "color_success": "#1b6e3c",
    "color_text": "#1b1f24",
    "dim_border_radius": "6px",
    "dim_font_size": "16px",
    "dim_spacing_size": "16px",
    "font_family_body": "system-ui, sans-serif",
    "font_family_heading": "system-ui, sans-serif",
}


def headers(form_targets: Iterable[str] = (), script: str = "") -> dict[str, str]:
    """The headers of a page whose forms lead to this server, or by redirect to `form_targets`; `script`: its URL."""
    targets = " ".join(("'self'", *form_targets))
    runs = f"script-src {script}; connect-src 'self'; " if script else ""
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; {runs}form-action {targets}; frame-ancestors 'none'; "
            "base-uri 'none'"
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def page(
    template: str,
    urls: TenantUrls,
    /,
    *,
    status: int = 200,
    form_targets: Iterable[str] = (),
    has_script: bool = False,
    **values: Any,
) -> HTMLResponse:
    """A page of a clinic, from the template of that name."""
    script = f"{urls.issuer}/passkeys.js" if has_script else ""
    html = _templates().get_template(f"{template}.html").render(urls=urls, script=script, **values)
    return HTMLResponse(html, status, headers(form_targets, script))


def failure(urls: TenantUrls, words: str, status: int = 400) -> HTMLResponse:
    """The page that says what is wrong to somebody who cannot be sent on."""
    return page("failure", urls, status=status, words=words)


def redirect(url: str) -> RedirectResponse:
    """A redirect that a browser always follows with GET (RFC 9700 §4.12), and that leaks nothing."""
    return RedirectResponse(url, 303, headers())


def routes() -> APIRouter:
    """The style sheet, the script of passkeys, and the style for apps."""
    router = APIRouter(include_in_schema=False)

    @router.get("/style.css")
    async def style() -> Response:
        css = _templates().get_template("style.css").render()
        return Response(css, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})

    @router.get("/passkeys.js")
    async def script() -> Response:
        text = _templates().get_template("passkeys.js").render()
        kept = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(text, media_type="text/javascript", headers=kept)

    @router.get("/smart-style.json")
    async def smart_style() -> JSONResponse:
        return JSONResponse(STYLE, headers={"Cache-Control": "public, max-age=3600", **ANY})

    return router


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("smart_auth"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
