"""What a client asks for and is answered, and what the audit log must say of it: written down beside the server.

Every request has an id of its own (`X-Request-Id`), which its events carry. What is expected follows from the request
and its answer alone, by the rules of docs/audit.md, and from nothing that the server's code says.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.benchmarks.clinic import TENANT, observation, proposal
from tests.benchmarks.load import Reply, request

BASE_PATH = f"/{TENANT}/fhir"
PATIENTS = 40
Resource = dict[str, Any]


class Caller(NamedTuple):
    """Who asks: the names that the log has for them, and their token."""

    client: str
    user: str
    token: str = ""


class Line(NamedTuple):
    """What one AuditEvent says."""

    subtype: str
    action: str
    outcome: str
    client: str
    user: str
    entity: str = ""
    query: str = ""
    patients: tuple[str, ...] = ()


# What is known of an event before the answer: subtype, action, outcome, and the type of its entity.
Form = tuple[str, str, str, str]
Lines = list[Line]


def form(line: Line) -> Form:
    """What of a line is known before the answer."""
    return line.subtype, line.action, line.outcome, line.entity.partition("/")[0]


def read_line(event: Resource) -> tuple[str, Line]:
    """The request's id and the line of an AuditEvent."""
    entities = event.get("entity", [])
    by_role = {e["role"]["code"]: e for e in entities if "role" in e}
    patients = sorted(
        e["what"]["reference"].partition("/")[2] for e in entities if e.get("role", {}).get("code") == "1"
    )
    ids = [e["what"]["identifier"]["value"] for e in entities if e["type"]["code"] == "XrequestId"]
    users = [agent["who"]["reference"] for agent in event["agent"] if "reference" in agent["who"]]
    (client,) = [agent["who"]["identifier"]["value"] for agent in event["agent"] if "identifier" in agent["who"]]
    data = by_role.get("4", {}).get("what", {}).get("reference", "")
    query = by_role.get("24", {}).get("description", "")
    return (ids or [""])[0], Line(
        event["subtype"][0]["code"], event["action"], event["outcome"], client, (users or [""])[0], data, query,
        tuple(patients),
    )  # fmt: skip


@dataclass(slots=True)
class Ask:
    """A request, and what it means for the log.

    `status`: the answer that it must get. `lines`: its events, from the answer; asked for once all answers are in.
    `parts`: the forms of the events that can be there when no answer came, those of one part all or none.
    """

    id: str
    data: bytes
    status: int
    lines: Callable[[Reply], Lines]
    parts: tuple[tuple[Form, ...], ...]
    unavailable: Line
    then: Callable[[Reply], None] | None = None
    reply: Reply | None = None

    def __str__(self) -> str:
        return f"{self.id} {self.data.partition(b' HTTP')[0].decode()}"

    def expected(self) -> Counter[Line]:
        """The events of the answered request."""
        assert self.reply is not None
        return Counter([self.unavailable] if self.reply.status == 503 else self.lines(self.reply))

    def can_be(self, found: Counter[Line]) -> bool:
        """Whether these can be the events of the request, which was not answered: each part whole, or not there."""
        forms = Counter(form(line) for line in found.elements())
        chosen = itertools.product((False, True), repeat=len(self.parts))
        sums = (Counter(itertools.chain(*itertools.compress(self.parts, each))) for each in chosen)
        return any(each == forms for each in sums)


def version_of(resource: Mapping[str, Any]) -> str:
    """`Type/id/_history/version`."""
    return f"{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"


