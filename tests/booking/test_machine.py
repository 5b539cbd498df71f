"""Whatever people do in whatever order, the clinic's books agree (R-10.5 to R-10.7); `make soak` walks longer."""

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fhir_server.booking.states import OCCUPYING
from fhir_server.search.dates import interval
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    STORES,
    appointment,
    ids,
    make_harness,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

SLOTS = ("a", "b", "c", "g")  # a and b overlap, on two schedules of dr-lee; g takes two
CAPACITY = {"a": 1, "b": 1, "c": 1, "g": 2}
STATUSES = ("pending", "booked", "arrived", "checked-in", "fulfilled", "noshow", "cancelled", "entered-in-error",
            "proposed", "waitlist")  # fmt: skip
CALLERS = ("dr-lee", "sam", "anna", "ben", "website", "backend", "admin", "anonymous")


class Books(RuleBasedStateMachine):
    """One clinic and everybody who comes to it."""

    kind = STORES[0]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.harness = self.do(make_harness(self.kind, Path(self.folder.name)))
        at = self.harness.slot
        self.do(
            self.harness.seed(
                *map(practitioner, ("dr-lee", "dr-kim")),
                *map(patient, ("anna", "ben")),
                service("group", capacity=2),
                schedule("lee", "Practitioner/dr-lee"),
                schedule("lee-too", "Practitioner/dr-lee"),
                schedule("kim", "Practitioner/dr-kim"),
                schedule("group", "Practitioner/dr-kim", "HealthcareService/group"),
                at("a", 2 * DAY),
                at("b", 2 * DAY + 15 * MINUTE, schedule="lee-too"),
                at("c", 2 * DAY, schedule="kim"),
                at("g", 2 * DAY + HOUR, schedule="group"),
            )
        )
        self.made: list[str] = []
        self.changes = self.do(self.harness.versions())

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.harness.close())
        self.loop.close()
        self.folder.cleanup()

    def _answered(self, answer: Any) -> None:
        assert answer.status_code < 500, answer.text

    @rule(slot=st.sampled_from(SLOTS), caller=st.sampled_from(("anonymous", "website")))
    def propose(self, slot: str, caller: str) -> None:
        answer = self.do(self.harness.create(proposal(slot), caller))
        self._answered(answer)
        if answer.status_code == 201:
            self.made.append(answer.json()["id"])

    @rule(
        slots=st.lists(st.sampled_from(SLOTS), max_size=2),
        person=st.sampled_from(("anna", "ben")),
        caller=st.sampled_from(CALLERS),
        status=st.sampled_from(("proposed", "booked", "arrived")),
        start=st.integers(0, 6),
    )
    def make(self, slots: list[str], person: str, caller: str, status: str, start: int) -> None:
        begin = 2 * DAY + start * 15 * MINUTE
        times = {"start": self.harness.at(begin), "end": self.harness.at(begin + 30 * MINUTE)}
        made = appointment("", status, person, *slots, **times)
        del made["id"]
        made["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
        answer = self.do(self.harness.create(made, caller))
        self._answered(answer)
        if answer.status_code == 201:
            self.made.append(answer.json()["id"])

    @rule(n=st.integers(0, 9), status=st.sampled_from(STATUSES), caller=st.sampled_from(CALLERS), put=st.booleans())
    def move(self, n: int, status: str, caller: str, put: bool) -> None:
        if not self.made:
            return
        path = f"Appointment/{self.made[n % len(self.made)]}"
        if put:
            read = self.do(self.harness.get(path, "admin"))
            if read.status_code == 200:
                self._answered(self.do(self.harness.put(read.json() | {"status": status}, caller)))
        else:
            self._answered(self.do(self.harness.patch(path, to_status(status), caller)))

    @rule(n=st.integers(0, 9), slot=st.sampled_from(SLOTS))
    def rebook(self, n: int, slot: str) -> None:
        if self.made:
            change = [{"op": "add", "path": "/slot", "value": [{"reference": f"Slot/{slot}"}]}]
            self._answered(self.do(self.harness.patch(f"Appointment/{self.made[n % len(self.made)]}", change)))

    @rule(n=st.integers(0, 9))
    def everybody_at_once(self, n: int) -> None:
        async def all_of_them() -> Any:
            paths = [f"Appointment/{id_}" for id_ in self.made[n % 3 :: 2]]
            return await asyncio.gather(*(self.harness.patch(path, to_status("booked")) for path in paths))

        for answer in self.do(all_of_them()):
            self._answered(answer)

    @rule(slot=st.sampled_from(SLOTS), status=st.sampled_from(("free", "busy", "busy-unavailable")))
    def turn_slot(self, slot: str, status: str) -> None:
        self._answered(self.do(self.harness.patch(f"Slot/{slot}", to_status(status))))

    @rule(slot=st.sampled_from(SLOTS), n=st.integers(0, 9))
    def delete(self, slot: str, n: int) -> None:
        if self.made:
            self._answered(self.do(self.harness.delete(f"Appointment/{self.made[n % len(self.made)]}")))

    @rule(minutes=st.integers(1, 120))
    def wait(self, minutes: int) -> None:
        self.harness.clock.advance(minutes * MINUTE)

    @invariant()
    def the_books_agree(self) -> None:
        found = self.do(self.harness.get("Appointment?_count=1000", "admin"))
        ids(found)
        booked = [e["resource"] for e in found.json().get("entry", ()) if e["resource"]["status"] in OCCUPYING]
        for slot in SLOTS:
            taken = sum(f"Slot/{slot}" in {s["reference"] for s in each.get("slot", ())} for each in booked)
            assert taken <= CAPACITY[slot], "no slot over its capacity"
            status = self.do(self.harness.stored(f"Slot/{slot}"))["status"]
            if taken == CAPACITY[slot]:
                assert status == "busy", "a full slot is busy"
            elif taken:
                assert status == "free", "a slot that is taken in part is free"
        for actor in ("Practitioner/dr-lee", "Practitioner/dr-kim", "Patient/anna", "Patient/ben"):
            theirs = [each for each in booked if any(p["actor"].get("reference") == actor for p in each["participant"])]
            self._nothing_overlaps(actor, theirs)

    def _nothing_overlaps(self, actor: str, theirs: list[dict[str, Any]]) -> None:
        times = sorted(
            (interval(each["start"])[0], interval(each["end"])[0], sorted(s["reference"] for s in each.get("slot", ())))
            for each in theirs
        )
        for (_, end, slots), (start, _, others) in itertools.pairwise(times):
            shared = set(slots) & set(others) and not actor.startswith("Patient")
            assert start >= end or shared, f"{actor} is in two places"

    @invariant()
    def each_change_is_audited_once(self) -> None:
        events = self.do(self.harness.events())
        # A deletion of what is deleted already is audited too, and changes nothing.
        versions = [
            event.entity
            for event in events
            if event.outcome == "0" and event.action in "CUD" and "/_history/" in event.entity
        ]
        assert len(versions) == len(set(versions)) == self.do(self.harness.versions())

    @invariant()
    def history_explains_the_present(self) -> None:
        for id_ in self.made:
            history = self.do(self.harness.get(f"Appointment/{id_}/_history?_count=1000", "admin")).json()["entry"]
            numbers = [int(entry["response"]["etag"][3:-1]) for entry in history]
            assert numbers == list(range(len(numbers), 0, -1))
            now = self.do(self.harness.get(f"Appointment/{id_}", "admin"))
            newest = history[0].get("resource")
            assert (now.json() if now.status_code == 200 else None) == newest


def _run(kind: str, examples: int, steps: int) -> None:
    machine = type("BooksOf" + kind.title(), (Books,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.requirement("R-10.5", "R-10.6", "R-10.7", "R-8.2")
def test_the_books_agree_whatever_people_do(store_kind: str) -> None:
    _run(store_kind, examples=6, steps=15)


@pytest.mark.soak
def test_the_books_agree_for_long(store_kind: str) -> None:
    _run(store_kind, examples=300, steps=60)
