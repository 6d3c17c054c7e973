"""Ready suites: each has a plan without data, and each harm set in them its harmless partner."""

import re
from pathlib import Path

import pytest
import yaml
from PIL import Image
from support.benchmark_folders.mossbench import write_mossbench
from support.documents import the_block, user_text
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.attacks import attack_cards, chosen_attack
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.results.run.chosen import SUITES, from_flags, read_config_for, read_suite
from vlmguard.results.run.config import Defense, Step, roles
from vlmguard.results.run.making import with_defaults
from vlmguard.results.run.plan import plan

NAMES = sorted(path.stem for path in SUITES.glob("*.yaml"))
FLAGS = ["--target", "mockllm/model", "--role", "grader=mockllm/judge"]

NONE = Defense(name="none")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data, an empty hub cache, and no repository around."""
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.chdir(tmp_path)


def test_the_suites_that_the_manual_names_are_there() -> None:
    assert NAMES == ["core", "full", "over_refusal", "paper", "red_team", "utility_quick"]
    with pytest.raises(UserError, match=r"--suite cor: .* core, full, over_refusal"):
        read_suite("cor")


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_has_a_plan_without_data(name: str) -> None:
    suite = read_suite(name)
    steps = suite.benchmarks
    assert len({step.label or step.name for step in steps}) == len(steps)
    for step in steps:
        assert step.args.keys() <= with_defaults(Step(name=step.name)).keys(), step
    judged = ["grader=mockllm/judge"]
    lines = plan(from_flags(["mockllm/model"], steps, [], judged, suite.attacks))
    plain = [line for line in lines if line.attack == "none" and not line.twin]
    assert [line.benchmark for line in plain] == [step.label or step.name for step in steps]
    for step, line in zip(steps, plain, strict=True):
        card = cards().benchmark(step.name, step.args)
        assert card is not None, step
        assert line.missing == (), line
        # Of one preset nobody has stated how many samples it has.
        counted = None not in card.variants.values()
        assert (bool(line.samples), bool(line.tokens)) == (counted, counted), line
    assert not {line.benchmark for line in lines if line.partner_missing}


def test_tests_of_ability_alone_need_no_grader() -> None:
    lines = plan(from_flags(["mockllm/model"], read_suite("utility_quick").benchmarks, [], []))
    assert [line.missing for line in lines] == [()] * len(lines)
    assert {line.judge_calls for line in lines} == {0}


def test_answers_of_one_word_are_not_counted_as_long_ones() -> None:
    # 300 tokens a call are assumed; POPE and MME end an answer at 128, ScienceQA at 16.
    matrix = from_flags(
        ["mockllm/model"], read_suite("utility_quick").benchmarks, ["none", "vlmguard"], []
    )
    tokens = {(line.benchmark, line.defense): line.tokens for line in plan(matrix)}
    assert tokens["pope", "none"] == 500 * (1500 + 128)
    assert tokens["mme", "none"] == 2374 * (1500 + 128)
    assert tokens["scienceqa", "none"] == 500 * (1500 + 16)
    longer = matrix.model_copy(update={"options": {"max_tokens": 200}})
    assert plan(longer)[2].tokens == 500 * (1500 + 200)


def test_the_full_suite_leaves_no_benchmark_out() -> None:
    found = [cards().benchmark(step.name, step.args) for step in read_suite("full").benchmarks]
    # What draws its own data needs targets of its own.
    known = {name for name, card in cards().benchmarks.items() if card.variants}
    assert {card.name for card in found if card} == known


def test_what_a_newcomer_runs_first(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["run", "--suite", "core", *FLAGS, "--dry-run"])
    said = capsys.readouterr()
    # FigStep is on no hub: the plan says where to get it, and its counts stay.
    assert status == 2
    assert "figstep will not run" in said.err
    counts = dict(re.findall(r"^ *(\w+) +none +\S+ +([\d,]+) ", said.out, re.MULTILINE))
    assert counts == {
        "siuo": "167",
        "figstep": "50",
        "mossbench": "300",
        "mssbench": "1,200",
        "pope": "500",
    }
    assert "tokens read" in said.out
    assert "No harmless partner" not in said.out


def test_a_part_of_a_suite_under_a_defense(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*FLAGS, "--benchmark", "siuo", "--defense", "none", "--defense", "ecso"]
    assert main(["run", "--suite", "core", *flags, "--limit", "5", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"siuo +ecso +mockllm/model +5 +20 ", said)
    assert "figstep" not in said
    assert "No harmless partner for siuo" in said
    assert main(["run", "--suite", "core", *FLAGS, "--benchmark", "nothing"]) == 2
    assert "--benchmark nothing is not in the configuration" in capsys.readouterr().err


def test_a_configuration_lends_models_and_prices_to_a_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    price = {"input": 1.0, "output": 2.0, "input_tokens": 1000, "output_tokens": 500}
    config = {
        "targets": [{"model": "mockllm/model"}],
        "defenses": [{"name": "none"}],
        "prices": {"mockllm/model": price},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    flags = ["--config", "mine.yaml", "--suite", "utility_quick", "--benchmark", "pope"]
    assert main(["run", *flags, "--dry-run"]) in (0, 2)
    # 500 calls of 1,500 tokens for 0.002 each.
    assert re.search(
        r"pope +none +mockllm/model +500 +500 +0 +0 +0\.75 M +1\.00", capsys.readouterr().out
    )


def test_a_file_of_prices_goes_with_a_suite_and_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The example of the manual, with the commands below it.
    monkeypatch.setenv("OPENAI_API_KEY", "of-a-test")
    (tmp_path / "prices.yaml").write_text(the_block("yaml", "prices:"))
    (command,) = re.findall(r"^vlmguard (run .*--config prices.yaml.*)$", user_text(), re.MULTILINE)
    assert main(command.split()) == 2  # no data
    said = capsys.readouterr()
    assert "figstep will not run" in said.err
    cost = re.search(r"^ *all .* ([\d.]+) *$", said.out, re.MULTILINE)
    assert cost is not None, said.out
    assert float(cost[1]) > 0
    assert main(["run", "--suite", "core", "--config", "prices.yaml"]) == 2
    assert "name a --target, or targets: in" in capsys.readouterr().err


def test_flags_win_over_the_file_beside_a_suite(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "targets: [{model: mockllm/a, generate: {seed: 3}}, mockllm/b]\n"
        "roles: {grader: mockllm/old, rewriter: mockllm/rewriter}\n"
        "defenses: [none, {name: vlmguard, label: short, args: {reasoning: false}}]\n"
    )
    path = Path("mine.yaml")
    whole = read_config_for("core", path, [], [], [])
    assert [each.model for each in whole.targets] == ["mockllm/a", "mockllm/b"]
    assert [each.name for each in whole.defenses] == ["none", "vlmguard"]
    assert whole.log_dir == "logs/core"
    flags = (["mockllm/a", "mockllm/c"], ["short", "ecso"], ["grader=mockllm/new"])
    part = read_config_for("core", path, *flags)
    assert [(each.model, each.generate.seed) for each in part.targets] == [
        ("mockllm/a", 3),
        ("mockllm/c", None),
    ]
    assert [(each.name, each.args) for each in part.defenses] == [
        ("vlmguard", {"reasoning": False}),
        ("ecso", {}),
    ]
    bound = {role: [m.model for m in models] for role, models in roles(part, NONE).items()}
    assert bound == {"grader": ["mockllm/new"], "rewriter": ["mockllm/rewriter"]}


def test_every_attack_of_a_suite_exists() -> None:
    named = {each.name for name in NAMES for each in read_suite(name).attacks}
    assert named
    for each in named:
        chosen_attack(each)
    # What the adaptive attack success takes the worst of is among them.
    adaptive = {name for name, card in attack_cards().items() if card.adaptive}
    assert adaptive <= {each.split(":note")[0] for each in named}


def test_attacks_on_a_guard_are_planned_with_all_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_siuo(tmp_path / "data" / "siuo", 3)
    write_mossbench(tmp_path / "data" / "mossbench")
    for path in tmp_path.rglob("*.png"):
        # Room for what attacks write into a picture.
        Image.open(path).resize((160, 160)).save(path)
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path / "data"))
    flags = [*FLAGS, "--role", "rewriter=mockllm/rewriter", "--benchmark", "siuo"]
    flags += ["--defense", "none", "--defense", "vlmguard"]
    assert main(["run", "--suite", "red_team", *flags, "--dry-run"]) == 0
    said = capsys.readouterr().out
    planned = said.partition("Plan (calls at most)")[2]
    for attack in read_suite("red_team").attacks:
        if not attack.optional:
            # Three samples and four harmless ones, which no judge reads.
            assert re.search(rf"siuo +vlmguard +mockllm/model +{attack.name} +3 ", planned)
            assert re.search(
                rf"twin mossbench +vlmguard +mockllm/model +{attack.name} +4 +4 +8 +0 ", planned
            )
    assert re.search(r"siuo +vlmguard +mockllm/model +best_of_n +3 +3 to 60 +6 to 120 ", planned)
    assert "not run" not in planned
    assert "The attack crescendo is left out: no model for the role attacker" in planned
    flags += ["--role", "attacker=mockllm/a", "--attack", "crescendo"]
    assert main(["run", "--suite", "red_team", *flags, "--dry-run"]) == 0
    planned = capsys.readouterr().out.partition("Plan (calls at most)")[2]
    calls = r"3 to 30 +6 to 60 +18 to 99 +6 to 60 "
    assert re.search(rf"siuo +vlmguard +mockllm/model +crescendo +3 +{calls}", planned)
