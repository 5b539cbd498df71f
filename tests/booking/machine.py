"""A clinic and everybody who comes to it, doing anything by any way of writing, alone or at once (Hypothesis).

What must hold after each step is worked out here from what is stored, with nothing of `fhir_server.booking` but its
table of states.
"""

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fhir_server.booking.states import OCCUPYING, STEPS
from fhir_server.fhir import json
from fhir_server.search.dates import interval
from fhir_server.search.plan import Query
from fhir_server.store.protocol import HistoryQuery, Stored, Unit
from tests.booking.acts import ACTS, BRINGS, CALLERS, CAPACITY, SLOTS, STATUSES, WAYS, Act, Acting, clinic_of
from tests.harness import MINUTE, STORES, make_harness

# A role is its practitioner.
IS_REALLY = {"PractitionerRole/role": "Practitioner/dr-lee"}
ONE_AT_A_TIME = ("Practitioner/", "Patient/", "Device/")
TABLE = {(before, step.after) for step in STEPS for before in step.before}
# What the server itself does by a rule that the audit names: a hold or an offer that becomes a proposal again.
BY_RULE = {("pending", "proposed")}

acts = st.builds(
    Act,
    st.sampled_from(sorted(ACTS)),
    st.integers(0, 30),
    st.sampled_from(SLOTS),
    st.sampled_from(STATUSES),
    st.sampled_from(CALLERS),
    st.sampled_from(WAYS),
)


