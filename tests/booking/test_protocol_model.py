"""The protocol of booking as a model, checked in every state it can reach: two slots of one time, three users.

Its steps are those of the table of states (`fhir_server.booking.states.STEPS`), each status by what it does to a slot:
it is there or not, open, takes the slot, or is over. On top come what one Unit of `$hold` and its end do: hold, submit
or book what is held, a hold that lapses, the sweep that shows it; and a crash, after which only what is stored is left
(a user forgets what they hold). A row that comes into the table comes into the model.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from fhir_server.booking.states import OCCUPYING, OPEN, PATIENTS, STAFF, STEPS, Step

SLOTS, USERS = 2, 3
NONE, HELD, LAPSED, WANTS, TAKES, OVER = "-", "held", "lapsed", "open", "takes", "over"
_IS_OF = {HELD: WANTS, LAPSED: WANTS}  # what is held is `pending`: open by the table

# Of each user: what they have of each slot, and whether they know of their hold.
User = tuple[str, str, bool]
# Who does it, from what, to what.
Move = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class State:
    """The users, in no order (they are alike), and the status that each slot shows."""

    users: tuple[User, ...]
    shown: tuple[str, ...]


START = State(((NONE, NONE, True),) * USERS, ("free",) * SLOTS)


def kind_of(status: str | None) -> str:
    """What a status does to its slot."""
    return NONE if status is None else WANTS if status in OPEN else TAKES if status in OCCUPYING else OVER


def moves_of(table: Sequence[Step]) -> frozenset[Move]:
    """What the table lets happen to a slot, and who does it: staff, patients, or machines that act for themselves."""
    return frozenset(
        (who, kind_of(before), kind_of(step.after))
        for step in table
        for before in step.before
        for who, is_one in (
            ("staff", bool(set(step.who) & set(STAFF))),
            ("a patient", bool(set(step.who) & set(PATIENTS))),
            ("a machine", not step.needs_human and bool(set(step.who) - set(PATIENTS))),
        )
        if is_one
    )


def settled(state: State, slot: int) -> State:
    """The slot's status follows its appointments and the holds that have not ended."""
    there = [user[slot] for user in state.users]
    status = "busy" if TAKES in there else "busy-tentative" if HELD in there else "free"
    return replace(state, shown=(*state.shown[:slot], status, *state.shown[slot + 1 :]))


def put(state: State, n: int, slot: int, what: str) -> State:
    user = (*state.users[n][:slot], what, *state.users[n][slot + 1 :])
    return replace(state, users=(*state.users[:n], user, *state.users[n + 1 :]))


def is_free(state: State, n: int, slot: int) -> bool:
    """Nobody else has it booked or under a hold that has not ended."""
    return all(user[slot] not in (TAKES, HELD) for m, user in enumerate(state.users) if m != n)


def may_take(state: State, n: int, slot: int) -> bool:
    """The check at the instant of confirmation: the slot is free, and the person not elsewhere at that time."""
    return is_free(state, n, slot) and all(state.users[n][other] != TAKES for other in range(SLOTS) if other != slot)


def steps(state: State, moves: frozenset[Move], *, checks: bool = True) -> Iterator[tuple[str, State]]:
    """Every step that can follow. `checks` False leaves out the check at the instant of confirmation."""
    for n, user in enumerate(state.users):
        if user[-1] and HELD in user:
            forgetful: User = (user[0], user[1], False)
            yield f"crash {n}", replace(state, users=(*state.users[:n], forgetful, *state.users[n + 1 :]))
        for slot in range(SLOTS):
            yield from _holding(state, n, slot, may_book=("staff", WANTS, TAKES) in moves)
            yield from _by_table(state, n, slot, moves, checks=checks)


def _holding(state: State, n: int, slot: int, *, may_book: bool) -> Iterator[tuple[str, State]]:
    now, knows = state.users[n][slot], state.users[n][-1]
    if now == NONE and is_free(state, n, slot):
        yield f"hold {n} {slot}", settled(put(state, n, slot, HELD), slot)
    if now == HELD:
        yield f"lapse {n} {slot}", put(state, n, slot, LAPSED)
        if knows:
            yield f"submit {n} {slot}", settled(put(state, n, slot, WANTS), slot)
            if may_book and may_take(state, n, slot):
                yield f"book held {n} {slot}", settled(put(state, n, slot, TAKES), slot)
    if now == LAPSED:
        yield f"sweep {n} {slot}", settled(put(state, n, slot, OVER), slot)


