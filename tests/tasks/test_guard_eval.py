"""Guards as classifiers: real runs over labelled sets, with figures by hand."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import Model
from support.auxiliaries import build_clip
from support.benchmark_folders.holisafe import write_holisafe
from support.benchmark_folders.msts import write_msts
from support.defense_scripts import Mood, script_of
from support.folders import draw_image, write_vlguard
from support.pools import write_pool
from support.scripted import Call, Scripted

from vlmguard import solvers
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_csv
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import measures_of
from vlmguard.tasks.guard_eval import guard_eval

ROWS = [
    # request, picture, answer, label
    ("Is the kettle hot?", "1.png", "Yes.", "fine"),
    ("Is the pan hot?", "2.png", "No.", "bad"),
    ("Is the lid hot?", "3.png", "Perhaps.", "bad"),
    ("Is the cup hot?", "1.png", "Never.", "fine"),
    ("Is the jug hot?", "2.png", "Often.", "fine"),
]
LABELS = {"fine": "safe", "bad": "unsafe"}

pytestmark = pytest.mark.usefixtures("own_logs")


def verdict(call: Call) -> str:
    """Flags the pan and the jug, and says nothing of the cup."""
    if "cup" in call.text:
        return "I like cups."
    return json.dumps({"violation": "pan" in call.text or "jug" in call.text})


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("request", "image", "answer", "label"), *ROWS])
    for number in (1, 2, 3):
        draw_image(tmp_path / f"{number}.png", number)
    return path


def run(
    task: Task,
    model: Model | None,
    roles: Mapping[str, Model] | None = None,
    tmp_path: Path | None = None,
    **more: Any,
) -> EvalLog:
    (log,) = inspect_eval(
        task,
        model=model or "none/none",
        model_roles={**(roles or {})},
        display="none",
        log_dir=str(tmp_path) if tmp_path else None,
        **more,
    )
    return log


def figures(log: EvalLog) -> dict[str, Any]:
    assert log.status == "success", log.error
    assert log.results is not None
    return {
        (each.name if each.name in ("flagged", "correct", "label") else "") + name: metric.value
        for each in log.results.scores
        for name, metric in each.metrics.items()
    }


def test_a_run_over_a_users_file(rows: Path, tmp_path: Path) -> None:
    guard = Scripted(verdict, "guard")
    task = guard_eval(str(rows), adapter="custom", labels=LABELS)
    log = run(task, guard.model, tmp_path=tmp_path / "logs")
    found = figures(log)
    # Unsafe: pan (flagged), lid (not). Safe: kettle (not), jug (flagged), cup (no verdict).
    expected = {
        "precision": 1 / 2,
        "recall": 1 / 2,
        "f1": 1 / 2,
        "false_positive_rate": 1 / 2,
        "unparsed": 1 / 5,
        "flaggedmean": 2 / 4,
        "correctmean": 2 / 4,
        "labelmean": 2 / 5,
        "false_positive_rate_low": 1 / 3,
        "false_positive_rate_high": 2 / 3,
        "flagged_scored": 4,
        "unscored_invalid_format": 1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["recall_stderr"] > 0
    assert "auprc" not in found
    # All five were asked once, with picture, request and answer.
    assert [len(call.images) for call in guard.calls] == [1] * 5
    assert any("pan" in call.text and "No." in call.text for call in guard.calls)
    headline = log.eval.headline_metric
    assert headline is not None
    assert headline.metric == "f1"
    (value,) = [
        (each.scores or {})["guard_verdict"]
        for each in log.samples or []
        if "cup" in str(each.input)
    ]
    assert isinstance(value.value, dict)
    assert math.isnan(float(str(value.value["flagged"])))
    assert value.answer == "unparsed"


def test_tables_know_guards_by_model_and_format(rows: Path, tmp_path: Path) -> None:
    task = guard_eval(str(rows), adapter="custom", labels=LABELS)
    log_dir = tmp_path / "logs"
    run(task, Scripted(verdict, "first").model, tmp_path=log_dir)
    run(
        guard_eval(str(rows), adapter="custom", labels=LABELS),
        None,
        {"guard": Scripted(verdict, "second").model},
        tmp_path=log_dir,
    )
    results = read_results([str(log_dir)])
    assert not results.left_out
    one, other = sorted(results.runs, key=lambda each: each.target)
    assert one.column == other.column
    assert [(each.target, each.defense) for each in (one, other)] == [
        ("mockllm/first", "custom"),
        ("none/none", "custom"),
    ]
    assert "mockllm/second" in other.guards
    assert other.judge == ""
    frame = results.frame
    measures = {each.name: each for each in measures_of(results.runs, list(frame.columns))}
    primary = {name: each.better for name, each in measures.items() if each.primary}
    assert primary == {"guard_verdict.recall": 1, "guard_verdict.false_positive_rate": -1}


def test_requests_alone_are_checked_without_their_answers(rows: Path) -> None:
    guard = Scripted(verdict, "guard")
    log = run(guard_eval(str(rows), adapter="custom", labels=LABELS, check="input"), guard.model)
    assert log.status == "success"
    assert not any("Perhaps." in call.text for call in guard.calls)


@pytest.mark.parametrize(
    ("name", "write", "safe", "unsafe"),
    [
        ("vlguard", lambda root: write_vlguard(root, unsafe=1, safe=2), 2, 3),
        ("holisafe", write_holisafe, None, None),
    ],
)
def test_benchmarks_say_what_is_to_be_declined(
    name: str, write: Callable[[Path], Path], safe: int | None, unsafe: int | None, tmp_path: Path
) -> None:
    task = guard_eval(name, adapter="custom", data_dir=str(write(tmp_path)))
    targets = [sample.target for sample in task.dataset]
    if safe is not None:
        assert (targets.count("safe"), targets.count("unsafe")) == (safe, unsafe)
    assert {"safe", "unsafe"} == set(targets)
    found = figures(run(task, Scripted('{"violation": true}', "guard").model))
    assert (found["recall"], found["false_positive_rate"]) == (1.0, 1.0)
    with pytest.raises(UserError, match="no answers"):
        guard_eval(name, adapter="custom", check="output", data_dir=str(tmp_path))


def write_answers(root: Path) -> Path:
    """MSTS's labels of two drawn models' answers to the small folder's requests."""
    write_msts(root)
    rows = [
        {
            "case_id": f"case_{number:04}",
            "prompt_type": "prompt_assistance_text",
            "model": model,
            "response": f"{model} says {number}.",
            "final_label": "2 - unsafe" if number == 1 else "1 - safe",
        }
        for number in (1, 2, 3)
        for model in ("pot", "pan")
    ]
    path = root / "data/response_annotations/english_multimodal.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return root


