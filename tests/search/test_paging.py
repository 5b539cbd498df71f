"""Pages while others write: what does not change is neither skipped nor repeated (FHIR R4 http.html#paging)."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import STORES, Harness, ids, link, make_harness, patient

SORTS = ("", "&_sort=family", "&_sort=-family", "&_sort=birthdate,-family", "&_sort=-birthdate", "&_sort=gender,-_id")
FAMILIES = ("a", "b", "c", None)
_people = st.lists(
    st.tuples(st.sampled_from(FAMILIES), st.sampled_from(("1980", "1990-05", None)), st.sampled_from(("male", None))),
    min_size=1,
    max_size=12,
)
# Before each page: (what is done, to whom, the new family name).
_changes = st.lists(
    st.lists(
        st.tuples(st.sampled_from(("add", "change", "delete")), st.integers(0, 11), st.sampled_from(FAMILIES)),
        max_size=3,
    ),
    max_size=8,
)


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[asyncio.AbstractEventLoop, Harness]]:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        harness = loop.run_until_complete(make_harness(request.param, Path(folder)))
        yield loop, harness
        loop.run_until_complete(harness.close())
    loop.close()


_worlds = iter(range(10**9))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(_people, st.sampled_from(SORTS), st.integers(1, 4), _changes)
def test_pages_neither_skip_nor_repeat_what_stays_the_same(
    server: tuple[asyncio.AbstractEventLoop, Harness],
    people: list[tuple[Any, Any, Any]],
    sort: str,
    count: int,
    changes: list[list[tuple[str, int, Any]]],
) -> None:
    loop, harness = server
    world = f"w{next(_worlds)}"

    def person(id_: str, family: Any, born: Any = None, gender: Any = None) -> dict[str, Any]:
        made = patient(id_, meta={"tag": [{"code": world}]}, name=[{"family": family}] if family else None,
                       birthDate=born, gender=gender)  # fmt: skip
        return {name: value for name, value in made.items() if value is not None}

    async def walk() -> None:
        there = [f"{world}-{n}" for n in range(len(people))]
        await harness.seed(*(person(id_, *each) for id_, each in zip(there, people, strict=True)))
        touched: set[str] = set()
        found: list[str] = []
        path = f"Patient?_tag={world}&_count={count}{sort}"
        for page in range(100):
            for n, (what, who, family) in enumerate(changes[page] if page < len(changes) else ()):
                id_ = f"{world}-{page}-{n}" if what == "add" else there[who % len(there)]
                touched.add(id_)
                if what == "delete":
                    await harness.delete(f"Patient/{id_}")
                else:
                    await harness.seed(person(id_, family))
            answer = await harness.get(path, "admin")
            found += ids(answer)
            following = link(answer, "next")
            if following is None:
                break
            path = following.removeprefix("/demo/fhir/")
        same = [id_ for id_ in there if id_ not in touched]
        seen = [id_ for id_ in found if id_ in same]
        assert sorted(seen) == sorted(same)
        in_order = ids(await harness.get(f"Patient?_tag={world}&_count=1000{sort}", "admin"))
        assert seen == [id_ for id_ in in_order if id_ in same]

    loop.run_until_complete(walk())
