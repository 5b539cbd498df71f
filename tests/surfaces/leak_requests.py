"""Requests of every kind for the leak hunt, made at random: what a curious caller could try.

An id of the server's own is asked for by its place among those seen.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.surfaces.leak_clinic import MOST, PATIENTS, TYPES, clinical, id_of, place, word

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FHIR_JSON = {"Content-Type": "application/fhir+json"}
_ACCEPTED: tuple[dict[str, str], ...] = (
    *[{}] * 6, {"Accept": "application/fhir+xml"}, {"Accept": "text/turtle"}, {"Prefer": "handling=lenient"},
    {"Accept-Encoding": "identity"},
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """`follows`: the name of the link that is followed instead of the path, where there is one."""

    method: str
    path: str
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    follows: str = ""


class Asker:
    """Makes requests at random, half of them about these people."""

    def __init__(self, rng: random.Random, people: Iterable[str]) -> None:
        self._rng = rng
        self._well_known = sorted(people)
        self.kinds: Mapping[str, Callable[[], Request]] = {
            "search": self._search, "chain": self._chain, "search-form": self._search_form,
            "search-system": self._search_system, "search-compartment": self._search_compartment,
            "read": self._read, "vread": self._vread,
            "history-instance": self._history, "history-many": self._history_many, "page": self._page,
            "others-page": self._others_page, "everything": self._everything, "meta": self._meta,
            "meta-change": self._meta_change, "create": self._create, "if-none-exist": self._if_none_exist,
            "put": self._put, "patch": self._patch, "patch-conditional": self._patch_conditional,
            "put-conditional": self._put_conditional, "delete": self._delete, "validate": self._validate,
            "match": self._match, "find": self._find, "propose": self._propose, "people": self._people,
            "audit": self._audit, "explain": self._explain, "batch": self._batch, "transaction": self._transaction,
            "async": self._async, "others-job": self._others_job,
        }  # fmt: skip
        # Searches have the most to say.
        self._weighted = (
            [*self.kinds] + ["search"] * 8 + ["chain", "search-form", "search-compartment", "page", "batch"] * 2
        )

    def request(self) -> tuple[str, Request]:
        """A kind, and a request of it."""
        kind = self._rng.choice(self._weighted)
        return kind, self.kinds[kind]()

    # Words

    def _one(self, *choices: str) -> str:
        return self._rng.choice(choices)

    def _type(self) -> str:
        # There are most of these two.
        return self._one(*TYPES, *("Observation", "Encounter") * 3, "Patient", "Appointment", "Slot", "Practitioner",
                         "Schedule")  # fmt: skip

    def _who(self) -> str:
        if self._well_known and self._rng.random() < 0.5:
            return self._one(*self._well_known)
        return self._one(*PATIENTS * 2, "elsewhere", "nobody")

    def _id(self, type_: str) -> str:
        if self._rng.random() < 0.1:
            return place(self._rng.randrange(50))
        return id_of(type_, self._who(), self._rng.randrange(MOST + 1))

    def _reference(self, type_: str) -> str:
        return f"{type_}/{self._id(type_)}"

    def _plain(self, type_: str) -> str:
        who, text = self._who(), word(self._who())
        return self._one(
            f"_id={self._id(type_)}", f"patient={who}", f"patient=Patient/{who}", f"subject=Patient/{who}",
            f"code:text={text}", f"name={text}", f"family={text}", f"actor=Patient/{who}", "status=final",
            "patient:missing=false", f"{self._one('patient', 'subject')}:identifier=x", "general-practitioner=dr-lee",
            "_lastUpdated=gt2000-01-01", f"own-words={text}", f"own-words:contains={text[:5]}", "birthdate=1990-05-06",
            f"item={self._reference('Observation')}", "value-quantity=3", "date=gt2000", "_tag=x", "_security:not=x",
        )  # fmt: skip

    def _deep(self, type_: str) -> str:
        who, text, other = self._who(), word(self._who()), self._type()
        return self._one(
            f"patient.name={text}", f"subject:Patient.name={text}", f"encounter.patient={who}",
            f"encounter:Encounter.subject:Patient.name={text}", "patient.general-practitioner=dr-lee",
            f"_has:{other}:patient:_id={self._id(other)}", f"_has:{other}:subject:status=final",
            f"_has:Observation:subject:code:text={text}", f"_has:Observation:patient:own-words={text}",
            f"patient:Patient._has:{other}:patient:_id={self._id(other)}", f"_has:List:item:_id={self._id('List')}",
            f"_content={text}", f"_text={text}", f"_list={self._id('List')}",
            "_filter=" + quote(self._one(
                f'subject.name eq "{text}"', f'name sw "{text}"', f"patient re Patient/{who}", "status eq final",
                f"not (patient re Patient/{who})", f'_id eq "{self._id(type_)}" or status eq final',
            )),
        )  # fmt: skip

    def _result(self, type_: str) -> str:
        return self._one(
            "_sort=-_lastUpdated", "_sort=_id", "_sort=patient", "_sort=-subject", "_sort=name", "_sort=code",
            "_sort=own-words", "_count=1", "_count=2", "_count=0", "_total=accurate", "_total=estimate", "_total=none",
            "_summary=count", "_summary=true", "_summary=text", "_elements=subject,code", "_include=*",
            f"_include={type_}:patient", f"_include={type_}:subject",
            "_include=Observation:encounter", "_include=Observation:has-member",
            "_revinclude=Observation:has-member", "_revinclude=Observation:encounter",
            "_include:iterate=Encounter:subject", "_include=List:item", f"_revinclude={self._type()}:patient",
            "_revinclude=*", f"_revinclude:iterate={self._type()}:patient", "_format=xml", "_pretty=true",
        )  # fmt: skip

    def _query(self, type_: str) -> str:
        makers = (self._plain, self._deep, self._result, self._result)
        return "&".join(self._rng.choice(makers)(type_) for _ in range(self._rng.randint(1, 3)))

    def _criterion(self, type_: str) -> str:
        return self._rng.choice((self._plain, self._deep))(type_)

    # Reading

    def _get(self, path: str) -> Request:
        return Request("GET", path, headers=self._rng.choice(_ACCEPTED))

    def _search(self) -> Request:
        type_ = self._type()
        return self._get(f"{type_}?{self._query(type_)}")

    def _chain(self) -> Request:
        """Through what points at another's, and is pointed at by it."""
        who, text = self._who(), word(self._who())
        return self._get(self._one(
            f"Observation?encounter.patient={who}", f"Observation?has-member.patient={who}",
            f"Observation?encounter:Encounter.reason-code:text={text}", f"Observation?has-member.code:text={text}",
            f"Observation?has-member.encounter.patient={who}", f"Observation?has-member.subject:Patient.name={text}",
            f"Observation?_has:Observation:has-member:patient={who}",
            f"Encounter?_has:Observation:encounter:patient={who}",
            f"Encounter?_has:Observation:encounter:own-words={text}",
            f"Observation?encounter._id={self._id('Encounter')}",
            f"Patient?_has:Observation:patient:encounter.patient={who}",
        ))  # fmt: skip

    def _search_form(self) -> Request:
        type_ = self._type()
        return Request("POST", f"{type_}/_search", self._query(type_), FORM)

    def _search_system(self) -> Request:
        query = f"_type={self._type()},{self._type()}&{self._query('Observation')}"
        return self._rng.choice((self._get(f"?{query}"), Request("POST", "_search", query, FORM)))

    def _search_compartment(self) -> Request:
        type_ = self._type()
        root = self._one(f"Patient/{self._who()}", self._reference("Encounter"), "Practitioner/dr-lee")
        path, query = f"{root}/{self._one('*', type_)}", self._query(type_)
        return self._rng.choice((self._get(f"{path}?{query}"), Request("POST", f"{path}/_search", query, FORM)))

    def _read(self) -> Request:
        headers = self._rng.choice((
            {"If-None-Match": 'W/"1"'}, {"If-None-Match": "*"}, {"If-None-Match": 'W/"2"'},
            {"If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}, *_ACCEPTED,
        ))  # fmt: skip
        path = self._reference(self._type()) + self._one("", "", "?_summary=true", "?_elements=id", "?_format=xml")
        return Request("GET", path, headers=headers)

    def _vread(self) -> Request:
        return self._get(f"{self._reference(self._type())}/_history/{self._one('1', '2', '3')}")

    def _history(self) -> Request:
        return self._get(f"{self._reference(self._type())}/_history{self._one('', '?_count=1', '?_since=2000-01-01')}")

    def _history_many(self) -> Request:
        return self._get(self._one("", f"{self._type()}/") + "_history" + self._one("", "?_count=0", "?_count=3"))

    def _page(self) -> Request:
        return Request("GET", "Patient?_count=1", follows="next")

    def _others_page(self) -> Request:
        return Request("GET", "Patient?_count=1", follows="another's next")

    def _everything(self) -> Request:
        root = self._one(f"Patient/{self._who()}", self._reference("Encounter"))
        return self._get(
            f"{root}/$everything{self._one('', '?_count=2', '?_type=Observation,Patient', '?_since=2000')}"
        )

    def _meta(self) -> Request:
        return self._get(f"{self._reference(self._type())}{self._one('', '/_history/1')}/$meta")

    def _people(self) -> Request:
        path = self._one("$who-looked", "$accounting-of-disclosures")
        return self._get(f"Patient/{self._who()}/{path}")

    def _audit(self) -> Request:
        return self._get(
            self._one(f"AuditEvent?patient={self._who()}", "AuditEvent?_count=2", "AuditEvent?_summary=count")
        )

    def _explain(self) -> Request:
        asked = f"$access-explain?interaction=read&type=Patient&id={self._who()}&user=anna&client=patient-portal"
        return self._get(self._one(asked, f"Observation/$explain?patient={self._who()}"))

    # Writing

    def _post(self, path: str, resource: Any, **headers: str) -> Request:
        return Request("POST", path, json.dumps(resource), FHIR_JSON | headers)

    def _parameters(self, path: str, **parts: Any) -> Request:
        parameter = [{"name": name, **value} for name, value in parts.items()]
        return self._post(path, {"resourceType": "Parameters", "parameter": parameter})

    def _resource(self, type_: str = "") -> dict[str, Any]:
        """Something about somebody, which may point at something of somebody else's."""
        type_, who, n = (
            type_ or self._one(*TYPES, *("Observation", "Encounter") * 3),
            self._who(),
            self._rng.randrange(MOST),
        )
        made = clinical(type_, n, who, self._id(type_) if self._rng.random() < 0.3 else "")
        if type_ == "Observation" and self._rng.random() < 0.4:
            made["encounter"] = {"reference": self._reference("Encounter")}
            made["hasMember"] = [{"reference": self._reference("Observation")}]
        return made

    def _create(self) -> Request:
        made = self._resource()
        prefer = self._one("return=minimal", "return=representation", "return=OperationOutcome")
        return self._post(made["resourceType"], made, Prefer=prefer)

    def _if_none_exist(self) -> Request:
        made = self._resource()
        condition = {"If-None-Exist": self._criterion(made["resourceType"])}
        return self._post(made["resourceType"], made, **condition)

    def _put(self) -> Request:
        made = self._resource()
        headers = self._rng.choice(({}, {"If-Match": 'W/"7"'}, {"If-Match": 'W/"1"'}, {"If-None-Match": "*"}))
        return Request("PUT", f"{made['resourceType']}/{made['id']}", json.dumps(made), FHIR_JSON | headers)

    def _put_conditional(self) -> Request:
        made = self._resource()
        made.pop("id")
        path = f"{made['resourceType']}?{self._criterion(made['resourceType'])}"
        return Request("PUT", path, json.dumps(made), FHIR_JSON)

    def _change(self, id_: str) -> tuple[str, dict[str, str]]:
        who = self._who()
        tests = ({"path": "/id", "value": id_}, {"path": "/subject/reference", "value": f"Patient/{who}"},
                 {"path": "/code/text", "value": f"{word(who)} 1"},
                 {"path": "/name/0/family", "value": word(who)})  # fmt: skip
        language = {"op": "add", "path": "/language", "value": self._one("en", "de")}
        as_json = [{"op": "test"} | self._rng.choice(tests), language]
        status = f"Observation.where(id='{id_}').status"
        replace = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": status},
                   {"name": "value", "valueCode": "amended"}]  # fmt: skip
        as_path = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": replace}]}
        return self._rng.choice((
            (json.dumps(as_json), {"Content-Type": "application/json-patch+json"}),
            (json.dumps(as_json), {"Content-Type": "application/json-patch+json", "If-Match": 'W/"1"'}),
            (json.dumps({"language": "en"}), {"Content-Type": "application/merge-patch+json"}),
            (json.dumps(as_path), FHIR_JSON),
        ))  # fmt: skip

    def _patch(self) -> Request:
        type_ = self._type()
        id_ = self._id(type_)
        return Request("PATCH", f"{type_}/{id_}", *self._change(id_))

    def _patch_conditional(self) -> Request:
        type_ = self._type()
        return Request("PATCH", f"{type_}?{self._criterion(type_)}", *self._change(self._id(type_)))

    def _delete(self) -> Request:
        type_ = self._type()
        return Request("DELETE", self._one(self._reference(type_), f"{type_}?{self._criterion(type_)}"))

    def _meta_change(self) -> Request:
        tag = {"valueMeta": {"tag": [{"system": "http://clinic.example", "code": "t"}]}}
        return self._parameters(f"{self._reference(self._type())}/{self._one('$meta-add', '$meta-delete')}", meta=tag)

    def _validate(self) -> Request:
        made = self._resource()
        path = self._one(made["resourceType"], f"{made['resourceType']}/{made['id']}")
        mode = self._one("", "?mode=update", "?mode=delete", "?mode=create")
        return self._post(f"{path}/$validate{mode}", made)

    def _match(self) -> Request:
        who = self._who()
        person = {
            "resourceType": "Patient",
            "birthDate": "1990-05-06",
            "name": [{"family": word(who), "given": [f"given{who}"]}],
        }
        return self._parameters("Patient/$match", resource={"resource": person})

    def _find(self) -> Request:
        asked = f"start=2000-01-01&end=2100-01-01&practitioner=Practitioner/dr-lee&_count={self._one('1', '3')}"
        return self._get(f"Appointment/$find?{asked}{self._one('', f'&patient-reference=Patient/{self._who()}')}")

    def _propose(self) -> Request:
        """A proposal for somebody who may be known, or for somebody else's record."""
        who = self._who()
        person = {"resourceType": "Patient", "id": "p", "birthDate": "1990-05-06", "telecom": [{"value": "+49 1"}],
                  "name": [{"family": word(who), "given": [f"given{who}"]}]}  # fmt: skip
        actor = self._one("#p", "#p", f"Patient/{who}")
        made = {"resourceType": "Appointment", "status": "proposed", "contained": [person],
                "slot": [{"reference": f"Slot/slot-{self._rng.randrange(12)}"}],
                "participant": [{"actor": {"reference": actor}, "status": "accepted"}]}  # fmt: skip
        return self._post("Appointment", made)

    # Bundles

    def _entries(self) -> list[dict[str, Any]]:
        type_, other = self._type(), self._type()
        made = self._resource("Observation")
        by_search = self._resource("Observation") | {"subject": {"reference": f"Patient?name={word(self._who())}"}}
        return [
            {"request": {"method": "GET", "url": self._reference(type_)}},
            {"request": {"method": "GET", "url": f"{other}?{self._query(other)}"}},
            {"request": {"method": "GET", "url": f"Patient/{self._who()}/$everything"}},
            {"request": {"method": "DELETE", "url": self._reference(other)}},
            {"request": {"method": "PUT", "url": f"Observation/{made['id']}"}, "resource": made},
            {"request": {"method": "POST", "url": "Observation", "ifNoneExist": self._criterion("Observation")},
             "resource": made},
            {"request": {"method": "POST", "url": "Observation"}, "resource": by_search},
        ]  # fmt: skip

    def _bundle(self, type_: str) -> dict[str, Any]:
        entries = self._rng.sample(self._entries(), self._rng.randint(1, 3))
        return {"resourceType": "Bundle", "type": type_, "entry": entries}

    def _batch(self) -> Request:
        return self._post("", self._bundle("batch"))

    def _transaction(self) -> Request:
        return self._post("", self._bundle("transaction"))

    def _async(self) -> Request:
        return self._post("", self._bundle("batch"), Prefer="respond-async")

    def _others_job(self) -> Request:
        return Request("GET", "_async/nothing", follows="another's job")