def observed(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Whom an Observation is about."""
    return (resource["subject"]["reference"].partition("/")[2],)


@dataclass
class Recorder:
    """One connection's client: it makes requests at random, on resources that nobody else touches.

    `names` makes ids of requests; `asks` has every request by its id; `people` whom an appointment is for, once read.
    """

    callers: Mapping[str, Caller]
    chance: random.Random
    names: Iterator[str]
    slots: Iterator[int]
    asks: dict[str, Ask]
    people: dict[str, str]
    refused_unknown: list[int]  # how many refusals of unknown callers may still come one by one
    notes: dict[str, Resource] = field(default_factory=dict)
    bookings: list[tuple[str, int, int]] = field(default_factory=list)  # appointment, slot, version

    def next(self) -> bytes:
        """The bytes of the next request."""
        kinds, weights = zip(*KINDS.items(), strict=True)
        ask = self.chance.choices(kinds, weights)[0](self)
        self.asks[ask.id] = ask
        return ask.data

    # The parts of a request

    def ask(
        self, caller: str, method: str, path: str, body: Any, status: int, lines: Callable[[Reply], Lines],
        *parts: tuple[Form, ...], row: tuple[str, str], then: Callable[[Reply], None] | None = None, **headers: str,
    ) -> Ask:  # fmt: skip
        """A request; `row` is the interaction and action that a refusal or failure is recorded as."""
        name, who = next(self.names), self.callers[caller]
        if who.token:
            headers.setdefault("authorization", f"Bearer {who.token}")
        data = request(method, f"{BASE_PATH}/{path}".rstrip("/"), body, x_request_id=name, **headers)
        return Ask(name, data, status, lines, parts, self.refusal(caller, method, path, row, "8"), then)

    def refusal(self, caller: str, method: str, path: str, row: tuple[str, str], outcome: str = "4") -> Line:
        """The line of a refused request."""
        who, parts = self.callers[caller], path.partition("?")[0].split("/")
        is_instance = len(parts) > 1 and parts[1][:1] not in "_$" and row[0] != "unknown"
        entity = "/".join(parts[:2]) if is_instance else ""
        patients = (parts[1],) if entity and parts[0] == "Patient" else ()
        return Line(*row, outcome, who.client, who.user, entity, "" if entity else f"{method} {path}", patients)

    def refused(self, caller: str, method: str, path: str, body: Any, status: int, *row: str, **headers: str) -> Ask:
        """A request that must be refused."""
        line = self.refusal(caller, method, path, (row[0], row[1]))
        return self.ask(caller, method, path, body, status, lambda _: [line], (form(line),), row=(row[0], row[1]),
                        **headers)  # fmt: skip

    def line(self, caller: str, subtype: str, action: str, **what: Any) -> Line:
        who = self.callers[caller]
        return Line(subtype, action, "0", who.client, who.user, **what)

    def changed(self, caller: str, subtype: str, action: str, resource: Resource) -> Line:
        return self.line(caller, subtype, action, entity=version_of(resource), patients=observed(resource))

    def made_by(self, entry: Resource, answer: Resource) -> Line:
        """The line of a note that a Bundle's entry made: the answer says where it is."""
        entity = answer["response"]["location"].partition(f"{BASE_PATH}/")[2]
        return self.line("staff", "create", "C", entity=entity, patients=observed(entry["resource"]))

    def note(self) -> Resource:
        """A new Observation about somebody."""
        made = observation(self.chance.randrange(400, 1200) / 10)
        return made | {"subject": {"reference": f"Patient/p{self.chance.randrange(PATIENTS)}"}}

    def keep(self, reply: Reply) -> None:
        resource = reply.json()
        self.notes[resource["id"]] = resource

    def taken(self) -> Resource | None:
        """One of the notes, which nobody else changes until an answer puts it back."""
        if not self.notes:
            return None
        return self.notes.pop(self.chance.choice(list(self.notes)))

    def keep_again(self, note: Resource) -> Callable[[Reply], None]:
        return lambda _: self.notes.update({note["id"]: note})


# Each kind of request. A kind that has nothing to work on yet makes something.


def create(self: Recorder) -> Ask:
    def lines(reply: Reply) -> Lines:
        return [self.changed("staff", "create", "C", reply.json())]

    part = (("create", "C", "0", "Observation"),)
    return self.ask("staff", "POST", "Observation", self.note(), 201, lines, part, row=("create", "C"), then=self.keep)


def update(self: Recorder) -> Ask:
    if (note := self.taken()) is None:
        return create(self)
    body = self.note() | {"id": note["id"]}

    def lines(reply: Reply) -> Lines:
        return [self.changed("staff", "update", "U", reply.json())]

    return self.ask("staff", "PUT", f"Observation/{note['id']}", body, 200, lines,
                    (("update", "U", "0", "Observation"),), row=("update", "U"), then=self.keep)  # fmt: skip


def tag(self: Recorder) -> Ask:
    """An operation that changes."""
    if (note := self.taken()) is None:
        return create(self)
    meta = {"tag": [{"system": "http://clinic.example", "code": f"t{self.chance.getrandbits(40)}"}]}
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}
    after = note | {"meta": {"versionId": str(int(note["meta"]["versionId"]) + 1)}}
    line = self.changed("staff", "update", "U", after)
    return self.ask("staff", "POST", f"Observation/{note['id']}/$meta-add", body, 200, lambda _: [line], (form(line),),
                    row=("operation", "U"), then=self.keep_again(after))  # fmt: skip


