"""What a request asks of the store: the calls of its Units, in order, and what it recorded beside them."""

from typing import Any

from fhir_server.store.protocol import Store, Unit, Work


class RecordingStore:
    """A store that notes the name of each call, and passes it on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(
        self, tenant: str, work: Work[Any], *, write: bool, quick: bool = False, may_lag: bool = False
    ) -> Any:
        self.calls.append(f"run write={write} quick={quick}")

        async def recorded(unit: Unit) -> Any:
            return await work(_RecordingUnit(unit, self.calls))  # type: ignore[arg-type]

        return await self._store.run(tenant, recorded, write=write, quick=quick, may_lag=may_lag)

    async def record(self, tenant: str, entries: Any) -> None:
        made = list(entries)
        self.calls.append(f"record {len(made)}")
        await self._store.record(tenant, made)


class _RecordingUnit:
    def __init__(self, unit: Unit, calls: list[str]) -> None:
        self._unit, self._calls = unit, calls

    def __getattr__(self, name: str) -> Any:
        self._calls.append(name)
        return getattr(self._unit, name)