class Books(RuleBasedStateMachine):
    """The books of a clinic agree, whatever people do."""

    kind = STORES[0]
    said: ClassVar[list[str]] = []  # what did not hold, in the order in which it was seen

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.harness = self.do(make_harness(self.kind, Path(self.folder.name), proposals_per_hour=0))
        self.do(clinic_of(self.harness))
        self.acting = Acting(self.harness)

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.harness.close())
        self.loop.close()
        self.folder.cleanup()

    def at_once(self, acts: Sequence[Act]) -> None:
        self.steps.append(f"at once: {acts}")

        async def all_of_them() -> None:
            await asyncio.gather(*map(self.acting.perform, acts))

        with self._told():
            self.do(all_of_them())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What does not hold is told with the steps that led to it: it need not happen again when they are repeated."""
        try:
            yield
        except AssertionError as error:
            self.said.append(str(error))
            error.add_note("\n".join(("after the steps:", *self.steps)))
            raise

    @rule(act=acts)
    def somebody_acts(self, act: Act) -> None:
        self.at_once([act])

    @rule(several=st.lists(acts, min_size=2, max_size=5))
    def several_act_at_once(self, several: list[Act]) -> None:
        self.at_once(several)

    @rule(several=st.integers(2, 6), slot=st.sampled_from(SLOTS), caller=st.sampled_from(("dr-lee", "sam")))
    def everybody_is_confirmed_at_once(self, several: int, slot: str, caller: str) -> None:
        self.at_once([Act("move", n, slot, "booked", caller, WAYS[n % len(WAYS)]) for n in range(several)])

    @rule(minutes=st.integers(1, 90))
    def time_goes_on(self, minutes: int) -> None:
        self.steps.append(f"{minutes} minutes later")
        self.harness.clock.advance(minutes * MINUTE)

    # What must hold

    @invariant()
    def the_books_agree(self) -> None:
        with self._told():
            self._books_agree()

    def _books_agree(self) -> None:
        state = self.do(self.harness.run(_look))
        booked = [each for each in state["Appointment"].values() if each["status"] in OCCUPYING]
        for id_, slot in state["Slot"].items():
            self._slot_agrees(id_, slot, [each for each in booked if f"Slot/{id_}" in _slots(each)], state["holds"])
        for actor in sorted({actor for each in booked for actor in _actors(each)}):
            _nothing_overlaps(actor, [each for each in booked if actor in _actors(each)])

    def _slot_agrees(self, id_: str, slot: dict[str, Any], takers: list[dict[str, Any]], holds: dict[str, Any]) -> None:
        overridden = any(_is_overridden(each) for each in takers)
        taken, now = len(takers), self.harness.clock.now
        held = sum(ends > now for holder, ends in holds.get(id_, ()))
        assert taken <= CAPACITY[id_] or overridden, f"Slot/{id_} is over its capacity"
        assert taken + held <= CAPACITY[id_] or overridden, f"Slot/{id_} is promised more often than it can be taken"
        if slot["status"] == "busy-unavailable":  # by hand: then only an override takes it
            assert not taken or overridden, f"Slot/{id_} was closed, and is taken"
        elif taken >= CAPACITY[id_]:
            assert slot["status"] == "busy", f"Slot/{id_} is full, and {slot['status']}"
        else:
            assert slot["status"] != "busy", f"Slot/{id_} is busy, and taken {taken} times"
            assert slot["status"] == "busy-tentative" or taken + held < CAPACITY[id_], f"Slot/{id_} is held, and free"

    @invariant()
    def each_change_is_audited_once_and_history_explains_the_present(self) -> None:
        with self._told():
            self._history_agrees()

    def _history_agrees(self) -> None:
        events = self.do(self.harness.events())
        changes = Counter(
            event.entity
            for event in events
            if event.outcome == "0" and event.action in "CUD" and "/_history/" in event.entity
        )
        versions = self.do(self.harness.run(_history))
        names = Counter(f"{stored.type}/{stored.id}/_history/{stored.version}" for stored in versions)
        differ = [*(changes - names), *(names - changes)]
        assert not differ, f"not every version has its one event: {differ}"
        rules = {event.entity: event.rule for event in events if event.outcome == "0"}
        current = self.do(self.harness.run(_look))["Appointment"]
        by_id: dict[str, list[Stored]] = {}
        for stored in reversed(versions):  # newest first in the store
            if stored.type == "Appointment":
                by_id.setdefault(stored.id, []).append(stored)
        for id_, history in by_id.items():
            _history_explains(id_, history, current.get(id_), rules)


def _history_explains(id_: str, history: list[Stored], current: dict[str, Any] | None, rules: dict[str, str]) -> None:
    """Versions from 1 on without a gap, each step one of the table, the last one what is there now."""
    assert [stored.version for stored in history] == list(range(1, len(history) + 1))
    before = None
    for stored in history:
        after = json.parse(stored.body)["status"] if stored.body is not None else None
        step = (before, after)
        by_rule = step in BY_RULE and rules.get(f"Appointment/{id_}/_history/{stored.version}")
        assert after is None or before == after or step in TABLE or by_rule, f"Appointment/{id_} went {step}"
        before = after
    newest = json.parse(history[-1].body) if history[-1].body is not None else None
    assert newest == current


def _nothing_overlaps(actor: str, theirs: list[dict[str, Any]]) -> None:
    """But one slot that brings them, within its capacity, for a provider; and a recorded override."""
    counted = [each for each in theirs if not _is_overridden(each)]
    for one, other in itertools.combinations(counted, 2):
        apart = _start(one) >= _end(other) or _start(other) >= _end(one)
        shared = any(BRINGS[slot.partition("/")[2]] == actor for slot in _slots(one) & _slots(other))
        assert apart or shared, f"{actor} is in two places"


async def _look(unit: Unit) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for type_ in ("Appointment", "Slot"):
        page = await unit.search(Query(type_, count=100_000))
        found[type_] = {stored.id: json.parse(stored.body or b"") for stored in page.matches}
    found["holds"] = {slot: json.parse(value) for slot, value in await unit.kept("hold")}
    return found


async def _history(unit: Unit) -> list[Stored]:
    return list((await unit.history(HistoryQuery(count=100_000))).matches)


def _actors(appointment: dict[str, Any]) -> set[str]:
    """Who takes part; those who come with its slots, whatever is said of them."""
    named = [p["actor"].get("reference", "") for p in appointment["participant"] if p["status"] != "declined"]
    named += [BRINGS[slot.partition("/")[2]] for slot in _slots(appointment)]
    return {IS_REALLY.get(actor, actor) for actor in named if IS_REALLY.get(actor, actor).startswith(ONE_AT_A_TIME)}


def _slots(appointment: dict[str, Any]) -> set[str]:
    return {slot["reference"] for slot in appointment.get("slot", ())}


def _start(appointment: dict[str, Any]) -> int:
    return interval(appointment["start"])[0]


def _end(appointment: dict[str, Any]) -> int:
    return interval(appointment["end"])[0]


def _is_overridden(appointment: dict[str, Any]) -> bool:
    return any(tag.get("code") == "override" for tag in appointment["meta"].get("tag", ()))
