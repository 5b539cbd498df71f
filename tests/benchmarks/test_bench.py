"""The benchmarks run and tell what they are to tell; how fast is not asked here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import grants, growth, transactions
from tests.benchmarks.run import FIGURES, KINDS, main


def test_the_benchmarks_run_and_write_their_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people and a JSON file, with every kind of load on both stores, and every figure."""
    out = tmp_path / "results.json"
    small = ["--seconds", "0.2", "--rounds", "1", "--connections", "4", "--slots", "2000"]
    assert main([*small, "--out", str(out)]) == 0
    made = json.loads(out.read_text())
    assert set(made["kinds"]) == set(KINDS)
    assert set(made["mongo"]["kinds"]) == set(KINDS)
    for kinds in (made["kinds"], made["mongo"]["kinds"]):
        assert all(found["per_second"] > 0 for found in kinds.values())
    assert set(made["figures"]) == {figure.name for figure in FIGURES}
    table = capsys.readouterr().out
    assert all(table.count(f"\n{kind} ") >= 2 for kind in KINDS)


async def test_a_token_and_its_grants_cost_at_most_sixty_microseconds(tmp_path: Path) -> None:
    """Of CPU time, once the token is known."""
    for caller, took in (await grants.measured(tmp_path, 1_000)).items():
        assert took < grants.MOST_IN_MICROSECONDS, caller


def test_transactions_are_taken_and_counted(tmp_path: Path) -> None:
    """Whole histories, over HTTP."""
    found = transactions.measure(tmp_path, seconds=0.3, rounds=1, connections=2)
    assert found["entries a second"] > 0


def test_the_growth_of_searches_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each search; every one finds something at every size."""
    monkeypatch.setattr(growth, "RUNS", 3)
    monkeypatch.setattr(growth, "ROUNDS", 1)
    assert growth.main(["--sizes", "200,400"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n{name}" in told for name in growth.SEARCHES)
