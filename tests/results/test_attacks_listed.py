"""`vlmguard attack list`: every attack, with its options and how it is run."""

import json

import pytest

from vlmguard.cli import main
from vlmguard.guard.attacks import attack_cards
from vlmguard.results.attacks_listed import attacks_sheet, one_attack


def test_the_table_has_every_attack(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list"]) == 0

    said = capsys.readouterr().out
    blocks = said.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[1:]] == list(attack_cards())
    assert "`" not in said
    rows = {row[0].strip("`"): row for row in attacks_sheet().rows}
    assert rows["jood"][2] == "static, up to 11 tries in a loop"
    assert rows["jood"][5] == "`alpha`, `mix=blend|cutmix|resize_mix`, `font`"
    assert rows["si_attack"][2] == "search, up to 10 tries in a loop"
    assert rows["adaptive:R12"][3] == "harmless samples"
    assert "test_forged_tags.py" in rows["adaptive:R3"][7]


@pytest.mark.parametrize("name", attack_cards())
def test_all_about_one_tells_every_option_with_what_it_does(name: str) -> None:
    (row,) = one_attack(name).rows
    told = dict(zip(one_attack(name).header, row, strict=True))

    assert told["title"] == attack_cards()[name].title
    options = told["options (NAME:OPTION=VALUE)"].splitlines()
    assert options[-1] == "seed (default: 0): Seed of all that is random; every attack has it."
    # An option without a text in the docstring would end with its default.
    assert all("): " in option for option in options), options
    assert f"attack={name}" in told["run as"]


def test_an_attack_is_found_by_its_name_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list", "mml:mirror"]) == 0
    assert capsys.readouterr().out.startswith("mml\n")


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["attacks"]
    assert [each["name"] for each in told] == list(attack_cards())

    assert main(["attack", "list", "jood", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["attacks"]
    assert (one["kind"], one["tries"], one["draws"]) == ("static", 11, True)
    assert [each["name"] for each in one["options"]] == ["alpha", "mix", "font", "seed"]


def test_an_unknown_name_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list", "joud"]) == 2

    assert "joud: there is no such attack. Did you mean jood?" in capsys.readouterr().err