def _by_table(state: State, n: int, slot: int, moves: frozenset[Move], *, checks: bool) -> Iterator[tuple[str, State]]:
    now = state.users[n][slot]
    for who, before, after in moves:
        if before != _IS_OF.get(now, now) or before == after:
            continue
        if now in _IS_OF and after != OVER:
            continue  # what is held is its holder's: they may only give it up
        if after == WANTS and not is_free(state, n, slot):
            continue
        if after == TAKES and checks and not may_take(state, n, slot):
            continue
        yield f"{who} {after} {n} {slot}", settled(put(state, n, slot, after), slot)


def fault(step: str, state: State) -> str:
    """What is wrong with a state, or with who led to it; '' when nothing is."""
    if TAKES in step and not step.startswith(("staff", "book held")):
        return "a time is taken without the staff"
    for slot in range(SLOTS):
        there = [user[slot] for user in state.users]
        if there.count(TAKES) > 1:
            return f"slot {slot} is booked twice"
        if there.count(HELD) + there.count(TAKES) > 1:
            return f"slot {slot} is held by one and had by another"
        if (state.shown[slot] == "busy") != (TAKES in there):
            return f"slot {slot} shows {state.shown[slot]} and has {there}"
        if state.shown[slot] == "free" and HELD in there:
            return f"slot {slot} shows free under a hold"
    if any(user[:SLOTS].count(TAKES) > 1 for user in state.users):
        return "one person is in two places"
    return ""


def _plain(user: User) -> User:
    """Who holds nothing has nothing to forget."""
    return user if HELD in user else (user[0], user[1], True)


def explore(table: Sequence[Step] = STEPS, *, checks: bool = True) -> tuple[int, str]:
    """How many states there are, and the first fault found."""
    moves = moves_of(table)
    seen, queue = {START}, deque([START])
    while queue:
        for step, following in steps(queue.popleft(), moves, checks=checks):
            canonical = replace(following, users=tuple(sorted(map(_plain, following.users))))
            wrong = fault(step, canonical)
            if wrong:
                return len(seen), f"{wrong} after {step}"
            if canonical not in seen:
                seen.add(canonical)
                queue.append(canonical)
    return len(seen), ""


@pytest.mark.requirement("R-10.1", "R-10.6")
def test_no_state_of_the_protocol_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    states, wrong = explore()
    with capsys.disabled():
        print(f"\nbooking protocol: {states} states of {SLOTS} slots and {USERS} users, who are alike")
    assert wrong == ""
    assert states > 5_000


def test_the_model_finds_a_planted_fault() -> None:
    """Without the check at the instant of confirmation two pending requests for one slot are both confirmed."""
    assert explore(checks=False)[1] != ""


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (Step(("proposed",), "booked", PATIENTS), "a time is taken without the staff after a patient"),
        (Step(("cancelled",), "booked", ("service",), needs_human=False), "without the staff after a machine"),
    ],
)
def test_a_wrong_row_of_the_table_is_a_fault_of_the_model(row: Step, wrong: str) -> None:
    assert wrong in explore((*STEPS, row))[1]


def test_the_model_follows_the_table() -> None:
    """Every row is in it, and a row less or more changes what it can do."""
    moves = moves_of(STEPS)
    assert {("staff", NONE, WANTS), ("staff", WANTS, TAKES), ("staff", TAKES, OVER), ("a patient", TAKES, OVER),
            ("a machine", NONE, WANTS)} <= moves  # fmt: skip
    assert {(before, after) for _, before, after in moves if after == TAKES} == {
        (NONE, TAKES), (WANTS, TAKES), (TAKES, TAKES),
    }  # fmt: skip
    before, _ = explore()
    again = Step(("noshow",), "booked", STAFF)
    assert moves_of((*STEPS, again)) - moves == {("staff", OVER, TAKES)}
    assert explore((*STEPS, again))[1] == "", "what comes back is checked as anything else"
    without = [step for step in STEPS if step.after not in OCCUPYING]
    assert explore(without)[0] < before
