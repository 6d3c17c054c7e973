"""What options count as: files by their content, wherever they lie."""

from pathlib import Path

import pytest

from vlmguard.guard.guard_models.options import options_digest
from vlmguard.guard.option_content import files_digest


def test_a_file_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("a")
    other.write_text("a")
    nested = {"gate": {"adapter": "custom", "policy": str(one)}, "n": 3}
    same = files_digest(nested)
    assert len(same) == 12
    assert files_digest({"gate": {"adapter": "x", "policy": str(other)}}) == same
    assert files_digest({"gate": {"adapter": "custom", "prompt": str(one)}}) != same
    one.write_text("b")
    assert files_digest(nested) != same


def test_what_names_no_file_counts_as_nothing(tmp_path: Path) -> None:
    options = {"folder": str(tmp_path), "file": str(tmp_path / "absent"), "n": 3, "none": None}
    assert files_digest(options) == ""


@pytest.mark.parametrize("text", ["~nobody-here", "x" * 5000, "a\0b"])
def test_a_pattern_that_cannot_be_a_path_is_a_word(text: str) -> None:
    assert files_digest({"unsafe": text}) == ""
    assert options_digest({"unsafe": text}) != options_digest({"unsafe": "yes"})
