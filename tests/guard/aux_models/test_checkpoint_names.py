"""Checkpoints as users type them: a folder, a hub id, or a hub id at a revision."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.aux_models.base import Checkpoint, split_revision
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.checkpoint_key import weights_key

PART = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
HUB_ID = st.builds("{}/{}".format, PART, PART) | PART
REVISION = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9./@_-]{0,20}", fullmatch=True)


@given(HUB_ID, REVISION)
def test_a_hub_id_and_its_revision_are_told_apart(name: str, revision: str) -> None:
    if Path(name).is_dir():
        return  # a folder of this repository
    assert split_revision(f"{name}@{revision}") == (name, revision)
    assert split_revision(name) == (name, None)


@given(st.text(max_size=40))
def test_nothing_is_lost_or_invented(typed: str) -> None:
    try:
        name, revision = split_revision(typed)
    except UserError:
        return
    assert typed == (name if revision is None else f"{name}@{revision}")
    assert revision != ""


def test_a_folder_may_have_an_at_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lora@step 5").mkdir()
    (tmp_path / "lora").mkdir()
    monkeypatch.chdir(tmp_path)
    for typed in ("lora@step 5", "./lora@step 5", str(tmp_path / "lora@step 5")):
        assert Checkpoint.named(typed).source == str(tmp_path / "lora@step 5")
        assert Checkpoint.named(typed).revision is None
    assert weights_key("lora@step 5", {"device": "cpu"}).checkpoint == str(tmp_path / "lora@step 5")
    with pytest.raises(UserError, match="lora is a folder here, and only a hub id has a revision"):
        split_revision("lora@main")


@pytest.mark.parametrize("typed", ["@main", "org/model@"])
def test_half_of_a_name_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match="write HUB_ID@REVISION, or HUB_ID alone"):
        Checkpoint.named(typed)


@pytest.mark.parametrize("typed", ["./absent@main", "/data/absent@main", "a/b/c@main"])
def test_a_folder_that_is_not_there_is_no_hub_id(typed: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        _ = Checkpoint.named(typed).source


def test_a_local_model_takes_its_revision_either_way() -> None:
    typed = weights_key("org/model@abc", {"device": "cpu"})
    assert (typed.checkpoint, typed.revision) == ("org/model", "abc")
    assert typed == weights_key("org/model", {"device": "cpu", "revision": "abc"})
    with pytest.raises(UserError, match="both name a revision"):
        weights_key("org/model@abc", {"device": "cpu", "revision": "abc"})
