"""update: a new version of a resource, or, as a setting, a new one at the caller's id (FHIR R4 http.html#update)."""

from fhir_server.fhir.errors import BadRequest, Forbidden, NotAllowed, NotFound
from fhir_server.interactions import visibility
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.if_match import check_if_match, check_if_none_match
from fhir_server.interactions.prefer import answer_with
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """200 for a new version, 201 for a new resource."""
    if call.body.get("id") != call.id:
        raise BadRequest(f"The body's id must be the URL's, '{call.id}'.", expression=f"{call.type}.id")
    current, is_there = await repository.look(call.type, call.id, "u")
    if current is not None and not current.is_deleted and is_there:
        check_if_match(call.headers, current)
        check_if_none_match(call.headers, current)
        if repository.writable(current) is not None:
            raise Forbidden("This caller sees a part of the resource only; change it by PATCH.")
        return answer_with(call, repository, await repository.update(current, call.body), 200)
    # For a caller who sees some rows only, an absent id and one out of sight are answered alike.
    grants = repository.access.of(call.type, "c")
    if not any(visibility.is_everything(grant) and grant.elements is None for grant in grants):
        raise NotFound("There is no such resource here.")
    if current is not None and not current.is_deleted:
        raise NotFound("There is no such resource here.")
    check_if_match(call.headers, current)
    if not call.clinic.server.settings.update_as_create:
        raise NotAllowed("There is no resource of this id, and this server chooses ids itself: POST it instead.")
    return answer_with(call, repository, await repository.create_at(call.body, call.id, current), 201)
