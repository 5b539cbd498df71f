"""Answers to forms: what a patient may say in a QuestionnaireResponse, and when it stands (R-4.7, R-7.20).

A patient answers a published form for themselves; answers that are complete are amended, never withdrawn or emptied.
Answers that somebody else gave, such as a clinician's assessment, are not theirs to change.
"""

from collections.abc import Iterator
from typing import Any

from fhir_server.booking.states import PATIENTS
from fhir_server.fhir import json
from fhir_server.fhir.errors import Forbidden, Unprocessable
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query, Test, Uri

Resource = dict[str, Any]

# Of each status of a patient's answers, those that may follow; None: there are none yet.
FOLLOWS: dict[str | None, tuple[str, ...]] = {
    None: ("in-progress", "completed"),
    "in-progress": ("in-progress", "completed", "stopped"),
    "completed": ("amended",),
    "amended": ("amended",),
}
_WHOLE = ("completed", "amended")
# Who wrote the answers down, and who gave them.
_BY = ("author", "source")


async def answers(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The write rule of QuestionnaireResponse. Raises Unprocessable, Forbidden."""
    if after is None or repository.access.agent.role not in PATIENTS:
        return after
    if before is not None:
        _check_author(repository, before)
        _keep(before, after)
    _check_status((before or {}).get("status"), after["status"])
    _check_author(repository, after)
    form = await _form(repository, after)
    issues = list(_faults(form.get("item", ()), after.get("item", ()), whole=after["status"] in _WHOLE))
    if issues:
        raise Unprocessable(issues=issues)
    return after


def _check_status(before: str | None, after: str) -> None:
    allowed = FOLLOWS.get(before, ())
    if after not in allowed:
        raise Unprocessable(
            f"Answers cannot go from {before or 'nothing'} to {after}; they can become: "
            f"{', '.join(allowed) or 'nothing else'}.",
            expression="QuestionnaireResponse.status",
        )


def _keep(before: Resource, after: Resource) -> None:
    """Whose answers they are, and the labels that they bear, are not taken away by leaving them out."""
    for name in _BY:
        if name in before:
            after.setdefault(name, before[name])
    labels = after["meta"].get("security", [])
    gone = [label for label in before["meta"].get("security", ()) if label not in labels]
    if gone:
        after["meta"]["security"] = [*labels, *gone]


def _check_author(repository: Repository, answers: Resource) -> None:
    agent = repository.access.agent
    people = {agent.fhir_user, f"Patient/{agent.patient}"}
    for name in _BY:
        if name in answers and answers[name].get("reference") not in people:
            raise Forbidden("Patients answer for themselves.", expression=f"QuestionnaireResponse.{name}")


async def _form(repository: Repository, after: Resource) -> Resource:
    """The published form that is answered, by its canonical URL or its URL on this server."""
    url, _, version = str(after.get("questionnaire", "")).partition("|")
    target = local_reference(url, repository.clinic.base_url)
    if target is not None and target.type == "Questionnaire":
        stored = await repository.unit.read("Questionnaire", target.id)
        found = [stored] if stored is not None else []
    else:
        found = list((await repository.unit.search(Query("Questionnaire", Test("url", "uri", Uri(url))))).matches)
    forms = [json.parse(stored.body) for stored in found if stored.body is not None]
    for form in forms:
        if form.get("status") == "active" and version in ("", form.get("version")):
            return form  # type: ignore[no-any-return]
    raise Unprocessable(
        "There is no such form in use here; name a Questionnaire that is active.",
        expression="QuestionnaireResponse.questionnaire",
    )


def _faults(asked: Any, given: Any, *, whole: bool, at: str = "QuestionnaireResponse") -> Iterator[Issue]:
    """Answers to what was not asked; and, where they are to be whole, questions that must be answered and are not."""
    by_id = {item["linkId"]: item for item in asked}
    for n, item in enumerate(given):
        here, question = f"{at}.item[{n}]", by_id.get(item["linkId"])
        if question is None:
            yield Issue("value", "The form has no such question here.", f"{here}.linkId")
            continue
        inner = [*item.get("item", ()), *(each for a in item.get("answer", ()) for each in a.get("item", ()))]
        yield from _faults(question.get("item", ()), inner, whole=whole, at=here)
    there = {item["linkId"] for item in given if item.get("answer") or item.get("item")}
    for link_id, question in by_id.items():
        if whole and question.get("required") and not question.get("enableWhen") and link_id not in there:
            yield Issue("required", f"The question '{link_id}' must be answered.", f"{at}.item")