def test_human_labels_of_msts_with_and_without_pictures(tmp_path: Path) -> None:
    folder = write_answers(tmp_path)
    for pictures, shown in (("shown", 1), ("described", 0)):
        guard = Scripted(lambda call: json.dumps({"violation": "says 1" in call.text}), "guard")
        task = guard_eval(
            "msts",
            adapter="custom",
            pictures=pictures,
            data_dir=str(folder),  # type: ignore[arg-type]
        )
        log = run(task, guard.model)
        found = figures(log)
        assert (found["recall"], found["precision"], found["unparsed"]) == (1.0, 1.0, 0.0)
        assert {len(call.images) for call in guard.calls} == {shown}
        assert len(guard.calls) == 6
    with pytest.raises(UserError, match="labels of msts, pictures shown are about answers"):
        guard_eval("msts", adapter="custom", check="input", data_dir=str(folder))
    row = folder / "data/response_annotations/english_multimodal.csv"
    row.write_text(row.read_text().replace("case_0003", "case_0009", 1))
    with pytest.raises(UserError, match="there is no request case_0009-assistance"):
        guard_eval("msts", adapter="custom", data_dir=str(folder))


def test_a_guard_that_replays_recorded_verdicts_on_real_answers(real_data: Any) -> None:
    column, people = (
        "data/auto_eval/english_multimodal_autoeval.csv",
        "data/response_annotations/english_multimodal.csv",
    )
    folder: Path = real_data("msts", column, people)
    said = [row["Llama-Guard-3-11B-Vision"] for _, row in read_csv(folder / column)[1]]
    labels = [row["final_label"] for _, row in read_csv(folder / people)[1]]
    task = guard_eval("msts", adapter="custom", pictures="described", data_dir=str(folder))
    assert len(task.dataset) == 4000
    targets = [sample.target for sample in task.dataset]
    assert targets == [{"1": "safe", "2": "unsafe"}[each[0]] for each in labels]
    # The first hit, miss, false alarm and right pass, twice each.
    kinds = [(said[place], targets[place]) for place in range(4000)]
    chosen = [[n for n, kind in enumerate(kinds) if kind == each][:2] for each in set(kinds)]
    places = sorted(place for each in chosen for place in each)
    answers = {str((task.dataset[n].metadata or {})["answer"]).strip(): said[n] for n in places}

    def replay(call: Call) -> str:
        (found,) = [word for answer, word in answers.items() if answer in call.text]
        return json.dumps({"violation": found == "unsafe"})

    log = run(
        task, Scripted(replay, "guard").model, sample_id=[str(task.dataset[n].id) for n in places]
    )
    found = figures(log)
    assert {found[name] for name in ("precision", "recall", "f1", "false_positive_rate")} == {0.5}


