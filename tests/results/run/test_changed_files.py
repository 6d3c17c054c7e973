"""Files that change under the same name are noticed before a run continues, and in its logs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai import Task, eval_retry
from inspect_ai.log import (
    EvalLog,
    ProvenanceData,
    invalidate_samples,
    list_eval_logs,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.scorer import Score
from PIL import Image
from support.benchmark_folders.presets import write_preset
from support.counting_api import counting_api
from support.pools import write_pool
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.checks import check_one_version
from vlmguard.results.run.changed_files import changes, named_files
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.preflight import files_named_in

CALLS = counting_api("scripted_runs", '<prompt>And safely?</prompt> {"safety": 8, "helpful": true}')


CONFIG = """
log_dir: {root}/logs
targets: [{{model: scripted_runs/target, model_args: {{card: {root}/adapter}}}}]
roles: {{rewriter: {{model: scripted_runs/guard}}, grader: {{model: scripted_runs/judge}}}}
benchmarks:
  - {{name: siuo, args: {{data_dir: {root}/siuo, judge: general, judge_template: {root}/judge.txt,
      keywords: {root}/words.json}}}}
defenses: [{{name: vlmguard, args: {{template: {root}/prompt.txt}}}}]
options: {{display: none, retry_attempts: 1, retry_wait: 0}}
"""
PROMPT = "Rewrite.\n{conversation}\n{request}\n{format}"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_siuo(tmp_path / "siuo", 3)
    (tmp_path / "judge.txt").write_text("Grade.\n{request}\n{answer}")
    (tmp_path / "words.json").write_text('["i refuse"]')
    (tmp_path / "prompt.txt").write_text(PROMPT)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights.bin").write_bytes(bytes(100))
    path = tmp_path / "matrix.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    CALLS.clear()
    return path


def run(config: Path) -> int:
    return main(["run", "--config", str(config)])


def logs(config: Path) -> list[EvalLog]:
    return [read_eval_log(info.name) for info in list_eval_logs(str(config.parent / "logs"))]


def edit_template(root: Path) -> None:
    (root / "prompt.txt").write_text(f"Rewrite it, differently.\n{PROMPT}")


def edit_judge(root: Path) -> None:
    (root / "judge.txt").write_text("Grade with care.\n{request}\n{answer}")


def edit_keywords(root: Path) -> None:
    (root / "words.json").write_text('["i refuse", "i decline"]')


def edit_data(root: Path) -> None:
    path = root / "siuo" / "data" / "siuo_gen.json"
    records = json.loads(path.read_text())
    records[0]["question"] = "Is this ladder safe?"
    path.write_text(json.dumps(records))


def edit_image(root: Path) -> None:
    Image.new("RGB", (30, 30)).save(root / "siuo" / "data" / "images" / "S-00.png")


def edit_adapter(root: Path) -> None:
    (root / "adapter" / "weights.bin").write_bytes(bytes(99) + b"\1")


EDITS = [
    (edit_template, "defense.template"),
    (edit_judge, "judging.judge_template"),
    (edit_keywords, "judging.keywords"),
    (edit_data, "data.files.data/siuo_gen.json"),
    (edit_image, "data.images.sha256"),
    (edit_adapter, "].card"),
]


@pytest.mark.parametrize(("edit", "named"), EDITS)
def test_a_finished_run_is_not_finished_under_other_files(
    config: Path, edit: Callable[[Path], None], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    assert run(config) == 0
    paid = len(CALLS)
    edit(config.parent)
    assert run(config) == 2
    said = capsys.readouterr().err
    (log,) = logs(config)
    assert f"{Path(log.location).name}: " in said
    assert named in said
    assert len(CALLS) == paid


def test_a_log_that_cannot_be_read_is_named(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    (log,) = logs(config)
    damaged = Path(log.location.removeprefix("file://"))
    damaged.write_bytes(damaged.read_bytes()[:1_000])
    paid = len(CALLS)
    assert run(config) == 2
    said = capsys.readouterr().err
    assert f"{damaged}: cannot be read as a log" in said
    assert "move it elsewhere" in said
    assert len(CALLS) == paid


def test_a_run_that_was_cut_off_does_not_go_on_under_other_files(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    invalidate_one(config)
    edit_template(config.parent)
    assert run(config) == 2
    (config.parent / "prompt.txt").write_text(PROMPT)
    assert run(config) == 0
    capsys.readouterr()


def test_other_data_of_a_preset_are_noticed_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CALLS.clear()
    data = write_preset("mm_harmful", tmp_path / "mm", 2)
    matrix = {
        "log_dir": str(tmp_path / "logs"),
        "targets": ["scripted_runs/target"],
        "benchmarks": [{"name": "mm_harmful", "args": {"data_dir": str(data), "judge": "none"}}],
        "defenses": ["none"],
        "options": {"display": "none"},
    }
    path = tmp_path / "preset.yaml"
    path.write_text(json.dumps({**matrix, "limit": 1}))
    assert run(path) == 0
    questions = data / "questions.jsonl"
    questions.write_text(questions.read_text().replace("Mow", "Rake"))
    path.write_text(json.dumps(matrix))
    assert run(path) == 2
    assert "data.files.questions.jsonl" in capsys.readouterr().err
    assert CALLS == ["target"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (edit_template, "2 versions of the prompts of its defense"),
        (edit_data, "2 versions of the data"),
        (edit_judge, "scored by judge in different ways"),
        (edit_keywords, "scored by refusal in different ways"),
    ],
)
def test_a_log_of_two_versions_stands_in_no_table(
    config: Path, edit: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config) == 0
    invalidate_one(config)
    edit(config.parent)
    # Inspect's own command does not compare files.
    (old,) = logs(config)
    eval_retry(old, log_dir=str(config.parent / "retried"), display="none")
    assert main(["leaderboard", str(config.parent / "retried")]) == 2
    assert words in capsys.readouterr().err
    gate = ["gate", str(config.parent / "retried"), "--baseline", str(config.parent / "b.json")]
    assert main([*gate, "--update"]) == 2
    assert not (config.parent / "b.json").exists()


def test_a_defense_that_failed_before_it_read_its_prompts_is_no_other_version() -> None:
    class Summary:
        def __init__(self, template: str, version: str = "2-A", defense: str = "vlmguard") -> None:
            tally = dict.fromkeys(
                ("calls", "target_calls", "input_tokens", "output_tokens", "seconds"), 1
            ) | {"defense": defense, "triggered": False}
            tally |= {"template": template} if template else {}
            tally |= {"version": version} if version else {}
            self.scores = {"refusal": Score(value={"refused": 0.0}, metadata={"defense": tally})}
            self.metadata: dict[str, Any] = {}

    check_one_version([Summary("a"), Summary(""), Summary("a")])  # type: ignore[list-item]
    with pytest.raises(LeftOut, match=r"2 versions of the prompts of its defense \(a, b\)"):
        check_one_version([Summary("a"), Summary("b")])  # type: ignore[list-item]
    # A log that a newer vlmguard continued; a sample without a defense has no version.
    check_one_version([Summary("a"), Summary("", "", "none")])  # type: ignore[list-item]
    with pytest.raises(LeftOut, match=r"2 versions of the defense \(none noted, 2-A\)"):
        check_one_version([Summary("a", ""), Summary("a")])  # type: ignore[list-item]


def invalidate_one(config: Path) -> None:
    (log,) = logs(config)
    assert log.samples
    uuid = log.samples[0].uuid
    assert uuid
    changed = invalidate_samples(log, [uuid], ProvenanceData(author="me", reason="wrong image"))
    write_eval_log(changed, log.location)


def test_large_files_are_compared_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmguard.results.run.changed_files._WHOLE", 1_000)
    monkeypatch.setattr("vlmguard.results.run.changed_files._PART", 100)
    path = tmp_path / "weights.bin"
    content = bytearray(10_000)
    path.write_bytes(content)
    before = named_files({"adapter": str(path)})
    assert named_files({"adapter": str(path)}) == before
    for place in (0, 9_999):
        content[place] = 1
        path.write_bytes(content)
        assert named_files({"adapter": str(path)}) != before
        content[place] = 0
    path.write_bytes(content + b"\0")
    assert named_files({"adapter": str(path)}) != before


def test_words_that_are_also_folders_are_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    arguments = {"split": "model", "grader": "mockllm/model", "adapter": "model"}
    assert list(named_files(arguments)) == ["adapter"]


def test_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    targets = [
        {"model": "mockllm/one", "model_args": {"card": str(tmp_path / name)}} for name in "ab"
    ]
    matrix = Matrix.model_validate(
        {"targets": targets, "benchmarks": [{"name": "siuo"}], "defenses": [{"name": "none"}]}
    )
    found = files_named_in(matrix, matrix.defenses[0], [Task()])
    assert len(found) == 2
    assert len(set(found.values())) == 2


@pytest.mark.parametrize("around", [True, False])
def test_the_images_of_a_pool_count_too(tmp_path: Path, around: bool) -> None:
    pool = write_pool(tmp_path / "pool")
    options = {"pool": str(pool), "device": "cpu"}
    guarded = {"model": "guarded/adashield/mockllm/one", "model_args": options}
    matrix = Matrix.model_validate(
        {
            "targets": [guarded if around else {"model": "mockllm/one"}],
            "benchmarks": [{"name": "siuo"}],
            "defenses": [{"name": "none"} if around else {"name": "adashield", "args": options}],
        }
    )

    def files() -> dict[str, str]:
        return files_named_in(matrix, matrix.defenses[0], [Task()])

    before = files()
    (pool.parent / "images/1.png").write_bytes((pool.parent / "images/0.png").read_bytes())
    (changed,) = changes(files(), before)
    assert changed.endswith("adashield.content")


@pytest.mark.parametrize("slash", ["/", ""])
def test_models_in_local_folders_count_behind_their_provider(tmp_path: Path, slash: str) -> None:
    """With both slashes of an absolute path, or with one in place of two."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    named = f"hf-vlm/{slash}{str(tmp_path).lstrip('/')}/model"
    arguments = {"target": [named, {"dtype": "float32"}]}
    assert list(named_files(arguments)) == ["target.0"]


ANYTHING = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(ANYTHING)
def test_anything_may_stand_among_arguments(value: Any) -> None:
    named_files({"argument": value})


def test_changes_are_named_by_place_and_what_was_not_recorded_is_not_compared() -> None:
    then = {"data": {"files": {"a.json": "1", "b.json": "2"}}, "prompt": None}
    now = {"data": {"files": {"a.json": "1", "b.json": "3"}, "new": 1}, "prompt": "x", "more": 2}
    assert changes(now, then) == ["data.files.b.json", "prompt"]
