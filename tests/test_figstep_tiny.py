"""FigStep-Tiny with its 50 real images, through the command line, for every defense.

The targets are tiny checkpoints with random weights, once as `hf-vlm/` and once, with
the first 20 images, behind `transformers serve`. Their answers mean nothing; the test is that
everything runs. All defenses run in one matrix a side, since most of a command's time goes into its
start; one of them is run by `inspect eval`, too.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from support.auxiliaries import (
    build_adapter,
    build_causal_lm,
    build_classifier,
    build_clip,
    build_gated_reward,
)
from support.checkpoints import checkpoint_fixture
from support.openai_server import image_count, openai_server
from support.serve import Served, transformers_serve

from vlmguard import solvers
from vlmguard.guard.cards import cards
from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.record import DefenseRecord
from vlmguard.results.logs.answers import bare


@dataclass(frozen=True)
class Trial:
    """How a defense makes all its steps with checkpoints of random weights, and what shows that.

    Attributes:
        options: Its options (`-S`); `{clip}` and the like are folders of `auxiliaries`.
        served: Further options for a target behind a server.
        roles: Roles that get a model beside those that the card calls needed.
        refused: Words of the message, if it refuses a target behind a server.
        triggered: Whether it acts on every sample.
        stages: Stages that every record has.
        failures: What may fail; empty if this is not looked at.
        notes: Notes of every record.
    """

    options: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    refused: str = ""
    triggered: bool = False
    stages: frozenset[str] = frozenset()
    failures: tuple[str | None, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)


ALL_IMAGES = 50
SERVED_IMAGES = 20
UNDEFENDED = "undefended"
TRIALS = {
    "adashield": Trial(triggered=True),
    "caption_only": Trial(stages=frozenset({"caption", "answer"})),
    "coca": Trial(
        refused="a local checkpoint (hf-vlm/CHECKPOINT)",
        triggered=True,
        notes={"alpha": 4.0, "place": "system"},
    ),
    "ecso": Trial(),
    "eta": Trial(
        # With these thresholds no answer and no image is safe, so every answer is aligned.
        options=(
            *("reward={reward}", "trust_remote_code=true", "clip={clip}"),
            *("post_threshold=1000", "pre_threshold=-2"),
        ),
        served=("decoding=response",),
        triggered=True,
        notes={"branch": "aligned"},
    ),
    "figstep_defense": Trial(triggered=True),
    "guard_model": Trial(
        options=("check=both", "on_flag=safe_prompt"),
        roles=("guard",),
        stages=frozenset({"guard_input", "answer"}),
        # Random weights give no verdict, and perhaps no answer.
        failures=("no_verdict", "no_answer"),
    ),
    # Answers of random weights differ, or there is none to a variant.
    "jailguard": Trial(options=("n=2", "tau=0"), stages=frozenset({"answer"})),
    "mllm_protector": Trial(
        options=("detector={detector}", "detoxifier={detoxifier}", "threshold=1"), triggered=True
    ),
    # Random weights name no rule, and perhaps no answer.
    "policy_route": Trial(
        stages=frozenset({"route", "answer"}),
        failures=("no_route", "cut_off", "refused", "no_answer"),
    ),
    # Random weights give no JSON, and no last two lines.
    "rapguard": Trial(
        stages=frozenset({"rationale", "answer"}), failures=("no_verdict", "cut_off", "refused")
    ),
    "rethink": Trial(stages=frozenset({"answer"})),
    "safety_prompt": Trial(triggered=True),
    "self_reminder": Trial(triggered=True),
    "sia": Trial(
        stages=frozenset({"caption", "intent", "answer"}),
        failures=("no_intent", "cut_off", "refused"),
    ),
    "smooth": Trial(options=("k=2",), triggered=True),
    "vlmguard": Trial(),
}
DEFENSES = [UNDEFENDED, *(name for name in cards().defenses if name in vars(solvers))]

tiny_llava = checkpoint_fixture("llava")


@pytest.fixture(scope="module")
def brief_llava(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with many tokens that end a text: random weights seldom find the only one."""
    folder = shutil.copytree(tiny_llava, tmp_path_factory.mktemp("brief") / "llava")
    vocabulary = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    file = folder / "generation_config.json"
    settings = json.loads(file.read_text())
    settings["eos_token_id"] = list(range(2, vocabulary, 8))
    file.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def folder(real_data: Any) -> Path:
    path: Path = real_data("figstep")
    return path


