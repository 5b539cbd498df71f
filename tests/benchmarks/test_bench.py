"""The benchmarks run and tell what they are to tell; how fast is not asked here."""

import json
from pathlib import Path

import pytest

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
