import json
from dataclasses import asdict

import pytest

from vlmguard.cli import main
from vlmguard.guard.cards import Calls, DefenseCard, Role
from vlmguard.guard.cards.registry import _DEFENSES
from vlmguard.training.microworld.models.calibrate import THRESHOLDS, Threshold
from vlmguard.training.microworld.models.cards import WEIGHTS_FILE, weights_hash
from vlmguard.training.microworld.use.flags import models_of, runnable


def write_thresholds(folder):
    content = {}
    for name, value in (("detector", 0.4), ("reward", -1.5), ("clip", 0.2)):
        (folder / name).mkdir()
        (folder / name / WEIGHTS_FILE).write_text(name)
        threshold = Threshold(value, 0.05, 0.5, 10, weights_hash(folder / name))
        content[name] = asdict(threshold)
    (folder / THRESHOLDS).write_text(json.dumps(content))


def test_flags_name_models_and_thresholds(tmp_path, capsys):
    write_thresholds(tmp_path)

    assert main(["microworld", "flags", "eta", "--weights", str(tmp_path)]) == 0
    eta = capsys.readouterr().out.split()
    assert main(["microworld", "flags", "vlmguard/mllm_protector", "--weights", str(tmp_path)]) == 0
    protector = capsys.readouterr().out.split()

    assert set(eta) == {
        "-S", f"reward={tmp_path / 'reward'}", f"clip={tmp_path / 'clip'}",
        "post_threshold=-1.5", "pre_threshold=0.2",
    }  # fmt: skip
    assert set(protector) == {
        "-S", f"detector={tmp_path / 'detector'}", f"detoxifier={tmp_path / 'detoxifier'}",
        "threshold=0.4",
    }  # fmt: skip


def test_flags_survive_a_folder_with_a_space(tmp_path, capsys, monkeypatch):
    weights = tmp_path / "my models" / "weights"
    weights.mkdir(parents=True)
    write_thresholds(weights)

    # As in `inspect eval ... $(vlmguard microworld flags eta)`: split at spaces.
    assert main(["microworld", "flags", "eta", "--weights", str(weights)]) == 2
    said = capsys.readouterr().err
    assert f"-S 'reward={weights / 'reward'}'" in said

    monkeypatch.chdir(tmp_path / "my models")
    assert main(["microworld", "flags", "eta", "--weights", str(weights)]) == 0
    words = capsys.readouterr().out.split()
    assert "reward=weights/reward" in words
    assert set(words[::2]) == {"-S"}


def test_thresholds_of_other_weights_are_not_given_out(tmp_path, capsys):
    write_thresholds(tmp_path)
    (tmp_path / "clip" / WEIGHTS_FILE).write_text("built anew")

    assert main(["microworld", "flags", "eta", "--weights", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "set with other models" in said
    assert "vlmguard microworld build" in said


def test_every_defense_whose_texts_are_taught_runs():
    taught = ["vlmguard", "ecso", "eta", "figstep_defense", "mllm_protector"]
    assert runnable() == taught


def test_a_defense_is_run_where_its_texts_were_taught_and_its_roles_have_models(monkeypatch):
    known = runnable()
    taught = {"judge": "Is this harmful?"}
    for name, more in (
        ("asks_nobody", {"taught": taught}),
        ("was_not_taught", {}),
        ("has_no_model", {"taught": taught, "roles": (Role("guard", Calls(1, 1)),)}),
    ):
        card = DefenseCard(name, name, "1-A", "", "", Calls(1, 1), **more)
        monkeypatch.setitem(_DEFENSES, name, card)
    assert runnable() == [*known[:1], "asks_nobody", *known[1:]]
    assert models_of("vlmguard/eta") == ["reward", "clip"]
    assert models_of("vlmguard") == ["rewriter"]
    assert models_of("always_refuse") == []


def test_flags_are_empty_for_a_defense_without_auxiliary_models(capsys):
    assert main(["microworld", "flags", "ecso"]) == 0
    assert capsys.readouterr().out == "\n"


def test_flags_of_no_defense_name_those_there_are(capsys):
    assert main(["microworld", "flags", "vlmguard/etta"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "SOLVER=etta is not known. Did you mean eta? Choose one of: vlmguard, " in told.err


def test_flags_without_thresholds_say_how_to_get_them(tmp_path, capsys):
    assert main(["microworld", "flags", "eta", "--weights", str(tmp_path)]) == 2
    assert "vlmguard microworld build" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["build", "flags"])
def test_every_subcommand_has_help(command, capsys):
    with pytest.raises(SystemExit):
        main(["microworld", command, "--help"])
    assert "usage: vlmguard microworld" in capsys.readouterr().out
