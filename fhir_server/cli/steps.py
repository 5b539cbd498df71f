"""How a step of the demo is done over HTTP, told, and checked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

Resource = dict[str, Any]
_MOST_PAGES = 50


class StepFailed(Exception):
    """A step did not do what it should."""

    def __init__(self, step: str, told: str) -> None:
        super().__init__(told)
        self.step = step


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """Bearer tokens by who has them; no repr, so that none is ever printed."""

    by_name: Mapping[str, str]

    def header(self, name: str) -> dict[str, str]:
        """The Authorization header; none for ''."""
        return {"Authorization": f"Bearer {self.by_name[name]}"} if name else {}


class Steps:
    """Sends requests with each one's token; prints what happens, and stops at the first step that fails."""

    def __init__(self, http: httpx.Client, base: str, tokens: Tokens) -> None:
        self._http, self._base, self._tokens = http, base, tokens
        self.step = ""
        self._number = 0

    def header(self, who: str) -> dict[str, str]:
        """The Authorization header of somebody."""
        return self._tokens.header(who)

    @contextmanager
    def doing(self, step: str) -> Iterator[None]:
        """Tell of a step; what an answer lacks is its failure."""
        self._number += 1
        self.step = step
        print(f"\n{self._number}. {step}")
        try:
            yield
        except (KeyError, ValueError) as error:
            raise StepFailed(step, f"an answer lacks {error}") from error

    def expect(self, holds: bool, otherwise: str) -> None:
        """Fail the step unless it holds. Raises StepFailed."""
        if not holds:
            raise StepFailed(self.step, otherwise)

    def tell(self, text: str) -> None:
        """Say what happened."""
        print(f"   {text}")

    def request(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
        """One request; a path is below the base."""
        url = path if path.startswith("http") else f"{self._base}/{path}"
        return self._http.request(method, url, headers=dict(headers), **more)

    def get(self, who: str, path: str) -> Resource:
        """What somebody reads; fails the step where they may not."""
        answer = self.request("GET", path, self._tokens.header(who))
        self.expect(answer.status_code == 200, told(answer))
        found: Resource = answer.json()
        return found

    def all(self, who: str, path: str) -> Iterator[Resource]:
        """The matches, page by page as they are needed."""
        for _ in range(_MOST_PAGES):
            page = self.get(who, path)
            yield from (entry["resource"] for entry in page.get("entry", ()))
            following = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
            if following is None:
                return
            path = following

    def post(self, who: str, resource: Resource) -> httpx.Response:
        """Create a resource."""
        return self.request("POST", resource["resourceType"], self._tokens.header(who), json=resource)

    def put(self, who: str, resource: Resource) -> httpx.Response:
        """Store a new version."""
        path = f"{resource['resourceType']}/{resource['id']}"
        return self.request("PUT", path, self._tokens.header(who), json=resource)

    def patch(self, proposal: str, status: str = "booked", reason: str = "") -> httpx.Response:
        """Move an appointment to a status as Dr. Lee, at the version that is read first."""
        moves: list[Resource] = [{"op": "replace", "path": "/status", "value": status}]
        moves += [{"op": "add", "path": "/cancelationReason", "value": {"text": reason}}] if reason else []
        read = self.request("GET", f"Appointment/{proposal}", self._tokens.header("dr-lee"))
        self.expect(read.status_code == 200, told(read))
        headers = {"If-Match": read.headers["ETag"], "Content-Type": "application/json-patch+json"}
        return self.request("PATCH", f"Appointment/{proposal}", self._tokens.header("dr-lee") | headers, json=moves)


def told(answer: httpx.Response) -> str:
    """Status and diagnostics of an answer."""
    try:
        issues = answer.json().get("issue", ())
    except ValueError:
        issues = ()
    texts = " ".join(str(issue.get("diagnostics", "")) for issue in issues)
    return f"{answer.status_code} {texts}".strip()
