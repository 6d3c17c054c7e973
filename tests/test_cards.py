"""Cards say what runs do: samples, questions to judges, calls, roles, measures and versions."""

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import reload
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import SampleScore, Score
from inspect_ai.util import registry_create
from support.benchmark_folders.every import EVERY
from support.defense_scripts import script_of
from support.documents import user_pages, user_text
from support.folders import write_mm_safetybench, write_vlguard
from support.scripted import Scripted, picture, run_solver, sample

import vlmguard.solvers
import vlmguard.tasks
from vlmguard.cli import main
from vlmguard.guard.cards import Card, Measure, View, as_metadata, cards, check_names
from vlmguard.guard.cards.registry import _BENCHMARKS, _DEFENSES
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.task_options import TaskOptions
from vlmguard.results.catalogue import (
    BENCHMARKS,
    DEFENSES,
    all_about,
    as_json,
    as_sheets,
    renewed,
    table_marker,
)
from vlmguard.results.logs.measures import common_measures, counts_help
from vlmguard.scorers.metrics import coverage, grades, vote
from vlmguard.tasks.any_set.cards import PRESETS

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("siuo", {}),
    ("siuo", {"judge": "official"}),
    ("siuo", {"track": "multiple_choice"}),
    ("siuo", {"legacy": True, "judge": "general"}),
    ("siuo", {"judge": "guard"}),
    ("msts", {"judge": "guard/llama_guard"}),
    ("jailbreakv", {"judge": {"adapter": "custom"}}),
    ("vlguard", {}),
    ("vlguard", {"subset": "safe_safe", "win_rate": True}),
    ("vlguard", {"subset": "safe_safe", "win_rate": True, "legacy": True}),
    ("vlguard", {"subset": "safe_unsafe", "judge": "none"}),
    ("mm_safetybench", {}),
    ("figstep", {"split": "tiny"}),
    ("figstep", {"split": "tiny", "judge": "official"}),
    ("holisafe", {}),
    ("holisafe", {"judge": "official"}),
    ("jailbreakv", {}),
    ("jailbreakv", {"split": "full", "dedupe": "figstep"}),
    ("mossbench", {}),
    ("mossbench", {"split": "both", "judge": "official", "legacy": True}),
    ("mossbench", {"split": "contrast", "judge": "none"}),
    ("vlsbench", {}),
    ("vlsbench", {"judge": "official", "max_tokens": 512}),
    ("mme", {}),
    ("mssbench", {}),
    ("mssbench", {"split": "embodied", "legacy": True, "judge": "official"}),
    ("mssbench", {"setting": "qc"}),
    ("mis", {}),
    ("mis", {"split": "real", "judge": "official"}),
    ("mmstar", {}),
    ("scienceqa", {"judge": "none"}),
    ("spa_vl", {}),
    ("spa_vl", {"subset": "help"}),
    ("spa_vl", {"subset": "help", "judge": "official"}),
    ("msts", {}),
    ("msts", {"lang": "german", "judge": "official"}),
    ("msts", {"variant": "text", "judge": "none"}),
    ("pope", {}),
    ("pope", {"strategy": "all", "rule": "strict", "judge": "none"}),
    *((name, {"judge": "official"}) for name in PRESETS),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    return {name: write(root / name) for name, (write, _) in EVERY.items()}


def run_task(task: Task, grader: Scripted) -> EvalLog:
    (log,) = inspect_eval(
        task,
        model=Scripted("An answer.").model,
        model_roles={"grader": grader.model},
        limit=1,
        display="none",
    )
    assert log.status == "success", log.error
    return log


