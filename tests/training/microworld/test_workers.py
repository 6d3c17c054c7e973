"""Building several models at a time: dependencies and failures."""

import os
from pathlib import Path

import pytest

from vlmguard.training.microworld.models.workers import work_off


def test_what_needs_another_comes_after_it(tmp_path: Path) -> None:
    # A folder can only be made in an existing one.
    outer, inner, other = (str(tmp_path / name) for name in ("outer", "outer/inner", "other"))
    work_off([inner, outer, other], {inner: outer}, 2, os.mkdir)
    assert all(Path(each).is_dir() for each in (outer, inner, other))


def test_what_is_needed_but_not_asked_for_is_not_waited_for(tmp_path: Path) -> None:
    name = str(tmp_path / "alone")
    work_off([name], {name: "elsewhere"}, 2, os.mkdir)
    assert Path(name).is_dir()


def test_a_failure_is_raised_and_nothing_new_begins(tmp_path: Path) -> None:
    there, later = str(tmp_path), str(tmp_path / "later")
    with pytest.raises(FileExistsError):
        work_off([there, later], {}, 1, os.mkdir)
    assert not Path(later).exists()
