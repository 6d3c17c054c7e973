"""No option of any defense takes a value of another type: text is no boolean, whatever it says."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from support.guarded import guarded_model
from support.scripted import Scripted
from support.siuo_folder import write_siuo

from vlmguard import solvers
from vlmguard.cli import main
from vlmguard.guard.cards import cards
from vlmguard.guard.defense import defense_named
from vlmguard.guard.errors import UserError, check_type
from vlmguard.guard.guard_models.formats import guard_format

DEFENSES = [name for name in cards().defenses if name in vars(solvers)]
OPTIONS = [
    (name, option.name, option.annotation)
    for name in DEFENSES
    for option in signature(defense_named(name)).parameters.values()
]
BOOLEANS = [(name, option) for name, option, kind in OPTIONS if kind is bool]
NUMBERS = [
    (name, option)
    for name, option, kind in OPTIONS
    if kind in (int, float, int | None, float | None)
]
MATRIX = """\
targets: [TARGET]
benchmarks: [{name: siuo, args: {data_dir: DATA}}]
defenses: [DEFENSE]
roles: {grader: mockllm/judge, critic: mockllm/critic}
"""


def test_there_are_such_options() -> None:
    assert ("eta", "trust_remote_code") in BOOLEANS
    assert ("vlmguard", "reasoning") in BOOLEANS
    assert ("jailguard", "tau") in NUMBERS


@pytest.mark.parametrize("value", ["flase", "false", "no", "true", 2, 0, None])
@pytest.mark.parametrize(("defense", "option"), BOOLEANS)
def test_a_boolean_is_true_or_false(defense: str, option: str, value: Any) -> None:
    with pytest.raises(UserError) as error:
        vars(solvers)[defense](**{option: value})
    assert f"-S {option}={value!r}: true or false is needed" in error.value.text
    with pytest.raises(UserError) as error:
        guarded_model(defense, Scripted("An answer."), **{option: value})
    assert f"-M {option}={value!r}: true or false is needed" in error.value.text


@pytest.mark.parametrize("value", ["1", "many", True])
@pytest.mark.parametrize(("defense", "option"), NUMBERS)
def test_a_number_is_no_text_and_no_boolean(defense: str, option: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"-S {option}={value!r}: a (whole )?number is needed"):
        vars(solvers)[defense](**{option: value})


@pytest.mark.parametrize(
    ("target", "defense", "said"),
    [
        ("mockllm/a", '{name: rethink, args: {split: "false"}}', "split='false'"),
        ("mockllm/a", "{name: rethink, args: {split: flase}}", "split='flase'"),
        ('{model: guarded/rethink/mockllm/a, model_args: {split: "no"}}', "none", "split='no'"),
    ],
)
def test_in_a_run_configuration(
    target: str, defense: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_siuo(tmp_path / "siuo", 2)
    config = tmp_path / "matrix.yaml"
    text = MATRIX.replace("TARGET", target).replace("DEFENSE", defense)
    config.write_text(text.replace("DATA", str(tmp_path / "siuo")))
    assert main(["run", "--config", str(config), "--dry-run"]) == 2
    assert f"{said}: true or false is needed" in " ".join(capsys.readouterr().err.split())


def test_of_a_format_of_guards() -> None:
    with pytest.raises(UserError, match="caption='no': true or false is needed without quotes"):
        guard_format("text_guard", {"caption": "no"})
    solvers.guard_model(adapter="text_guard", caption=False)
    with pytest.raises(UserError, match="caption='no'"):
        guarded_model("guard_model", Scripted("A"), adapter="text_guard", caption="no")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (False, bool),
        (3, float),
        (3, int | None),
        (None, int | None),
        (Path("a"), str | None),
        ({"adapter": "custom"}, str | dict[str, Any] | None),
        ("5", int | str | None),
        (["a"], list[str]),
    ],
)
def test_what_is_taken(value: object, kind: Any) -> None:
    check_type("-S it", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (2.5, int, "-S it=2.5: a whole number is needed."),
        (False, str | None, "-S it=False: a text is needed."),
        (1.5, int | bool, "-S it=1.5: a whole number or true or false is needed."),
    ],
)
def test_what_is_refused(value: object, kind: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        check_type("-S it", value, kind)
    assert error.value.text == said