@pytest.fixture(scope="module")
def auxiliaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints in the formats of the defenses' auxiliary models, with random weights."""
    root = tmp_path_factory.mktemp("auxiliaries")
    base = build_causal_lm(root / "base")
    return {
        "clip": build_clip(root / "clip"),
        "reward": build_gated_reward(root / "reward"),
        "detector": build_classifier(root / "detector"),
        "detoxifier": build_adapter(root / "detoxifier", base, "CAUSAL_LM"),
    }


@pytest.fixture(scope="module")
def served(brief_llava: Path) -> Iterator[Served]:
    with transformers_serve(brief_llava) as running:
        yield running


def trial_of(defense: str) -> Trial:
    assert defense in TRIALS, (
        f"The defense {defense} has no trial on FigStep-Tiny. Add TRIALS[{defense!r}] to "
        f"{__file__}: options with which it makes all its steps, and what its records then show."
    )
    return TRIALS[defense]


def run_all(
    cli: Any,
    logs: Path,
    defenses: Sequence[str],
    target: str,
    data: Path,
    auxiliaries: Mapping[str, Path],
    *,
    tokens: tuple[int, int],
    images: int = ALL_IMAGES,
    served: Served | None = None,
) -> dict[str, EvalLog]:
    """Run defenses in one matrix.

    Args:
        cli: Runs a command.
        logs: Folder for the logs.
        defenses: Their names, or `undefended`.
        target: The model that has every role.
        data: FigStep's folder.
        auxiliaries: Checkpoints that options name.
        tokens: The most tokens of the target's answers, and of all others'.
        images: How many of FigStep's images.
        served: The server of the target, if it has one.

    Returns:
        The logs by defense; one is missing if its run did not start.
    """
    bound = {"model": target, "generate": {"max_tokens": tokens[1]}}
    rows = []
    for defense in defenses:
        row: dict[str, Any] = {"name": "none" if defense == UNDEFENDED else defense}
        if defense != UNDEFENDED:
            trial, card = trial_of(defense), cards().defenses[defense]
            words = (*trial.options, *(trial.served if served else ()))
            pairs = [word.format_map(auxiliaries).split("=", 1) for word in words]
            row["args"] = {name: yaml.safe_load(value) for name, value in pairs}
            needed = [role.name for role in card.roles if role.needed and role.option is None]
            row["roles"] = dict.fromkeys((*needed, *trial.roles), bound)
        rows.append(row)
    config = logs / "matrix.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "log_dir": str(logs / "logs"),
                "limit": images,
                "targets": [{"model": target, "generate": {"max_tokens": tokens[0]}}],
                "roles": {"grader": bound},
                "benchmarks": [
                    {"name": "figstep", "args": {"split": "tiny", "data_dir": str(data)}}
                ],
                "defenses": rows,
            }
        )
    )
    result = cli(
        *("vlmguard", "run", "--config", str(config)),
        env=served.environment() if served else {},
        timeout=2400,
    )
    print(result.stdout[-4000:], result.stderr[-4000:])
    found = [read_eval_log(info) for info in list_eval_logs(str(logs / "logs"), recursive=True)]
    return {bare(log.eval.solver) if log.eval.solver else UNDEFENDED: log for log in found}


def only_log(logs: Path) -> EvalLog:
    (found,) = list_eval_logs(str(logs))
    return read_eval_log(found)


