"""Builds the microworld's models, each in its own folder, if they are missing or out of date.

    vlmguard microworld build                 # everything that is missing or out of date
    vlmguard microworld build llava --force

A new model is made in a separate folder and replaces the old one when it is finished. So an
interrupted build loses no model, and the next build continues with the unfinished ones.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError, check_number
from vlmguard.guard.rewriter.taught import write_statement
from vlmguard.training.microworld.models import (
    auxiliaries,
    clip,
    examine_auxiliaries,
    examine_rewriter,
    lessons,
    make_rewriter,
)
from vlmguard.training.microworld.models.api import AUXILIARIES, TARGETS, WEIGHTS
from vlmguard.training.microworld.models.architectures import create
from vlmguard.training.microworld.models.calibrate import CLASSIFIERS, calibrate, is_calibrated
from vlmguard.training.microworld.models.cards import (
    CARD,
    WEIGHTS_FILE,
    Card,
    load_card,
    versions,
    world_hash,
)
from vlmguard.training.microworld.models.lessons import Course
from vlmguard.training.microworld.models.teach import BATCH, PEAK, Classroom, exact_match, teach
from vlmguard.training.microworld.models.tokenizer import templates_hash
from vlmguard.training.microworld.models.workers import work_off
from vlmguard.training.microworld.world.hazards import Split

logger = logging.getLogger(__name__)

STEPS: Final = {
    **dict.fromkeys(TARGETS, 1000),
    "base": 1000,
    "detector": 1000,
    "reward": 1000,
    "detoxifier": 600,
    "clip": 600,
}
"""Optimizer steps of each model but the rewriter, whose configuration for `vlmguard train` has
them.
"""

NAMES: Final = (*STEPS, "rewriter")
"""All models, in the order of building."""

BASE_ARCHITECTURE: Final = "qwen2-vl"
"""The rewriter's base is a small Qwen2-VL; the paper's is a large one."""

_KNOWLEDGE_SHARE: Final = 0.3
_EXERCISE_SHARE: Final = 0.6
_SPLITS: Final[tuple[Split, ...]] = ("validation", "test")
_EXAMPLES: Final = 800
"""Splits on which a finished model is examined."""

_TRAINERS: Final[dict[str, Callable[[Path, int, int], auxiliaries.Taught]]] = {
    "detector": auxiliaries.train_detector,
    "reward": auxiliaries.train_reward,
    "detoxifier": auxiliaries.train_detoxifier,
    "clip": clip.train_clip,
}


def build(
    names: list[str],
    root: Path = WEIGHTS,
    *,
    force: bool = False,
    effort: float = 1.0,
    jobs: int = 1,
) -> list[Path]:
    """Build models, and set the thresholds of those that have one.

    Args:
        names: The models; they are built in this order, but the rewriter last.
        root: Folder of the models' folders.
        force: Also build those that exist and fit this code.
        effort: Share of the steps (> 0, at most 1), for trials.
        jobs: Number of models that are built at a time (>= 1).

    Returns:
        Their folders.

    Raises:
        UserError: There is no such model, the effort is out of range or would replace the package's
            own weights, the rewriter's base is not ready, or jobs are out of range.
    """
    check_number("--jobs", jobs, 1)
    # The rewriter needs its base, so it comes last in any case.
    names = sorted(dict.fromkeys(names), key=lambda name: name == "rewriter")
    for name in names:
        if name not in NAMES:
            raise UserError(
                f"{name}: no such model.{did_you_mean(name, NAMES)} Choose among: "
                f"{', '.join(NAMES)}."
            )
    if not 0 < effort <= 1:
        raise UserError(f"--effort {effort}: a share above 0 and up to 1 is needed.")
    due = [name for name in names if force or not _is_ready(root / name, effort)]
    _check(due, root, effort)
    for name in names:
        if name not in due:
            print(f"{name}: ready")
    task = partial(_build_one, root=root, effort=effort)
    if jobs == 1:
        for name in due:
            task(name)
    elif due:
        # Start the longest chain first: base, then rewriter.
        first = [name for name in ("base", "rewriter") if name in due]
        rest = [name for name in due if name not in first]
        work_off([*first, *rest], {"rewriter": "base"}, jobs, task)
    if all((root / name / CARD).is_file() for name in CLASSIFIERS) and not is_calibrated(root):
        calibrate(root)
    return [root / name for name in names]


def _check(due: list[str], root: Path, effort: float) -> None:
    """Check that all can be built, before the first build starts."""
    if effort < 1 and due and root.resolve() == WEIGHTS.resolve():
        raise UserError(
            f"--effort {effort} is for trials, and would replace the package's own models. Choose "
            "a folder for them: --out DIR"
        )
    if "rewriter" in due and "base" not in due and not _is_ready(root / "base", effort):
        raise UserError("rewriter: its base is not ready. Run: vlmguard microworld build base")


def _build_one(name: str, root: Path, effort: float) -> None:
    how = f"{_steps(name, effort)} steps"
    if name == "rewriter":
        how = f"rows, synthesize, export, {how}"
    print(f"{name}: {how}", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".building-") as place:
        folder = Path(place) / name
        steps = _steps(name, effort)
        if name == "rewriter":
            _build_rewriter(folder, root / "base", effort)
        elif name in AUXILIARIES:
            _build_auxiliary(name, folder, steps)
        else:
            _build_vlm(name, folder, steps)
        shutil.rmtree(root / name, ignore_errors=True)
        folder.rename(root / name)


def seed_of(name: str) -> int:
    """The seed of a model: its place in the list."""
    return NAMES.index(name)


def first_term(room: Classroom, name: str, steps: int) -> None:
    """Teach a target the facts of the world, then everything that it should do.

    Args:
        room: The model; its weights change.
        name: The target's name.
        steps: Steps of the main part.
    """
    seed = seed_of(name)
    _teach_knowledge(room, seed, steps)
    teach(room, Course(lessons.TARGET, seed), steps)


def second_term(room: Classroom, name: str, steps: int) -> None:
    """Repeat the facts, which fade, and then the skills that weigh picture and request together.

    Args:
        room: The model; its weights change.
        name: The target's name.
        steps: Steps of the main part.
    """
    seed = 1000 + seed_of(name)
    _teach_knowledge(room, seed, steps)
    course = Course(lessons.EXERCISE, seed)
    teach(room, course, max(1, round(_EXERCISE_SHARE * steps)), peak=PEAK / 2)


def _teach_knowledge(room: Classroom, seed: int, steps: int) -> None:
    count = max(1, round(_KNOWLEDGE_SHARE * steps))
    teach(room, Course(lessons.KNOWLEDGE, seed), count, batch=2 * BATCH)


def examine(folder: Path, name: str, split: Split, count: int = _EXAMPLES) -> dict[str, float]:
    """Exact match of a built vision-language model on pairs of a split, by skill.

    Args:
        folder: Its folder.
        name: Its name.
        split: The split of the pairs.
        count: Number of examples.

    Returns:
        The share of right answers for each skill.
    """
    import torch
    import transformers

    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    course = Course(_skills(name), seed=10**6 + seed_of(name), split=split)
    shares = exact_match(Classroom(folder, model.eval()), course, count)
    return {skill: round(share, 4) for skill, share in shares.items()}


def _is_ready(folder: Path, effort: float) -> bool:
    """Whether a model is finished, made for this code, and with at least this effort."""
    if not (folder / CARD).is_file():
        return False
    card = load_card(folder)
    return card.fits and card.steps >= _steps(folder.name, effort)


def _steps(name: str, effort: float) -> int:
    if name == "rewriter":
        return make_rewriter.steps_of(effort)
    return max(1, round(STEPS[name] * effort))


def _skills(name: str) -> dict[str, float]:
    return lessons.BASE if name == "base" else lessons.TARGET


def _build_vlm(name: str, folder: Path, steps: int) -> None:
    start = time.monotonic()
    kind = BASE_ARCHITECTURE if name == "base" else name
    model = create(kind, folder, seed_of(name))
    room = Classroom(folder, model)
    if name in TARGETS:
        first_term(room, name, steps)
        second_term(room, name, steps)
    else:
        teach(room, Course(lessons.BASE, seed_of(name)), steps)
        write_statement(folder, make_rewriter.PROMPT)
    minutes = (time.monotonic() - start) / 60
    model.half().save_pretrained(folder)
    metrics = {"exact_match": {split: examine(folder, name, split) for split in _SPLITS}}
    _write_card(name, kind, folder, steps, BATCH, seed_of(name), minutes, metrics)


def _build_rewriter(folder: Path, base: Path, effort: float) -> None:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        made = make_rewriter.make(base, Path(work), effort=effort)
        make_rewriter.finish(Path(work) / "rewriter", base, folder)
    minutes = (time.monotonic() - start) / 60
    metrics: dict[str, Any] = {"rows": made.rows, "kept": made.kept, "loss": made.loss}
    for split in _SPLITS:
        metrics[split] = examine_rewriter.examine(folder, split)
    kind = BASE_ARCHITECTURE
    _write_card("rewriter", kind, folder, made.steps, made.batch, made.seed, minutes, metrics)


def _build_auxiliary(name: str, folder: Path, steps: int) -> None:
    start = time.monotonic()
    taught = _TRAINERS[name](folder, steps, seed_of(name))
    minutes = (time.monotonic() - start) / 60
    import transformers

    kind = transformers.AutoConfig.from_pretrained(folder).model_type
    metrics: dict[str, Any] = {"loss": round(taught.loss, 4)}
    for split in _SPLITS:
        metrics[split] = examine_auxiliaries.examine(name, folder, split)
    _write_card(name, kind, folder, steps, auxiliaries.BATCH, taught.seed, minutes, metrics)


def _write_card(
    name: str,
    kind: str,
    folder: Path,
    steps: int,
    batch: int,
    seed: int,
    minutes: float,
    metrics: dict[str, Any],
) -> None:
    from safetensors.torch import load_file

    weights = load_file(folder / WEIGHTS_FILE)
    card = Card(
        name=name,
        kind=kind,
        parameters=sum(weight.numel() for weight in weights.values()),
        seed=seed,
        steps=steps,
        batch=batch,
        minutes=round(minutes, 1),
        templates=templates_hash(),
        world=world_hash(),
        metrics=metrics,
        versions=versions(),
    )
    card.save(folder)
    print(f"{name}: {card.minutes} minutes, {metrics}", flush=True)
