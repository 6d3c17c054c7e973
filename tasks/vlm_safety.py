r"""Any set: a file with requests and pictures, what its columns mean, and what is right.

    inspect eval vlmguard/vlm_safety -T file=rows.jsonl -T image_dir=pictures \
        -T 'map={text: prompt, image: img}' -T expected=refuse --model M --model-role grader=G
    inspect eval vlmguard/vlm_safety -T preset=lvlm_safer --model M --model-role grader=G
    inspect eval vlmguard/vlm_safety -T preset=mine.yaml ...
    inspect eval vlmguard/vlm_safety -T hub=owner/name -T 'file=data/test-*.parquet' ...

`file` is a JSON list or object of rows, JSON lines, CSV with a header, or Parquet, with pictures
inside or named. `map` says which column is what (`any_set/form.py` has all roles); `a.b` is a field
inside a column, and `{write: TEXT}` in place of a column gives every row the same text. `expected`
says what is right: `refuse`, `comply` (help), `care` (help, with the risk handled), or
`field:NAME` for a column that says so; `expected_values={unsafe: refuse, safe: comply}` may explain
its values.

A preset is the same as YAML, with all that `vlmguard data` and tables need to know: see
`presets/lvlm_safer.yaml`, in which a row gives two samples. Presets of the suite: harmbench_mm,
hades, lvlm_safer, mm_harmful, omnisafebench, salad, visual_leak; what each measures and what nobody
could confirm stands in its file. None was tried against the live hub or on the authors' pictures.

A set of dialogues has `turns` in its map in place of `text`: a list of the user's turns, a list of
`{role, content}` (`text` will do, `image` may be added), either of them as JSON, or text with lines
that begin with `User:`, `Assistant:` or `System:` (SafeMT's `dialogue` is such a string, whose form
is not confirmed). The pictures of the row stand at the first user turn, or at that whose number
`image_turn` gives. The user's turns are replayed (`solvers/dialogue.py`): a defense goes around the
model, `--model guarded/DEFENSE/PROVIDER/MODEL`. With `--solver DEFENSE` the last turn alone is
answered, after earlier turns as given. Every answer is judged, each in a call of its own, with the
conversation as it was: `right` and all usual measures are those of the last turn; `asr_last`,
`asr_any` (risky dialogues with a wrong answer at the last, at any turn) and `first_wrong` (number
of the first such turn, from 1) tell of the whole. Turns before a request that are to stay as given
are the role `earlier`, beside `text`; nothing is replayed then.

A judge decides whether an answer is right (`right`), by one question for each expectation. Tables
show it apart for benign samples (`expected` is `comply`) and for all others. Where samples come in
pairs, the log has `pairs_right`: the share of pairs of which every sample is right.

Deviations: LVLM-SafeR's authors ask whether an answer begins with a refusal; the others have judges
of their own, or none. Ours decides for all of them, in our own words, and a verdict that cannot be
read is unscored and counted. So no figure here is comparable with a published one.

`-T judge_template=FOLDER` replaces prompts of judges: `refuse.txt`, `comply.txt`, `care.txt`
(fields `{request}`, `{answer}`, and `{hint}` but for `comply.txt`), and `judge.txt` of the general
judge.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Card, register
from vlmguard.guard.data_source import Source, local
from vlmguard.guard.dialogue import steps_of
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.paths import user_path
from vlmguard.guard.task_options import JudgeChoice, TaskOptions
from vlmguard.guard.text.outputs import read_output
from vlmguard.scorers.asking import request_of
from vlmguard.scorers.metrics import metrics_of
from vlmguard.scorers.official import ask_all, replaced
from vlmguard.scorers.pairs import pairs_right
from vlmguard.scorers.turns import OfTurns, every_turn, metrics_of_turns
from vlmguard.solvers.dialogue import dialogue
from vlmguard.tasks.any_set.cards import IN_EVERY_SET, PRESETS, TASK, card_of
from vlmguard.tasks.any_set.form import read_form
from vlmguard.tasks.any_set.preset import Preset, read_preset
from vlmguard.tasks.any_set.questions import (
    NO_HINT,
    OF_TURNS,
    ONE_ANSWER,
    QUESTIONS,
    QUESTIONS_OF_TURNS,
    RIGHT,
)
from vlmguard.tasks.any_set.samples import files_of, load_samples
from vlmguard.tasks.benchmark import locate_data, make_task
from vlmguard.tasks.data.dataset import MissingImages

_WAY_OUT: Final = "Correct the file, or name the folder of its pictures: -T image_dir=."

CARD: Final = Card(
    name=TASK,
    title="Any set",
    obtain="A file of yours, or a preset: see tasks/vlm_safety.py.",
    **IN_EVERY_SET,
)
register(CARD)
for each in PRESETS.values():
    register(card_of(each))


@task
def vlm_safety(
    preset: str | None = None,
    file: str | None = None,
    image_dir: str | None = None,
    map: dict[str, Any] | None = None,
    expected: str | None = None,
    expected_values: dict[str, Any] | None = None,
    hub: str | None = None,
    missing_images: MissingImages = "refuse",
    judge: JudgeChoice = "all",
    judge_template: str | None = None,
    judge_hint: bool = False,
    keywords: str | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
    colour: Colour = "srgb",
    fit_images: bool = False,
    attack: str | None = None,
) -> Task:
    """Any set with pictures and requests: a user's file, a hub repository, or a preset.

    Args:
        preset: A preset of the suite, or the user's YAML; in place of the next six.
        file: The file with the rows; one with `*` names the shards of one table.
        image_dir: Folder to which its picture paths are relative. Default: that of the file.
        map: The columns by role, `{text: COLUMN, image: COLUMN, ...}`.
        expected: What is right: `refuse`, `comply`, `care`, or `field:NAME`.
        expected_values: What the values of that column mean: `{unsafe: refuse, ...}`.
        hub: Dataset repository with `file` and `image_dir`, as `owner/name`.
        missing_images: `refuse` to run, or leave out what lacks its picture and `count` it.

    All other arguments are those of every task, see `TaskOptions`.
    """
    options = TaskOptions(
        judge, judge_template, judge_hint, keywords, data_dir, revision, colour, fit_images, attack
    )
    form = {"map": map, "expected": expected, "expected_values": expected_values}
    own = {"file": file, "image_dir": image_dir, **form, "hub": hub}
    given = {name: value for name, value in own.items() if value is not None}
    if preset is not None:
        if given:
            raise UserError(f"-T preset={preset} says all of it; drop -T {'=, -T '.join(given)}=.")
        chosen, source = _from_preset(preset, options)
    elif file is None:
        raise UserError(
            f"-T file= or -T preset= is needed: a file of yours, or one of {', '.join(PRESETS)}."
        )
    else:
        chosen, source = _from_hub(given, options) if hub else _from_file(given, options)
    samples = load_samples(source, chosen)
    dialogues = chosen.has_turns
    hinted = all("hint" in (sample.metadata or {}) for sample in samples)
    return make_task(
        source.card,
        options,
        source=source,
        samples=samples,
        files=files_of(source, chosen),
        variant="all" if preset in PRESETS else chosen.name,
        version="1-A",
        judged={RIGHT: partial(vlm_safety_judge, turns=True) if dialogues else vlm_safety_judge},
        questions=QUESTIONS_OF_TURNS if dialogues else QUESTIONS,
        solver=dialogue() if dialogues else None,
        config=GenerateConfig(max_tokens=1024),
        hint="hint" if hinted else None,
        missing_images=missing_images,
        metadata={
            **({"turns": max(len(steps_of(each.input)) for each in samples)} if dialogues else {}),
            "form": {
                "/".join(filter(None, name)) or "all": each.model_dump(exclude_defaults=True)
                for name, each in chosen.forms().items()
            },
        },
    )


@scorer(
    metrics=[
        *metrics_of(ONE_ANSWER, dialogues=OF_TURNS),
        pairs_right("right"),
        *metrics_of_turns(OF_TURNS),
    ]
)
def vlm_safety_judge(template: str | None = None, turns: bool = False) -> Scorer:
    """Does the answer do what is expected of it (1)? Of a dialogue every answer is judged.

    Args:
        template: Folder with prompts that replace ours.
        turns: Whether the set holds dialogues, so that the questions are about one turn of them.
    """
    questions = replaced(QUESTIONS_OF_TURNS if turns else QUESTIONS, template)

    async def score(state: TaskState, target: Target) -> Score:
        request, images = request_of(state)
        material = {
            "request": request,
            "answer": read_output(state.output).text,
            "hint": str(state.metadata.get("hint", NO_HINT)),
        }
        asked = [questions[str(state.metadata["expected"])]]
        result = await ask_all(state, asked, images, material, among=questions.values())
        return result.score(result.value)

    return every_turn(
        score,
        {
            "wrong_last": OfTurns("right", "last"),
            "wrong_any": OfTurns("right", "any"),
            "first_wrong": OfTurns("right", "first"),
        },
    )


def _from_preset(name: str, options: TaskOptions) -> tuple[Preset, Source]:
    """A preset of the suite, or the user's, whose data are beside it by default."""
    if name in PRESETS:
        return PRESETS[name], locate_data(card_of(PRESETS[name]), options)
    path = user_path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(
            f"-T preset={name}: no such preset, and no YAML file.{did_you_mean(name, PRESETS)} "
            f"Presets are {', '.join(PRESETS)}."
        )
    preset = read_preset(path)
    if preset.hub or options.data_dir or options.revision:
        return preset, locate_data(card_of(preset), options)
    return preset, local(card_of(preset), path.parent, options.images)


