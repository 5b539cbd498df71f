"""The page at /docs: it lists every interaction and endpoint, and loads nothing from elsewhere."""

from fhir_server.rest.table import TABLE
from tests.harness import Harness


async def test_docs_page_lists_every_interaction_and_endpoint(harness: Harness) -> None:
    answer = await harness.http.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    for row in TABLE:
        assert f"/{{tenant}}/fhir/{row.path}".rstrip("/") in answer.text
    for path in (await harness.http.get("/openapi.json")).json()["paths"]:
        assert path in answer.text


async def test_docs_page_needs_no_script_and_no_other_host(harness: Harness) -> None:
    answer = await harness.http.get("/docs")
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