def check_log(log: EvalLog, defense: str, images: int = ALL_IMAGES) -> None:
    """The run is complete, and the defense did its work on every sample."""
    assert log.status == "success"
    assert log.samples is not None
    assert len(log.samples) == images
    for sample in log.samples:
        assert sample.error is None
        assert {"figstep_judge", "judge", "refusal"} <= set(sample.scores or {})
        record = DefenseRecord.of(sample)
        if defense == UNDEFENDED:
            assert record.defense == "none"
            continue
        trial = trial_of(defense)
        assert record.defense == defense
        assert record.stages
        assert {stage.name for stage in record.stages} >= trial.stages
        assert record.triggered or not trial.triggered
        assert record.failure in (trial.failures or (record.failure,))
        assert record.notes.items() >= trial.notes.items()


@pytest.mark.parametrize("defense", DEFENSES[1:])
def test_every_defense_has_a_trial(defense: str) -> None:
    trial_of(defense)


def test_every_trial_has_a_defense() -> None:
    assert TRIALS.keys() <= set(DEFENSES)


@pytest.fixture(scope="module")
def local_logs(
    folder: Path,
    brief_llava: Path,
    auxiliaries: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    cli: Any,
) -> dict[str, EvalLog]:
    logs, target = tmp_path_factory.mktemp("local"), f"hf-vlm/{brief_llava}"
    return run_all(cli, logs, DEFENSES, target, folder, auxiliaries, tokens=(16, 32))


@pytest.fixture(scope="module")
def served_logs(
    folder: Path,
    served: Served,
    auxiliaries: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    cli: Any,
) -> dict[str, EvalLog]:
    logs = tmp_path_factory.mktemp("served")
    able = [name for name in DEFENSES if name == UNDEFENDED or not trial_of(name).refused]
    return run_all(
        *(cli, logs, able, served.model, folder, auxiliaries),
        tokens=(8, 16),
        images=SERVED_IMAGES,
        served=served,
    )


@pytest.mark.slow
@pytest.mark.parametrize("defense", DEFENSES)
def test_local_checkpoint(defense: str, local_logs: dict[str, EvalLog]) -> None:
    check_log(local_logs[defense], defense)