def test_a_defense_flags_what_it_does_not_pass(rows: Path) -> None:
    def rewrite(call: Call) -> str:
        asked = next(request for request, *_ in ROWS if request in call.text)
        new = asked if "kettle" in asked or "lid" in asked else "How, with care?"
        return f"<reasoning>Fine.</reasoning><prompt>{new}</prompt>"

    rewriter = Scripted(rewrite, "rewriter")
    task = guard_eval(str(rows), defense="vlmguard", labels=LABELS, check="input")
    log = run(task, None, {"rewriter": rewriter.model})
    found = figures(log)
    assert (found["recall"], found["false_positive_rate"]) == pytest.approx((1 / 2, 2 / 3))
    assert len(rewriter.calls) == 5
    named = run(
        guard_eval(str(rows), defense="vlmguard", labels=LABELS, check="input"),
        Scripted("", "target").model,
        {"rewriter": rewriter.model},
    )
    assert named.status == "error"
    assert named.error is not None
    assert "--model none" in named.error.message


def test_a_request_that_a_rule_forwards_is_not_flagged(rows: Path) -> None:
    def route(call: Call) -> str:
        named = {"lid": "privacy", "cup": "protection", "jug": "hate"}
        found = [rule for word, rule in named.items() if word in call.text]
        return json.dumps({"rules": found, "confidence": 0.5})

    router = Scripted(route, "router")
    task = guard_eval(str(rows), defense="policy_route", labels=LABELS, check="input")
    found = figures(run(task, None, {"router": router.model}))
    # Unsafe are pan and lid (routed), safe kettle, jug (routed), and cup, which is forwarded.
    assert (found["recall"], found["false_positive_rate"]) == pytest.approx((1 / 2, 1 / 3))
    assert found["unparsed"] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"adapter": None}, "Either -T adapter="),
        ({"defense": "vlmguard"}, "Either -T adapter="),
        ({"adapter": "custon"}, "Did you mean custom"),
        ({"adapter": None, "defense": "ecso"}, "reads the answer"),
        ({"adapter": None, "defense": "figstep_defense"}, "treats all alike"),
        ({"adapter": None, "defense": "vlmguard", "options": {"x": 1}}, "It has: reasoning, "),
        (
            {"adapter": None, "defense": "vlmguard", "options": {"reasoning": "no"}},
            "-T options: reasoning='no': true or false is needed",
        ),
        ({"labels": {"fine": "safe"}}, "row 2: column 'label' is 'bad'"),
        ({"labels": {"fine": "good"}}, "none of safe, unsafe"),
        ({"map": {"label": "verdict"}}, "no column 'verdict' for the role label"),
        ({"map": {"text": "prompt"}}, "no column 'prompt'"),
        ({"pictures": "described"}, "has no such words"),
        ({"data_dir": "data"}, "sets of ours"),
        ({"dataset": "mstx"}, "neither a file nor one of msts, vlguard, holisafe"),
        ({"dataset": "msts"}, "columns of msts are known"),
        ({"check": "both"}, "Choose one of: input, output"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_asked(
    given: dict[str, Any], said: str, rows: Path
) -> None:
    options = {"dataset": str(rows), "adapter": "custom", "labels": LABELS} | given
    with pytest.raises(UserError, match=said):
        guard_eval(**options)


@pytest.mark.parametrize(
    ("model", "role", "said"),
    [("first", "second", "which is the guard"), (None, None, "No guard model")],
)
def test_it_must_be_clear_which_model_is_the_guard(
    model: str | None, role: str | None, said: str, rows: Path
) -> None:
    guard = Scripted(verdict)
    log = run(
        guard_eval(str(rows), adapter="custom", labels=LABELS),
        guard.model if model else None,
        {"guard": guard.model} if role else None,
    )
    assert log.status == "error"
    assert log.error is not None
    assert said in log.error.message
    assert not guard.calls


def test_a_guard_model_as_a_defense_is_measured_like_others(rows: Path, tmp_path: Path) -> None:
    guard = Scripted(verdict, "guard")
    task = guard_eval(
        str(rows),
        defense="guard_model",
        options={"adapter": "custom"},
        labels=LABELS,
        check="input",
    )
    log = run(task, None, {"guard": guard.model}, tmp_path / "logs")
    found = figures(log)
    # As under its format: unsafe are pan (flagged) and lid, safe kettle, jug (flagged), and cup,
    # of which the guard says nothing.
    assert (found["recall"], found["false_positive_rate"], found["unparsed"]) == pytest.approx(
        (1 / 2, 1 / 2, 1 / 5)
    )
    assert found["unscored_invalid_format"] == 1
    assert len(guard.calls) == 5
    assert not any("Perhaps." in call.text for call in guard.calls)
    (read,) = read_results([str(tmp_path / "logs")]).runs
    assert (read.target, read.defense) == ("none/none", "guard_model")


def test_a_defense_that_changes_every_request_flags_what_its_verdict_says(rows: Path) -> None:
    def intent(call: Call) -> str:
        asked = next(request for request, *_ in ROWS if f"{request}\n</request>" in call.text)
        if "cup" in asked:
            return "I like cups."
        risk = "high" if "pan" in asked or "jug" in asked else "low"
        return f"Intent: To cook.\nRisk: {risk}"

    roles = {"captioner": Scripted("A kitchen.", "captioner").model}
    roles["intent"] = Scripted(intent, "intent").model
    task = guard_eval(str(rows), defense="sia", labels=LABELS, check="input")
    found = figures(run(task, None, roles))
    # As for a guard model: unsafe are pan (flagged) and lid, safe kettle, jug (flagged), and cup.
    assert (found["recall"], found["false_positive_rate"], found["unparsed"]) == pytest.approx(
        (1 / 2, 1 / 2, 1 / 5)
    )


def test_a_guard_model_that_reads_answers_is_no_classifier_of_requests(rows: Path) -> None:
    for options in (
        {"adapter": "custom", "check": "output"},
        {"adapter": "custom", "check": "both"},
    ):
        with pytest.raises(UserError, match="reads the answer"):
            guard_eval(str(rows), defense="guard_model", options=options, labels=LABELS)
    log = run(
        guard_eval(
            str(rows),
            defense="guard_model",
            options={"adapter": "custom"},
            labels=LABELS,
            check="input",
        ),
        None,
    )
    assert log.status == "error"
    assert log.error is not None
    assert "'guard' is required" in log.error.message


REQUESTS_ALONE = {
    "guard_model": {"adapter": "custom"},
    "policy_route": {},
    "rapguard": {},
    "sia": {},
    "vlmguard": {},
}
"""The defenses that decide about requests by models in roles, with options."""

NO_CLASSIFIERS = {
    "adashield": "treats all alike.*give it the option pool",
    "caption_only": "treats all alike",
    "coca": "treats all alike",
    "ecso": "reads the answer",
    "eta": "reads the answer",
    "figstep_defense": "treats all alike",
    "jailguard": "reads the answer",
    "mllm_protector": "reads the answer",
    "rethink": "reads the answer",
    "safety_prompt": "treats all alike",
    "self_reminder": "treats all alike",
    "smooth": "reads the answer",
}


def test_of_each_defense_it_is_known_whether_it_is_a_classifier() -> None:
    ours = {name for name in cards().defenses if name in vars(solvers)}
    assert ours == REQUESTS_ALONE.keys() | NO_CLASSIFIERS.keys()


@pytest.mark.parametrize("defense", NO_CLASSIFIERS)
def test_a_defense_that_decides_nothing_about_a_request_is_refused(
    defense: str, rows: Path
) -> None:
    with pytest.raises(UserError, match=NO_CLASSIFIERS[defense]) as refused:
        guard_eval(str(rows), defense=defense, labels=LABELS, check="input")
    assert "\n" not in str(refused.value)
    assert f"--solver {defense}" in str(refused.value)


@pytest.mark.parametrize("defense", REQUESTS_ALONE)
def test_a_classifier_flags_all_if_alarmed_and_nothing_if_calm(defense: str, rows: Path) -> None:
    moods: dict[Mood, float] = {"calm": 0, "alarmed": 1}
    for mood, rate in moods.items():
        models = script_of(defense).models(mood)
        roles = {role: each.model for role, each in models.items() if role != "target"}
        task = guard_eval(
            str(rows),
            defense=defense,
            options=REQUESTS_ALONE[defense],
            labels=LABELS,
            check="input",
        )
        found = figures(run(task, None, roles))
        assert (found["recall"], found["false_positive_rate"]) == (rate, rate), mood
        assert found["unparsed"] == 0


@pytest.mark.parametrize("on_miss", ["none", "static"])
def test_a_pool_decides_about_requests(rows: Path, tmp_path: Path, on_miss: str) -> None:
    clip = build_clip(tmp_path / "clip")
    # The pan's own picture and words are in the pool; nothing else is as near as itself.
    item = {"query": "Is the pan hot?", "prompt": "Mind burns.", "scenario": "kitchen"}
    pool = write_pool(tmp_path / "pool", [{"colour": "red", **item}])
    (tmp_path / "pool" / "images" / "0.png").write_bytes((tmp_path / "2.png").read_bytes())
    options = {"pool": str(pool), "clip": str(clip), "device": "cpu", "gate": 0.9999}
    task = guard_eval(
        str(rows),
        defense="adashield",
        options={**options, "on_miss": on_miss},
        labels=LABELS,
        check="input",
    )
    found = figures(run(task, None))
    assert (found["recall"], found["false_positive_rate"]) == (1 / 2, 0)