def read(self: Recorder) -> Ask:
    n = self.chance.randrange(PATIENTS)
    line = self.line("staff", "read", "R", entity=f"Patient/p{n}/_history/1", patients=(f"p{n}",))
    return self.ask("staff", "GET", f"Patient/p{n}", None, 200, lambda _: [line], (form(line),), row=("read", "R"))


def read_own(self: Recorder) -> Ask:
    line = self.line("p1", "read", "R", entity="Patient/p1/_history/1", patients=("p1",))
    return self.ask("p1", "GET", "Patient/p1", None, 200, lambda _: [line], (form(line),), row=("read", "R"))


def look_back(self: Recorder) -> Ask:
    """The versions of a note, or one of them."""
    if (note := self.taken()) is None:
        return create(self)
    path, version = f"Observation/{note['id']}", int(note["meta"]["versionId"])
    again = self.keep_again(note)
    if self.chance.random() < 0.5:
        line = self.changed("staff", "vread", "R", note)
        return self.ask("staff", "GET", f"{path}/_history/{version}", None, 200, lambda _: [line], (form(line),),
                        row=("vread", "R"), then=again)  # fmt: skip

    def lines(reply: Reply) -> Lines:
        shown = [entry["resource"] for entry in reply.json()["entry"]]
        who = tuple(sorted({patient for each in shown for patient in observed(each)}))
        entity = version_of(shown[0]) if len(shown) == 1 else path
        return [self.line("staff", "history-instance", "R", entity=entity, query=f"GET {path}/_history", patients=who)]

    return self.ask("staff", "GET", f"{path}/_history", None, 200, lines,
                    (("history-instance", "R", "0", "Observation"),), row=("history-instance", "R"),
                    then=again)  # fmt: skip


def search(self: Recorder) -> Ask:
    """Patients by name: some two, some one, some nobody."""
    path = f"Patient?family=Family%20{self.chance.randrange(PATIENTS + 10)}"

    def lines(reply: Reply) -> Lines:
        found = [entry["resource"]["id"] for entry in reply.json().get("entry", ())]
        return [
            self.line("staff", "search-type", "E", query=f"GET {path}", patients=(id_,) if id_ else ())
            for id_ in found or [""]
        ]

    # How many will be found is not known before the answer.
    return self.ask("staff", "GET", path, None, 200, lines, row=("search-type", "E"))


def search_log(self: Recorder) -> Ask:
    n = self.chance.randrange(PATIENTS)
    path = f"AuditEvent?patient=p{n}&_count=1"
    line = self.line("auditing", "search-type", "E", query=f"GET {path}", patients=(f"p{n}",))
    return self.ask("auditing", "GET", path, None, 200, lambda _: [line], (form(line),), row=("search-type", "E"))


def search_of_one(self: Recorder) -> Ask:
    """A search about one patient that shows nothing of them: it counts, or there is nothing in their compartment."""
    n = self.chance.randrange(PATIENTS)
    paths = {"search-type": f"Observation?subject=Patient/p{n}&_summary=count", "search": f"Patient/p{n}/Condition"}
    subtype, path = self.chance.choice(list(paths.items()))
    line = self.line("staff", subtype, "E", query=f"GET {path}", patients=(f"p{n}",))
    return self.ask("staff", "GET", path, None, 200, lambda _: [line], (form(line),), row=(subtype, "E"))


def everything(self: Recorder) -> Ask:
    n = self.chance.randrange(PATIENTS)
    path = f"Patient/p{n}/$everything?_type=Patient"
    line = self.line("staff", "operation", "R", entity=f"Patient/p{n}/_history/1", query=f"GET {path}",
                     patients=(f"p{n}",))  # fmt: skip
    return self.ask("staff", "GET", path, None, 200, lambda _: [line], (form(line),), row=("operation", "R"))