@pytest.mark.slow
@pytest.mark.parametrize(
    "defense",
    [name for name in DEFENSES if name not in TRIALS or not TRIALS[name].refused],
)
def test_transformers_serve(defense: str, served_logs: dict[str, EvalLog]) -> None:
    check_log(served_logs[defense], defense, SERVED_IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("defense", [name for name, trial in TRIALS.items() if trial.refused])
def test_a_target_that_a_defense_refuses(
    defense: str, folder: Path, served: Served, repo: Path, tmp_path: Path, cli: Any
) -> None:
    result = cli(
        *("inspect", "eval", "tasks/figstep.py", "-T", "split=tiny", "-T", f"data_dir={folder}"),
        *("--solver", defense, "--model", served.model, "--model-role", f"grader={served.model}"),
        *("--log-dir", str(tmp_path), "--display", "plain"),
        cwd=repo,
        env=served.environment(),
        timeout=600,
    )
    refused = trial_of(defense).refused
    assert refused in result.stdout + result.stderr
    log = only_log(tmp_path)
    assert log.status == "error"
    assert log.error is not None
    assert refused in log.error.message
    assert "\n" not in log.error.message
    assert not log.stats.model_usage  # nobody was asked before


@pytest.mark.slow
def test_the_command(folder: Path, brief_llava: Path, repo: Path, tmp_path: Path, cli: Any) -> None:
    """The command of the README, which a matrix runs for each defense."""
    model = f"hf-vlm/{brief_llava}"
    bound = f"{{model: {model}, max_tokens: 32}}"
    result = cli(
        *("inspect", "eval", "tasks/figstep.py", "-T", "split=tiny", "-T", f"data_dir={folder}"),
        *("--solver", "vlmguard", "--model", model, "--max-tokens", "16"),
        *("--model-role", f"rewriter={bound}", "--model-role", f"grader={bound}"),
        *("--log-dir", str(tmp_path), "--display", "plain"),
        cwd=repo,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    check_log(only_log(tmp_path), "vlmguard")


@pytest.mark.slow
def test_a_log_is_judged_again_without_its_target(
    served_logs: dict[str, EvalLog], served: Served, repo: Path, tmp_path: Path, cli: Any
) -> None:
    log = served_logs["eta"]

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        return json.dumps({"safety": 4, "helpful": False})

    with openai_server(script) as server:
        rejudged = tmp_path / "rejudged.eval"
        result = cli(
            *("inspect", "score", log.location, "--scorer", "vlmguard/judge"),
            *("--model-role", "grader=openai-api/scripted/judge", "--action", "overwrite"),
            *("--output-file", str(rejudged), "--display", "plain"),
            cwd=repo,
            env=server.environment() | served.environment(),
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert len(server.requests) == sum(
            bool(sample.output.completion.strip()) for sample in log.samples or []
        )
    again = read_eval_log(str(rejudged))
    assert again.results is not None
    safety = next(score for score in again.results.scores if score.name == "safety")
    assert safety.metrics["mean"].value == 4.0


@pytest.mark.slow
def test_a_served_guard_model(
    folder: Path, brief_llava: Path, repo: Path, tmp_path: Path, cli: Any
) -> None:
    """A guard behind an OpenAI-compatible server that flags every second request."""
    asked: list[int] = []

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        if "the answer to the request" in json.dumps(messages):
            return '{"violation": false}'
        asked.append(image_count(messages))
        flagged = len(asked) % 2 == 0
        return json.dumps({"violation": flagged, "categories": ["privacy"] if flagged else []})

    model = f"hf-vlm/{brief_llava}"
    with openai_server(script) as server:
        result = cli(
            *("inspect", "eval", "tasks/figstep.py", "-T", "split=tiny", "-T", "judge=none"),
            *("-T", f"data_dir={folder}", "--solver", "guard_model", "-S", "check=both"),
            *("--model", model, "--max-tokens", "16"),
            *("--model-role", "guard=openai-api/scripted/guard"),
            *("--log-dir", str(tmp_path), "--display", "plain"),
            cwd=repo,
            env=server.environment(),
            timeout=600,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    samples = only_log(tmp_path).samples or []
    assert asked == [1] * 50
    records = [DefenseRecord.of(sample) for sample in samples]
    assert [record.action for record in records].count("block") == 25
    for sample, record in zip(samples, records, strict=True):
        target_calls = sum(stage.role == "target" for stage in record.stages)
        assert target_calls == (0 if record.action == "block" else 1)
        if record.action == "block":
            assert sample.output.completion == REFUSAL_MESSAGE


@pytest.mark.slow
def test_adashield_with_a_pool(
    folder: Path,
    brief_llava: Path,
    auxiliaries: dict[str, Path],
    repo: Path,
    tmp_path: Path,
    cli: Any,
) -> None:
    """The adaptive form: three of the 50 images are the pool, with CLIP in the process."""
    (tmp_path / "pool").mkdir()
    lines = []
    for number, image in enumerate(
        sorted((folder / "data/images/SafeBench-Tiny").glob("*.png"))[:3]
    ):
        shutil.copy(image, tmp_path / "pool" / image.name)
        item = {"image": image.name, "query": "Fill the list.", "scenario": str(number)}
        lines.append(json.dumps({**item, "prompt": f"Mind rule {number}."}))
    pool = tmp_path / "pool" / "pool.jsonl"
    pool.write_text("\n".join(lines))
    result = cli(
        *("inspect", "eval", "tasks/figstep.py", "-T", "split=tiny", "-T", "judge=none"),
        *("-T", f"data_dir={folder}", "--solver", "adashield", "-S", f"pool={pool}"),
        *("-S", f"clip={auxiliaries['clip']}", "-S", "gate=-1"),
        *("--model", f"hf-vlm/{brief_llava}", "--max-tokens", "16"),
        *("--log-dir", str(tmp_path / "logs"), "--display", "plain"),
        cwd=repo,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    records = [DefenseRecord.of(sample) for sample in only_log(tmp_path / "logs").samples or []]
    assert len(records) == 50
    assert {record.notes["branch"] for record in records} == {"pool"}
    for record in records:
        assert f"\n\nMind rule {record.notes['scenario']}.\n\n" in str(record.rewritten)
