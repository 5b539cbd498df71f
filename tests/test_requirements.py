"""The list of requirements, and the marks that name them."""

import pytest

from tests import requirements


def test_marks_name_requirements_that_there_are() -> None:
    assert set(requirements.named()) <= set(requirements.listed())


def test_the_list_has_each_once_and_in_form() -> None:
    ids = requirements.listed()
    assert len(ids) == len(set(ids)) > 50
    assert requirements.defined("".join(f"- {id_} x\n" for id_ in ids)) == set(ids)


def test_ranges_are_written_out() -> None:
    assert requirements.defined("- R-7.1 … R-7.3 Each\n- R-C.1 x\n not R-9.9") == {"R-7.1", "R-7.2", "R-7.3", "R-C.1"}


def test_what_no_test_names_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert requirements.main() == 0
    printed = capsys.readouterr().out.split()
    assert set(printed) == set(requirements.listed()) - set(requirements.named())