def find(self: Recorder) -> Ask:
    path = "Appointment/$find?start=2099-01-01T00:00:00Z&end=2099-01-02T00:00:00Z"
    line = self.line("staff", "create", "C", query=f"GET {path}")
    return self.ask("staff", "GET", path, None, 200, lambda _: [line], (form(line),), row=("create", "C"))


def propose(self: Recorder) -> Ask:
    slot = next(self.slots, None)
    if slot is None:
        return create(self)

    def lines(reply: Reply) -> Lines:
        id_ = reply.json()["id"]
        person = self.people[id_]
        whose = {"patients": (person,)}
        return [
            self.line("anonymous", "create", "C", entity=f"Patient/{person}/_history/1", **whose),
            self.line("anonymous", "create", "C", entity=f"Appointment/{id_}/_history/1", **whose),
        ]

    part = (("create", "C", "0", "Patient"), ("create", "C", "0", "Appointment"))
    return self.ask("anonymous", "POST", "Appointment", proposal(str(slot)), 201, lines, part, row=("create", "C"),
                    then=lambda reply: self.bookings.append((reply.json()["id"], slot, 1)))  # fmt: skip


def move(self: Recorder) -> Ask:
    """A booking is confirmed, or one that was confirmed is cancelled; the slot follows."""
    if not self.bookings:
        return propose(self)
    id_, slot, version = self.bookings.pop(0)
    status = "booked" if version == 1 else "cancelled"
    body: list[Resource] = [{"op": "replace", "path": "/status", "value": status}]
    if version == 2:
        body.append({"op": "add", "path": "/cancelationReason", "value": {"text": "not possible"}})
    after = version + 1

    def lines(_: Reply) -> Lines:
        whose = (self.people[id_],)
        return [
            self.line("lee", "patch", "U", entity=f"Appointment/{id_}/_history/{after}", patients=whose),
            self.line("lee", "update", "U", entity=f"Slot/{slot}/_history/{after}"),
        ]

    def then(_: Reply) -> None:
        if after == 2:
            self.bookings.append((id_, slot, after))

    part = (("patch", "U", "0", "Appointment"), ("update", "U", "0", "Slot"))
    return self.ask("lee", "PATCH", f"Appointment/{id_}", json.dumps(body).encode(), 200, lines, part,
                    row=("patch", "U"), then=then, content_type="application/json-patch+json")  # fmt: skip


def delete(self: Recorder) -> Ask:
    if (note := self.taken()) is None:
        return create(self)
    gone = note | {"meta": {"versionId": str(int(note["meta"]["versionId"]) + 1)}}
    line = self.changed("staff", "delete", "D", gone)
    return self.ask("staff", "DELETE", f"Observation/{note['id']}", None, 204, lambda _: [line], (form(line),),
                    row=("delete", "D"))  # fmt: skip


def transaction(self: Recorder) -> Ask:
    """Two creations and a reading; one in three asks for something that is not there, and nothing is done."""
    if self.chance.random() < 0.33:
        return transaction_refused(self)
    n = self.chance.randrange(PATIENTS)
    entries: list[Resource] = [
        {"resource": self.note(), "request": {"method": "POST", "url": "Observation"}} for _ in range(2)
    ]
    entries.append({"request": {"method": "GET", "url": f"Patient/p{n}"}})
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    def lines(reply: Reply) -> Lines:
        answers = reply.json()["entry"]
        made = [self.made_by(entry, answer) for entry, answer in zip(entries[:2], answers[:2], strict=True)]
        return [*made, self.line("staff", "read", "R", entity=f"Patient/p{n}/_history/1", patients=(f"p{n}",))]

    part = (("create", "C", "0", "Observation"),) * 2 + (("read", "R", "0", "Patient"),)
    return self.ask("staff", "POST", "", body, 200, lines, part, row=("transaction", "E"))