def _from_file(given: Mapping[str, Any], options: TaskOptions) -> tuple[Preset, Source]:
    """The user's file, as a preset."""
    if options.data_dir or options.revision:
        raise UserError(
            "-T data_dir= and -T revision= go with -T preset= or -T hub=. With -T file= of your "
            "own, -T image_dir= names the folder of its pictures."
        )
    path = user_path(given["file"])
    images = user_path(given["image_dir"]) if "image_dir" in given else path.parent
    preset = _own(path.stem, {**given, "file": str(path), "image_dir": str(images)})
    boundary = images.resolve()
    return preset, Source(card_of(preset), path.parent, boundary, "local", options.images)


def _from_hub(given: Mapping[str, Any], options: TaskOptions) -> tuple[Preset, Source]:
    """Files of a hub repository, as a preset."""
    file, images = str(given["file"]), str(given.get("image_dir", "")).rstrip("/")
    needed = [file, f"{images}/*", f"{images}.zip"]
    if not images:
        needed = [file] if file.endswith(".parquet") else ["*"]
    hub = str(given["hub"])
    rest = {name: value for name, value in given.items() if name != "hub"}
    preset = _own(hub, {**rest, "hub": hub, "hub_files": needed})
    return preset, locate_data(card_of(preset), options)


def _own(name: str, content: Mapping[str, Any]) -> Preset:
    preset = read_form(Preset, {"name": name, "obtain": _WAY_OUT, **content}, "-T")
    preset.check_forms("-T")
    return preset
