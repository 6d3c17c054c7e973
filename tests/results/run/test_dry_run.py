"""`vlmguard run --dry-run`: plans a matrix without data, network or models."""

import re
from pathlib import Path

import pytest
import yaml
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.run.chosen import CONFIGS, config_path, read_config
from vlmguard.results.run.plan import plan
from vlmguard.results.run.preflight import checked_tasks
from vlmguard.tasks.siuo import CARD as SIUO

QWEN = "hf-vlm/Qwen/Qwen2-VL-7B-Instruct"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data, an empty hub cache, and no repository around."""
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "of-a-test")
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.chdir(tmp_path)


def test_the_papers_matrix_needs_neither_path_nor_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetched(*_: object, **options: object) -> str:
        assert options["local_files_only"], "a plan fetches nothing"
        raise OSError

    monkeypatch.setattr("vlmguard.tasks.data.hub.snapshot_download", fetched)
    assert main(["run", "--config", "paper_main", "--target", QWEN, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    matrix = said.out.partition("Plan (calls at most)")[0]
    cells = [re.split(r"  +", each.strip()) for each in matrix.splitlines() if each.count("/") > 6]
    # Undefended, rewriter, ECSO, ETA, MLLM-Protector, FigStep defense: target / guard / judge.
    assert cells[0] == [
        *("siuo", "167", "167 / 0 / 501", "167 / 334 / 501", "668 / 0 / 501"),
        *("167+ / 0+ / 501", "167 / 334 / 501", "167 / 0 / 501"),
    ]
    assert matrix.startswith("Calls at most on the target: ")
    assert [row[1] for row in cells] == ["167", "200", "130", "130", "130", "200"]
    assert "which the run fetches from the hub first: siuo, vlguard" in said.out
    assert f"siuo is non-commercial: {SIUO.license}." in " ".join(said.out.split())


def test_what_is_to_be_filled_in_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", "paper_main", "--dry-run"]) == 2
    said = capsys.readouterr()
    for which in ("third", "fourth", "fifth"):
        assert f"to be filled in: FILL_IN ({which} target" in said.err
    assert len(said.err.splitlines()) == 3
    assert "siuo" in said.out


def test_names_of_ready_configurations(tmp_path: Path) -> None:
    for path in CONFIGS.glob("*.yaml"):
        assert config_path(path.stem) == path
    with pytest.raises(UserError, match=r"no such file: .*paper_mian.*Did you mean paper_main"):
        config_path("paper_mian")
    for name in ("../configs/paper_main", "paper_main.yaml"):
        assert config_path(name).parent != CONFIGS
    # A user's file of this name has priority.
    (tmp_path / "nightly").write_text("targets: []")
    assert config_path("nightly") == tmp_path / "nightly"


def write(folder: Path, **content: object) -> Path:
    data = folder / "siuo"
    if not data.exists():
        write_siuo(data, 2)
    whole = {
        "log_dir": str(folder / "logs"),
        "targets": [{"model": QWEN}],
        "roles": {"grader": {"model": "mockllm/judge"}},
        "benchmarks": [{"name": "siuo", "args": {"data_dir": str(data)}}],
        "defenses": [{"name": "none"}],
    }
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump({**whole, **content}))
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"defenses": [{"name": "eta"}]}, "consent to the code of the reward model"),
        (
            {
                "defenses": [{"name": "eta", "args": {"trust_remote_code": True}}],
                "targets": [{"model": "openai/gpt-4o"}],
            },
            "a target that continues a prefix",
        ),
        (
            {"defenses": [{"name": "coca"}], "targets": [{"model": "openai/gpt-4o"}]},
            "a local checkpoint (hf-vlm/CHECKPOINT); openai/gpt-4o is none",
        ),
        ({"defenses": [{"name": "vlmguard"}]}, "no model for the role rewriter"),
        ({"defenses": [{"name": "vlmgard"}]}, "Did you mean vlmguard? Ours are vlmguard, "),
        (
            {"defenses": [{"name": "ecso", "args": {"templates": "nowhere"}}]},
            "nowhere: no such folder",
        ),
        ({"defenses": [{"name": "none"}, {"name": "none"}]}, "share a log folder"),
        (
            {"benchmarks": [{"name": "siuo", "args": {"data_dir": "siuo", "judge": "al"}}]},
            "-T judge=al",
        ),
        ({"roles": {}, "benchmarks": [{"name": "figstep"}]}, "no model for the role grader"),
    ],
)
def test_a_row_that_could_not_start_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict[str, object], said: str
) -> None:
    assert main(["run", "--config", str(write(tmp_path, **content)), "--dry-run"]) == 2
    assert said in capsys.readouterr().err


def test_a_run_stops_for_it_before_any_call(tmp_path: Path) -> None:
    path = write(tmp_path, defenses=[{"name": "none"}, {"name": "eta"}])
    with pytest.raises(UserError, match=r"eta on .*consent to the code"):
        checked_tasks(read_config(path))


def test_data_that_no_hub_has_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    defenses = [{"name": "none"}, {"name": "ecso"}]
    path = write(tmp_path, benchmarks=[{"name": "figstep"}], defenses=defenses)
    assert main(["run", "--config", str(path), "--dry-run"]) == 2
    said = capsys.readouterr()
    (only,) = said.err.splitlines()
    assert only.startswith("vlmguard: figstep will not run: FigStep: no data found")
    assert not only.endswith("..")
    assert "which are missing or not complete: figstep." in said.out
    assert re.search(r"figstep +ecso +\S+ +500 +2,000", said.out), "its counts stay"


@pytest.mark.parametrize("named", [True, False])
def test_incomplete_local_data_are_missing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
) -> None:
    """A run that finds the folder does not ask the hub."""
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    args = {"data_dir": str(tmp_path / "siuo")} if named else {}
    path = write(tmp_path, benchmarks=[{"name": "siuo", "args": args}], defenses=[{"name": "ecso"}])
    assert main(["run", "--config", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().err == ""
    for image in (tmp_path / "siuo").rglob("*.png"):
        image.unlink()
    assert main(["run", "--config", str(path), "--dry-run"]) == 2
    said = capsys.readouterr()
    assert "siuo will not run: SIUO: 2 of 2 images cannot be used" in said.err
    assert "which are missing or not complete: siuo." in said.out
    assert re.search(r"siuo +ecso +\S+ +167 +668", said.out), "its counts stay"


def test_answers_are_counted_alike_with_and_without_data(tmp_path: Path) -> None:
    args = {"samples": 3, "track": "generation"}
    content = {"benchmarks": [{"name": "siuo", "args": args}], "limit": 5}
    (line,) = plan(read_config(write(tmp_path, **content)))
    assert (line.samples, line.judge_calls, line.without_data) == (15, 45, True)
    choice = {"benchmarks": [{"name": "siuo", "args": {"track": "multiple_choice"}}], "roles": {}}
    (line,) = plan(read_config(write(tmp_path, **choice)))
    assert (line.samples, line.judge_calls, line.missing) == (167, 0, ())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--target", "nosuch/model"], "model nosuch/model: Inspect knows no provider nosuch"),
        (["--target", "gpt-4o"], "model gpt-4o: write PROVIDER/NAME"),
        (["--target", "mockllm/m", "--role", "grader=unheard/j"], "model unheard/j: Inspect"),
        (["--target", "openai/gpt-4o"], "model openai/gpt-4o: Unable to initialise OpenAI client"),
        (["--target", "openai-api/mine/m"], "No MINE_API_KEY defined"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_models_that_cannot_be_made_are_named_before_any_call(
    flags: list[str],
    says: str,
    more: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for key in ("OPENAI_API_KEY", "MINE_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    asked = ["run", "--suite", "core", "--limit", "2", "--log-dir", "logs", *more]
    assert main([*asked, "--role", "grader=mockllm/judge", *flags]) == 2
    said = capsys.readouterr().err
    assert said.count(says) == 1
    assert not Path("logs").exists()


def test_many_defenses_stand_below_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    main(["run", "--config", "field", "--dry-run"])
    lines = capsys.readouterr().out.partition("Plan (calls at most)")[0].splitlines()
    named = {line.split()[0]: line for line in lines if line.count("/") > 6}
    assert {"none", "policy_route", "guard_nemotron", "rewriter_as_filter"} <= named.keys()
    assert "600 / 0 / 600" in named["caption_only"]  # two calls for each of 300 samples