def transaction_refused(self: Recorder) -> Ask:
    """A creation, and an entry that is refused: nothing is done, and the log has that entry beside the whole."""
    caller, method, path, status, row = self.chance.choice(
        (
            ("staff", "GET", "Patient/none", 404, ("read", "R")),
            ("staff", "DELETE", "Observation/none", 404, ("delete", "D")),
            ("staff", "GET", "Observation?date=yesterday", 400, ("search-type", "E")),
            ("p1", "GET", "Patient/p2", 404, ("read", "R")),
            ("auditing", "GET", "Patient/p1", 403, ("read", "R")),
        )
    )  # fmt: skip
    entries: list[Resource] = [{"request": {"method": method, "url": path}}]
    if caller == "staff":
        entries.append({"resource": self.note(), "request": {"method": "POST", "url": "Observation"}})
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    lines = [self.refusal(caller, "POST", "", ("transaction", "E")), self.refusal(caller, method, path, row)]
    return self.ask(caller, "POST", "", body, status, lambda _: lines, *((form(line),) for line in lines),
                    row=("transaction", "E"))  # fmt: skip


def batch(self: Recorder) -> Ask:
    """Entries each for itself: one is refused, the others are done."""
    n = self.chance.randrange(PATIENTS)
    urls = (("GET", f"Patient/p{n}"), ("GET", "Patient/none"), ("POST", "Observation"))
    body: Resource = {"resourceType": "Bundle", "type": "batch"}
    body["entry"] = [{"request": {"method": method, "url": url}} for method, url in urls]
    body["entry"][2]["resource"] = self.note()
    lines = [self.line("staff", "read", "R", entity=f"Patient/p{n}/_history/1", patients=(f"p{n}",)),
             self.refusal("staff", "GET", "Patient/none", ("read", "R"))]  # fmt: skip

    def all_lines(reply: Reply) -> Lines:
        return [*lines, self.made_by(body["entry"][2], reply.json()["entry"][2])]

    parts = (*((form(line),) for line in lines), (("create", "C", "0", "Observation"),))
    return self.ask("staff", "POST", "", body, 200, all_lines, *parts, row=("batch", "E"))


def not_there(self: Recorder) -> Ask:
    return self.refused("staff", "GET", f"Observation/none-{self.chance.randrange(9)}", None, 404, "read", "R")


def not_theirs(self: Recorder) -> Ask:
    return self.refused("p1", "GET", "Patient/p2", None, 404, "read", "R")


def not_granted(self: Recorder) -> Ask:
    return self.refused("auditing", "GET", "Patient/p1", None, 403, "read", "R")


def not_sound(self: Recorder) -> Ask:
    return self.refused("staff", "POST", "Observation", {"resourceType": "Observation"}, 422, "create", "C")


def not_a_date(self: Recorder) -> Ask:
    return self.refused("staff", "GET", "Observation?date=yesterday", None, 400, "search-type", "E")


def stale(self: Recorder) -> Ask:
    if (note := self.taken()) is None:
        return create(self)
    body = self.note() | {"id": note["id"]}
    ask = self.refused("staff", "PUT", f"Observation/{note['id']}", body, 412, "update", "U", if_match='W/"999"')
    ask.then = self.keep_again(note)
    return ask


def change_the_log(self: Recorder) -> Ask:
    return self.refused("staff", "DELETE", "AuditEvent/c-1", None, 405, "unknown", "E")


def nobody(self: Recorder) -> Ask:
    """Somebody without a token, or with a wrong one."""
    if self.refused_unknown[0] <= 0:
        return not_theirs(self)
    self.refused_unknown[0] -= 1
    if self.chance.random() < 0.5:
        return self.refused("anonymous", "GET", "Patient/p1", None, 403, "read", "R")
    return self.refused("anonymous", "GET", "Patient/p1", None, 401, "read", "R", authorization="Bearer no.good.token")


KINDS: Mapping[Callable[[Recorder], Ask], int] = {
    create: 5, update: 5, tag: 2, delete: 2, read: 8, read_own: 3, look_back: 3, search: 5, search_of_one: 2,
    search_log: 1, everything: 2, find: 2, propose: 4, move: 5, transaction: 2, batch: 3, not_there: 2,
    not_theirs: 1, not_granted: 1, not_sound: 1, not_a_date: 1, stale: 2, change_the_log: 1, nobody: 2,
}  # fmt: skip
