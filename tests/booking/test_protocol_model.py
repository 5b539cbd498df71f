"""The protocol of booking as a model, checked in every state it can reach: two slots, three users.

What each step may do is what `fhir_server.booking` does in one Unit: hold, propose, confirm, cancel, a hold that ends,
the sweep that shows it, and a crash, after which only what is stored is left (a user forgets what they hold).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

SLOTS, USERS = 2, 3
NONE, HELD, LAPSED, PROPOSED, BOOKED, CANCELLED = "-", "held", "lapsed", "proposed", "booked", "cancelled"
HOLDING = (HELD, LAPSED)


@dataclass(frozen=True, slots=True)
class State:
    """Of each user and slot the appointment's state; of each slot the status that is shown; who knows of their hold."""

    appointments: tuple[tuple[str, ...], ...]
    shown: tuple[str, ...]
    knows: tuple[bool, ...]


START = State(((NONE,) * SLOTS,) * USERS, ("free",) * SLOTS, (True,) * USERS)


def settled(state: State, slot: int) -> State:
    """The slot's status follows its appointments and the holds that have not ended."""
    there = [mine[slot] for mine in state.appointments]
    status = "busy" if BOOKED in there else "busy-tentative" if HELD in there else "free"
    return replace(state, shown=(*state.shown[:slot], status, *state.shown[slot + 1 :]))


def put(state: State, user: int, slot: int, status: str) -> State:
    mine = (*state.appointments[user][:slot], status, *state.appointments[user][slot + 1 :])
    return replace(state, appointments=(*state.appointments[:user], mine, *state.appointments[user + 1 :]))


def is_free(state: State, user: int, slot: int) -> bool:
    """Nobody has it booked, and no hold of another that has not ended; what a slot shows is not asked for a hold."""
    return all(mine[slot] not in (BOOKED, HELD) for n, mine in enumerate(state.appointments) if n != user)


def has_other(state: State, user: int, slot: int) -> bool:
    """Two slots are of one time: a patient is booked in one of them only."""
    return any(each == BOOKED for n, each in enumerate(state.appointments[user]) if n != slot)


def steps(state: State, *, checks: bool = True) -> Iterator[tuple[str, State]]:
    """Every step that can follow. `checks` False leaves out the check at the instant of confirmation."""
    for user in range(USERS):
        if state.knows[user]:
            knows = (*state.knows[:user], False, *state.knows[user + 1 :])
            yield f"crash {user}", replace(state, knows=knows)
        for slot in range(SLOTS):
            now = state.appointments[user][slot]
            free = is_free(state, user, slot) and state.shown[slot] != "busy"
            if now == NONE and free:
                yield f"hold {user} {slot}", settled(put(state, user, slot, HELD), slot)
                yield f"propose {user} {slot}", put(state, user, slot, PROPOSED)
            if now == HELD:
                yield f"lapse {user} {slot}", put(state, user, slot, LAPSED)
                if state.knows[user]:
                    yield f"submit {user} {slot}", settled(put(state, user, slot, PROPOSED), slot)
                    if not has_other(state, user, slot):
                        yield f"book held {user} {slot}", settled(put(state, user, slot, BOOKED), slot)
            if now == LAPSED:
                yield f"sweep {user} {slot}", settled(put(state, user, slot, CANCELLED), slot)
            if now == PROPOSED and (not checks or (free and not has_other(state, user, slot))):
                yield f"confirm {user} {slot}", settled(put(state, user, slot, BOOKED), slot)
            if now in (PROPOSED, BOOKED):
                yield f"cancel {user} {slot}", settled(put(state, user, slot, CANCELLED), slot)


def fault(state: State) -> str:
    """What is wrong with a state; '' when nothing is."""
    for slot in range(SLOTS):
        there = [mine[slot] for mine in state.appointments]
        if there.count(BOOKED) > 1:
            return f"slot {slot} is booked twice"
        if there.count(HELD) + there.count(BOOKED) > 1:
            return f"slot {slot} is held by one and had by another"
        if (state.shown[slot] == "busy") != (BOOKED in there):
            return f"slot {slot} shows {state.shown[slot]} and has {there}"
        if state.shown[slot] == "free" and HELD in there:
            return f"slot {slot} shows free under a hold"
    if any(mine.count(BOOKED) > 1 for mine in state.appointments):
        return "one person is in two places"
    return ""


def explore(*, checks: bool = True) -> tuple[int, str]:
    """How many states there are, and the first fault found."""
    seen, queue = {START}, deque([START])
    while queue:
        for step, following in steps(queue.popleft(), checks=checks):
            if following in seen:
                continue
            wrong = fault(following)
            if wrong:
                return len(seen), f"{wrong} after {step}"
            seen.add(following)
            queue.append(following)
    return len(seen), ""


@pytest.mark.requirement("R-10.6")
def test_no_state_of_the_protocol_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    states, wrong = explore()
    with capsys.disabled():
        print(f"\nbooking protocol: {states} states of {SLOTS} slots and {USERS} users")
    assert wrong == ""
    assert states > 10_000


def test_the_model_finds_a_seeded_fault() -> None:
    """Without the check at the instant of confirmation two pending requests for one slot are both confirmed."""
    assert explore(checks=False)[1] != ""