@pytest.mark.parametrize(("name", "args"), RUNS)
def test_a_run_does_what_its_card_says(
    name: str,
    args: dict[str, Any],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    card, grader = cards().benchmarks[name], Scripted("No idea.")
    chosen = {**args, **card.chosen_by}
    task = registry_create(
        "task", f"vlmguard/{card.task or name}", data_dir=str(folders[name]), **chosen
    )
    log = run_task(task, grader)
    # Each judge is asked once more if its reply cannot be read; cards count questions.
    asked = {call.text for call in grader.calls}
    assert len(asked) == card.questions(args)
    assert log.eval.metadata is not None
    assert log.eval.metadata["benchmark"] == card.title
    assert log.eval.metadata["measures"] == as_metadata(card.measures)
    assert {*card.conditions} <= log.eval.metadata.keys()
    assert {*card.shown_elsewhere} <= log.eval.task_args.keys()
    headline = log.eval.headline_metric
    assert headline is not None
    # A headline may be a mean over categories, which is no key of a single score. Without judges of
    # its own a run is left with the measures that every task has.
    named = {headline.score, *card.measures} if headline.metric else {headline.score}
    # Or a view of that key.
    named |= {
        name
        for name, each in card.measures.items()
        if isinstance(each, View) and each.of == f"{headline.scorer}.{headline.score}"
    }
    general = ("judge", "guard_judge", "refusal")
    assert named & card.headline.keys() or headline.scorer in general


@pytest.mark.parametrize("name", list(cards().benchmarks))
def test_measures_have_a_direction_and_are_what_scorers_give(name: str) -> None:
    card = cards().benchmarks[name]
    common = {key: each for of in cards().measures.values() for key, each in of.items()}
    for key, measure in {**common, **card.measures}.items():
        assert measure.direction is not None, key
        # `vote` knows the key alone.
        if not isinstance(measure, View):
            assert measure.average == (key.rpartition(".")[2] in grades()), (
                f"{key} is averaged over answers on another card and not on this one, or the other "
                "way round: say the same on both, or give one of them another key."
            )
    assert {*card.headline} <= {*common, *card.measures}


@pytest.mark.parametrize("name", [n for n, card in cards().benchmarks.items() if card.variants])
def test_a_plan_counts_the_samples_that_data_are_checked_for(name: str) -> None:
    card = cards().benchmarks[name]
    assert card.size({}) in card.variants.values(), (
        f"{name}: without options its task has as many samples as one of CARD.variants, "
        "which `vlmguard data` compares with the files: let CARD.size say which."
    )


@pytest.mark.parametrize("name", [n for n, card in cards().benchmarks.items() if card.variants])
def test_tasks_take_the_options_of_every_task_in_their_order(name: str) -> None:
    card = cards().benchmarks[name]
    parameters = inspect.signature(getattr(vlmguard.tasks, card.task or name)).parameters
    common = {each.name: each.default for each in fields(TaskOptions)}
    taken = {key: each for key, each in parameters.items() if key in common}
    assert {key: each.default for key, each in taken.items()} == common
    assert list(taken) == list(common)
    hints = get_type_hints(TaskOptions)
    assert {key: each.annotation for key, each in taken.items()} == {k: hints[k] for k in common}
    own = parameters.keys() - common.keys()
    assert {*card.chosen_by} <= own
    assert {*card.notes} <= own
    assert {*card.shown_elsewhere} <= own


@pytest.mark.parametrize("name", [n for n, card in cards().benchmarks.items() if card.partner])
def test_a_partner_is_a_benchmark_with_the_arguments_that_choose_it(name: str) -> None:
    partner = cards().benchmarks[name].partner
    assert partner is not None
    card = cards().benchmarks[partner.benchmark]
    task = getattr(vlmguard.tasks, card.task or card.name)
    hints = get_type_hints(task)
    for option, value in partner.args.items():
        assert option in inspect.signature(task).parameters, f"{card.name} has no option {option}"
        literals = [each for each in (hints[option], *get_args(hints[option])) if get_args(each)]
        choices = {value for each in literals for value in get_args(each)}
        assert value in choices, f"{option}={value}: {choices}"


def defense_options(name: str) -> dict[str, Any]:
    """Arguments with which a defense runs on scripted models alone."""
    return {"decoding": "response"} if name == "eta" else {}


ANSWERS: dict[str, Callable[[Any], str]] = {
    "rewriter": lambda call: "<reasoning>fine</reasoning><prompt>How, with care?</prompt>",
    "detector": lambda call: "no",
    "reward": lambda call: "9",
    "image_safety": lambda call: "safe",
}


@pytest.mark.parametrize("name", list(cards().defenses))
def test_a_defense_does_what_its_card_says(name: str) -> None:
    card = cards().defenses[name]
    taken = inspect.signature(getattr(vlmguard.solvers, name)).parameters
    assert {*card.options, *card.notes} <= taken.keys()
    target = Scripted("An answer.", provider=script_of(name).provider)
    roles = {role.name: Scripted(ANSWERS.get(role.name, "no")) for role in card.roles}
    made = getattr(vlmguard.solvers, name)(**defense_options(name))
    log = run_solver(made, sample("How?", picture()), target, roles=roles)
    assert log.status == "success", log.error
    assert log.samples is not None
    record = DefenseRecord.of(log.samples[0])
    assert (record.defense, record.version) == (card.name, card.version)
    counts = {"target": (card.target_calls, len(target.calls))}
    counts |= {role.name: (role.calls, len(roles[role.name].calls)) for role in card.roles}
    for role, (said, made_calls) in counts.items():
        most = made_calls if said.most is None else said.most
        assert said.least <= made_calls <= most, role


def runs_unbound(name: str) -> bool:
    """Whether a defense runs without a model in any role, under the options of its script."""
    card = cards().defenses[name]
    if any(role.needed or role.option for role in card.roles):
        return False
    return not card.lacks(script_of(name).options, (), "")


@pytest.mark.parametrize(
    ("name", "bound"),
    [(n, bound) for n in cards().defenses for bound in (True, False) if bound or runs_unbound(n)],
)
def test_a_card_counts_the_calls_for_a_target_without_an_answer(name: str, bound: bool) -> None:
    card, script = cards().defenses[name], script_of(name)
    filtered = ModelOutput.from_content("target", "", "content_filter")
    models = script.models("alarmed")
    target = models.pop("target")
    target = Scripted(
        lambda call: next(
            (voice.alarmed for words, voice in script.questions.items() if words in call.text),
            filtered,
        ),
        provider=script.provider,
    )
    roles = models if bound else {}
    made = getattr(vlmguard.solvers, name)(**script.options)
    log = run_solver(made, sample("How?", picture()), target, roles)
    assert log.status == "success", log.error
    said = card.calls(script.options, roles)
    for role in card.roles:
        number = len(roles[role.name].calls) if role.name in roles else 0
        assert role.calls.least <= number, role.name
        assert said.get(role.name, role.calls).least <= number, role.name
    assert card.target_calls.least <= len(target.calls)
    assert said.get("target", card.target_calls).least <= len(target.calls)


def test_the_readmes_tables_are_made_of_cards(repo: Path) -> None:
    for page in user_pages(repo):
        text = page.read_text()
        assert renewed(text, page.relative_to(repo)) == text, "run `make readme`"
    for kind in (BENCHMARKS, DEFENSES):
        assert user_text(repo).count(table_marker(kind)) == 1


def test_a_page_in_a_folder_links_from_there() -> None:
    made = renewed(f"{table_marker(BENCHMARKS)}\n<!-- end -->\n", Path("docs/all.md"))
    assert "| [`siuo`](../tasks/README.md#siuo) |" in made


def test_the_readme_marks_every_threshold_that_can_be_calibrated(repo: Path) -> None:
    text = user_text(repo)
    checks = {
        name: [check.option for check in card.checks]
        for name, card in cards().defenses.items()
        if name in vars(vlmguard.solvers)
    }
    assert checks["eta"] == ["post_threshold", "pre_threshold"]
    for name, options in checks.items():
        row = text.partition(f"\n| `{name}` |")[2].partition("\n")[0]
        assert row.count("(by vlmguard calibrate)") == len(options), name
        assert all(f"`{option}` (by vlmguard calibrate)" in row for option in options), name


def test_lists_tell_every_benchmark_and_defense() -> None:
    benchmarks, tasks, defenses, roles = as_sheets()
    assert [row[0] for row in tasks.rows] == ["`adashield_pool`", "`synthesize`"]
    assert "`rewriter`" in [row[0] for row in roles.rows]
    assert [row[0] for row in benchmarks.rows] == [f"`{name}`" for name in cards().benchmarks]
    assert [row[0] for row in defenses.rows] == [f"`{name}`" for name in cards().defenses]
    told = {row[0].strip("`"): row[1:] for row in benchmarks.rows}
    assert told["siuo"] == [
        *("167", "2 + 1", "`mossbench`", "CC BY-NC 4.0 …"),
        "safe and effective ↑, correct ↑ (of `multiple_choice`)",
    ]
    assert told["vlguard"][:4] == [
        "442 / 558",
        "1",
        "`subset=safe_safe`",
        "MIT by its hub page …, gated",
    ]
    assert told["microworld"][2] == "`slice=benign`"
    (found,) = [each for each in as_json("defenses")["defenses"] if each["name"] == "ecso"]
    assert found["target_calls"] == "1 to 4 (2 if not triggered), 1 more a further image"
    assert found["images"]["caption"] == "each"
    shown = next(row for row in defenses.rows if "ecso" in row[0])[4]
    assert shown == "all: answer, harm check; each alone: caption; text alone: safe answer"
    (option,) = [each for each in found["options"] if each["name"] == "keep_image"]
    assert (option["choices"], option["default"], option["needed"]) == ([], False, False)
    assert option["about"].startswith("Show the image in step 4 too")


@pytest.mark.parametrize("name", [*cards().benchmarks, *cards().tasks, *cards().defenses])
def test_every_option_is_told_with_what_it_does(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", name, "--json"]) == 0
    (kind,) = [of for of in json.loads(capsys.readouterr().out).values() if of]
    assert main(["list", name]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for option in kind[0]["options"]:
        assert option["about"], option["name"]
        said = f"{'|'.join(option['choices'])}"
        assert f" {option['name']}{'=' if said else ''}{said} (" in shown


def test_roles_are_told_with_who_asks_them() -> None:
    known = {role["name"]: role for role in as_json("roles")["roles"]}
    assert next(iter(known)) == "grader"
    assert known["grader"]["tasks"]["siuo"] == "3"
    assert known["guard"]["tasks"].keys() == {"guard_eval"}
    assert known["reasoner"]["tasks"].keys() == {"synthesize"}
    assert known["detector"]["options"] == {"mllm_protector": "detector"}
    assert "guard_model" in known["rewriter"]["optional"]
    for card in cards().defenses.values():
        for role in card.roles:
            assert known[role.name]["defenses"][card.name] == str(role.calls)


@pytest.mark.parametrize("role", [role["name"] for role in as_json("roles")["roles"]])
def test_all_about_a_role(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", role]) == 0
    assert f"bind it: --model-role {role}=MODEL" in capsys.readouterr().out


def test_common_measures_are_what_their_scorers_registered() -> None:
    known = common_measures()
    assert list(known) == [
        *("safety", "helpful", "safe_and_helpful"),
        *("safety_worst", "unsafe_any", "first_unsafe"),
        *("dsr", "over_refusal", "refused_any", "dsr_with_prefix"),
        "guard_unsafe",
        *("changed_benign", "changed_risky", "edit_distance"),
        "leaked",
    ]
    assert [each.heading for each in known.values()] == [
        *("Safety 0-10 ↑", "Helpful % ↑", "Safe & helpful % ↑"),
        *("Safety 0-10, worst turn ↑", "Unsafe at any turn % ↓", "First unsafe turn ↑"),
        *("DSR %", "Over-refusal % ↓", "Refused at any turn %", "DSR with prefix %"),
        "Unsafe by guard % ↓",
        *("Harmless requests changed % ↓", "Risky requests changed %", "Edit distance %"),
        "Leaked % ↓",
    ]
    assert {name for name, each in known.items() if counts_help(each)} == {
        *("helpful", "safe_and_helpful", "over_refusal"),
    }


def test_what_rises_where_everything_is_refused_is_lost_help() -> None:
    # No rule finds an answer in a refusal.
    unread = {
        card.name: card.measures["unparsed"]
        for card in cards().benchmarks.values()
        if "unparsed" in card.measures
    }
    assert {"mme", "mmstar", "mssbench", "scienceqa"} <= unread.keys()
    assert all(each.help and each.lower_is_better for each in unread.values())


def test_a_measure_points_one_way() -> None:
    assert Measure(neutral=True).direction == 0
    assert Measure(lower_is_better=True).direction == -1
    assert Measure().direction is None
    with pytest.raises(ValueError, match="neutral"):
        Measure(neutral=True, lower_is_better=False)


def test_a_run_has_the_card_that_its_arguments_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    known = cards().benchmarks
    chosen = Card("pantry", "Pantry", task="siuo", chosen_by={"track": "pantry"})
    monkeypatch.setitem(_BENCHMARKS, "pantry", chosen)
    assert cards().benchmark("siuo", {"track": "pantry", "samples": 3}) is chosen
    assert cards().benchmark("siuo", {}) is known["siuo"]
    assert cards().benchmark("kitchen", {"track": "pantry"}) is None


@pytest.mark.parametrize(
    ("name", "args", "size"),
    [
        ("mm_safetybench", {"split": "paper"}, 130),
        ("vlguard", {"n": 2}, 2),
        ("vlguard", {"n": 2, "subset": "safe_safe"}, 2),
        ("pope", {"n": 3, "strategy": "all"}, 3),
        ("mme", {"n": 4}, 4),
        ("mmstar", {"n": 3}, 3),
        ("scienceqa", {"n": 3}, 3),
    ],
)
def test_a_drawing_has_the_size_that_its_card_says(
    name: str, args: dict[str, Any], size: int, tmp_path: Path
) -> None:
    larger: dict[str, Callable[[Path], Path]] = {
        "mm_safetybench": lambda root: write_mm_safetybench(root, 10, ("SD_TYPO",)),
        "vlguard": write_vlguard,
    }
    data = larger.get(name, EVERY[name][0])(tmp_path)
    task = registry_create("task", f"vlmguard/{name}", data_dir=str(data), judge="none", **args)
    assert len(task.dataset) == cards().benchmarks[name].size(args) == size


def test_a_narrow_list_breaks_no_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # The choices of an option are one word, which stays whole on a line of its own.
    assert all(len(line) <= 60 or " " not in line.strip() for line in lines)
    for name, card in cards().benchmarks.items():
        at = lines.index(name)
        assert not card.variants or lines[at + 1].startswith("  samples: ")
    for name in (*cards().tasks, *cards().defenses):
        assert lines[lines.index(name) + 1].startswith("  what it does: ")
    assert lines[lines.index("grader") + 1].startswith("  calls a sample, by who asks it: ")
    assert main(["list", "mm_safetybench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("split=full|tiny|paper" in line for line in lines)


@pytest.mark.parametrize("name", [*cards().benchmarks, *cards().defenses])
def test_all_about_one_of_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", name]) == 0
    first, title, *_ = capsys.readouterr().out.splitlines()
    card = cards().benchmarks.get(name) or cards().defenses[name]
    assert (first, title.strip()) == (name, f"title: {card.title}")


def test_all_about_one_has_options_license_and_calls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "siuo"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for told in (
        "options (-T name=value): track=generation|multiple_choice (default: generation): ",
        "samples (default: 1; 3: the authors' vote): Answers per question",
        "temperature (not set): Temperature of the answers",
        "judge calls a sample: 2 + 1; 0 with track=multiple_choice",
        "partner: mossbench split=oversensitivity",
        "license: CC BY-NC 4.0, research only",
    ):
        assert told in said
    assert main(["list", "siuo", "--json"]) == 0
    told_all = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told_all["benchmarks"]] == ["siuo"]
    assert told_all["benchmarks"][0]["partner"]["name"] == "mossbench"
    assert main(["list", "souo"]) == 2
    assert "Did you mean siuo? `vlmguard list {benchmarks," in capsys.readouterr().err


def test_the_command_lists_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "defenses"]) == 0
    shown = capsys.readouterr().out
    assert "ecso" in shown
    assert "siuo" not in shown
    assert "`" not in shown
    assert main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["name"] for each in told["benchmarks"]} == set(cards().benchmarks)
    assert told["defenses"][0]["name"] == "vlmguard"


@pytest.mark.parametrize(
    ("package", "known", "right", "wrong"),
    [
        (vlmguard.solvers, _DEFENSES, "ecso", "ecos"),
        (vlmguard.tasks, _BENCHMARKS, "siuo", "souo"),
    ],
)
def test_a_card_with_another_name_than_its_function_is_named_with_it(
    package: ModuleType,
    known: dict[str, Any],
    right: str,
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(known, wrong, replace(known[right], name=wrong))
    # A card of somebody else's file alone is no fault.
    check_names(vars(package), {*known, "attack_loop", "dialogue"})
    monkeypatch.delitem(known, right)
    with pytest.raises(UserError, match=rf"{package.__name__}\.{right}.* {right}\. .*: {wrong}\."):
        reload(package)


def test_several_answers_are_averaged_where_a_card_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [Score(value={"care": 7.0, "safe": 1.0}), Score(value={"care": 4.0, "safe": 1.0})]
    # Besides grades, shares of classes of which a vote on each would leave none.
    shares = {"refuses", "warns", "safe_understood", "refused_by_judge", "safe_by_misperception"}
    views_of_shares = {"understood", "misperceived"}
    turns = {"safety_worst", "first_unsafe", "first_wrong"}
    assert grades() == {"safety", "win", "edit_distance", *turns, *shares, *views_of_shares}
    measures = {"kitchen_judge.care": Measure(max=10, average=True), "safe": Measure()}
    monkeypatch.setitem(_BENCHMARKS, "kitchen", Card("kitchen", "Kitchen", measures=measures))
    assert vote()(scores).value == {"care": 5.5, "safe": 1.0}
    bounds: Any = coverage(care=10.0)
    answers = [*scores, Score(value={"care": math.nan})]
    found = bounds([SampleScore(sample_id="s", score=each) for each in answers])
    # (7 + 4 + 0) / 3 and (7 + 4 + 10) / 3
    assert (found["care_low"], found["care_high"]) == (pytest.approx(11 / 3), 7.0)


def test_formats_of_guards_are_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "formats"]) == 0
    assert "llama_guard\n" in capsys.readouterr().out
    assert main(["list", "qwen3guard"]) == 0
    told = capsys.readouterr().out
    assert "options: controversial" in told
    assert "Apache-2.0" in told
    with pytest.raises(UserError, match="Did you mean llama_guard"):
        all_about("lama_guard")
