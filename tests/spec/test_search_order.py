"""The order of a search that asks for none: by the time that it asks for, else of creation (docs/decisions/0025)."""

from tests.harness import Harness


async def found(clinic: Harness, query: str) -> list[str]:
    """The ids over all pages of two."""
    ids, path = list[str](), f"{query}&_count=2"
    while path:
        page = (await clinic.get(path, "admin")).json()
        ids += [entry["resource"]["id"] for entry in page.get("entry", ())]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        path = following[0].partition("/demo/fhir/")[2] if following else ""
    return ids


async def test_slots_of_a_time_come_in_its_order(clinic: Harness) -> None:
    hours = {"late": 15, "early": 9, "noon": 12, "early-too": 9}
    day = "2027-02-01"
    for id_, hour in hours.items():
        times = {"start": f"{day}T{hour:02}:00:00Z", "end": f"{day}T{hour:02}:30:00Z"}
        await clinic.seed(clinic.slot(id_) | times)
    in_order = ["early", "early-too", "noon", "late"]
    assert await found(clinic, f"Slot?start=ge{day}&start=lt2027-02-02&status=free") == in_order
    assert await found(clinic, f"Slot?start=ge{day}T10:00:00Z") == ["noon", "late"]
    assert await found(clinic, f"Slot?start=ge{day}&_sort=-start") == ["late", "noon", "early", "early-too"]
    assert await found(clinic, "Slot?status=free") == list(hours)
