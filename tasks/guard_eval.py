r"""Guards as classifiers: what of a labelled set does a guard model or a defense flag?

    inspect eval tasks/guard_eval.py -T dataset=msts -T pictures=described -T adapter=llama_guard \
        --model G
    inspect eval tasks/guard_eval.py -T dataset=vlguard -T adapter=qwen3guard --model G
    inspect eval tasks/guard_eval.py -T dataset=rows.csv -T 'map={text: prompt, label: verdict}' \
        -T 'labels={harmful: unsafe, fine: safe}' -T adapter=custom --model G
    inspect eval tasks/guard_eval.py -T dataset=vlguard -T defense=vlmguard --model none \
        --model-role rewriter=R
    inspect eval tasks/guard_eval.py -T dataset=vlguard -T defense=guard_model \
        -T 'options={adapter: custom}' --model none --model-role guard=G

The evaluated model is the guard: `--model G`. With `--model none` it is the one in the role
`guard`; naming both is refused, since tables could not tell which was asked. `adapter` is the
format in which it is asked and read (`guard_models/formats.py`), `options` are those of the format.

`-T defense=NAME` measures a defense instead: a request that it does not pass on unchanged counts as
flagged (of one that changes harmless ones too, sia and policy_route, what its verdict calls
unsafe). Only a defense with a part that decides about requests can be measured so: those that read
the target's answers (ecso, jailguard, smooth, ...) cannot, and those with a fixed text, coca and
caption_only treat all requests alike (so does adashield without a pool).
A question that a defense would put to the target needs a model in its role here.

Sets, and what their labels are about: `msts`, 4,000 answers of ten models that people labelled
(`check=output`; `pictures=described` gives requests that say in words what their pictures show, and
needs none); `vlguard` and `holisafe`, requests that are to be declined (unsafe) or served (safe;
`check=input`); a file of yours (JSON, JSONL, CSV, Parquet) with columns request, image, answer and
label, or as `map` names them. `labels` says what the values of label mean.

The log has recall and false positive rate, with errors clustered by image, precision and F1, all of
the unsafe class, average precision (`auprc`) where verdicts have a score, the share of verdicts
that cannot be read (`unparsed`), and the seconds of the guard's calls (`latency_p50`,
`latency_p95`). An unparsed verdict is neither safe nor unsafe: it is left out, and `..._low` and
`..._high` say what the rates would be if all of them had been wrong, or right. What a guard skips
(a text guard a blank request, an image guard a request without an image) it lets pass.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from inspect_ai import Epochs, Task, task
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import Model, ModelName, ModelOutput, get_model, model_roles
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.after_run import listen
from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Card, as_metadata, register
from vlmguard.guard.decision import Verdict
from vlmguard.guard.defense import Conversation, Defense, check_options, defense_named
from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.guard_models.asked import ROLE, asking
from vlmguard.guard.guard_models.base import Exchange, GuardModel, Side
from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.guard.guard_models.options import options_digest
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.record import DefenseRecord, recorded
from vlmguard.guard.roles import load_models, require_roles
from vlmguard.guard.task_options import TaskOptions
from vlmguard.scorers.at_a_glance import at_a_glance
from vlmguard.scorers.guard_verdict import MEASURES, guard_verdict
from vlmguard.scorers.metrics import vote
from vlmguard.tasks import msts
from vlmguard.tasks.attacking import under_attack
from vlmguard.tasks.benchmark import locate_data
from vlmguard.tasks.data.dataset import MissingImages, build_dataset
from vlmguard.tasks.labelled import LabelledSet
from vlmguard.tasks.labelled.benchmarks import BENCHMARKS, labelled_requests
from vlmguard.tasks.labelled.msts import labelled_answers
from vlmguard.tasks.labelled.own import labelled_file
from vlmguard.tasks.viewing import viewer

Pictures = Literal["shown", "described"]
_MSTS: Final = "msts"
_SIZES: Final = {_MSTS: 4000} | {
    name: sum(size or 0 for size in card.variants.values()) for name, card in BENCHMARKS.items()
}

CARD: Final = Card(
    name="guard_eval",
    title="Guards as classifiers",
    obtain="A file of yours with labels, or a set: see tasks/guard_eval.py.",
    size=lambda args: _SIZES.get(str(args.get("dataset", _MSTS))),
    roles={ROLE: "1, or as the format or defense says"},
    headline={"recall": "", "false_positive_rate": ""},
    measures=MEASURES,
    # Guards are rows of one table, as models are; which one ran is in the record of each sample.
    shown_elsewhere=("dataset", "map", "labels", "image_dir", "adapter", "defense", "options"),
    conditions=("form",),
)
register(CARD)


@task
def guard_eval(
    dataset: str = _MSTS,
    adapter: str | None = None,
    defense: str | None = None,
    options: dict[str, Any] | None = None,
    check: Side | None = None,
    map: dict[str, Any] | None = None,
    labels: dict[Any, str] | None = None,
    image_dir: str | None = None,
    pictures: Pictures = "shown",
    missing_images: MissingImages = "refuse",
    data_dir: str | None = None,
    revision: str | None = None,
    colour: Colour = "srgb",
    fit_images: bool = False,
    attack: str | None = None,
) -> Task:
    """A guard model or a defense as a classifier of labelled requests or answers.

    Args:
        dataset: `msts`, `vlguard`, `holisafe`, or a file.
        adapter: The format of the guard model.
        defense: A defense to measure in its place.
        options: Options of the format or the defense.
        check: `input` (requests) or `output` (answers); a set of ours allows one, and a file
            with answers means `output` by default.
        map: Columns of a file by role: `text`, `image`, `answer`, `label`, and those of
            `vlm_safety`.
        labels: What the values of the label mean: `{VALUE: safe|unsafe, ...}`.
        image_dir: Folder with the pictures of a file, or of `msts`.
        pictures: Of `msts`: `shown`, or `described` in words.
        missing_images: `refuse` to run, or leave out what lacks its picture and `count` it.
        data_dir: Folder with the data of a set of ours.
        revision: Hub branch, tag or commit of a set of ours.
        colour: `srgb` applies colour profiles, `as_is` ignores them.
        fit_images: Scale images that model APIs refuse for their size.
        attack: A static attack on every request, see `TaskOptions`.
    """
    listen()
    if check is not None:
        check_choice("-T check", check, get_args(Side))
    check_choice("-T pictures", pictures, get_args(Pictures))
    common = TaskOptions(
        judge="none",
        data_dir=data_dir,
        revision=revision,
        colour=colour,
        fit_images=fit_images,
        attack=attack,
    )
    if (adapter is None) == (defense is None):
        raise UserError(
            "Either -T adapter= (the format of the evaluated guard model) or -T defense= is needed."
        )
    own = {"map": map, "labels": labels}
    found = _labelled(dataset, common, own, image_dir, pictures)
    side = _side(found, check, own=dataset not in _SIZES)
    if defense is not None:
        step = decides(defense, options)
        roles = _roles_of(_defense(defense, options), options or {})
    else:
        guard = _guard(str(adapter), options, side)
        step = classifies(str(adapter), options, side)
        roles = [role for role in guard.roles if role != ROLE]
    data, provenance = build_dataset(found.samples, found.source, found.files, missing_images)
    under = under_attack(common.attack, data, CARD)
    return Task(
        dataset=data,
        setup=[
            require_roles(*roles),
            guard_is_there(adapter, defense, options),
            *under.setup,
        ],
        solver=step,
        scorer=[guard_verdict(), at_a_glance()],
        headline_metric=HeadlineMetric(scorer="guard_verdict", score="guard_verdict", metric="f1"),
        epochs=Epochs(1, vote()),
        version="1-A",
        tags=under.tags or None,
        viewer=viewer(CARD, ["guard_verdict.flagged", "guard_verdict.correct"], target=True),
        metadata={
            "benchmark": CARD.title,
            "variant": f"{found.name}, {side}",
            "data": provenance,
            "measures": as_metadata(MEASURES),
            "form": found.form,
            **under.metadata,
        },
    )


@solver
def guard_is_there(
    adapter: str | None, defense: str | None, options: dict[str, Any] | None = None
) -> Solver:
    """Find the guard before anything is paid for.

    Args:
        adapter: The format of the guard model.
        defense: The defense in its place.
        options: Options of either.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if defense is not None:
            if _is_named(get_model()):
                raise UserError(
                    f"-T defense={defense}: no answer is asked for, so that the target "
                    f"{get_model()} would only be named. Give --model none."
                )
            await _defense(defense, options).ready(None)
            return state
        model = _evaluated()
        await load_models(model)
        with asking(model):
            await guard_format(str(adapter), options).ready()
        return state

    return solve


@solver
def classifies(adapter: str, options: dict[str, Any] | None, side: Side) -> Solver:
    """Let the guard model check each request or answer.

    Args:
        adapter: Its format.
        options: Options of the format.
        side: What is checked.
    """
    guard = guard_format(adapter, options)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        conversation = _conversation(state)
        answer = str(state.metadata["answer"]) if side == "output" else None
        exchange = Exchange(conversation, answer)
        with recorded(state, adapter, conversation.text, guard.version) as record:
            record.template = options_digest(options)
            if skipped := guard.skipped(exchange):
                return _judged(state, record, Verdict(raw=skipped, label="safe"), skipped)
            model = _evaluated()
            with asking(model):
                checked = await guard.check(exchange)
            record.stages += checked.stages
            record.failure = checked.failure or None
            return _judged(state, record, checked.verdict)

    return solve


@solver
def decides(defense: str, options: dict[str, Any] | None) -> Solver:
    """Let a defense decide about each request.

    Args:
        defense: Its name.
        options: Its options.
    """
    made = _defense(defense, options)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        conversation = _conversation(state)
        with recorded(state, defense, conversation.text, made.card.version) as record:
            decision = await made.decide(conversation, record)
            record.template = record.template or options_digest(options)
            score = decision.verdict.score if decision.verdict else None
            label: Literal["safe", "unsafe"] = "unsafe" if decision.flags else "safe"
            return _judged(
                state,
                record,
                Verdict(
                    raw=f"{decision.action}: {decision.reason}",
                    label=None if decision.failure or record.failure else label,
                    categories=decision.verdict.categories if decision.verdict else (),
                    score=score,
                ),
                record.skipped,
            )

    return solve


def _labelled(
    dataset: str,
    options: TaskOptions,
    own: Mapping[str, Any],
    image_dir: str | None,
    pictures: Pictures,
) -> LabelledSet:
    if dataset in _SIZES:
        for name, value in own.items():
            if value is not None:
                raise UserError(f"-T {name}=: the columns of {dataset} are known. Drop it.")
    if pictures == "described" and dataset != _MSTS:
        raise UserError(f"-T pictures=described: {dataset} has no such words, msts has. Drop it.")
    if dataset == _MSTS:
        return labelled_answers(locate_data(msts.CARD, options), pictures, image_dir)
    if dataset in BENCHMARKS:
        if image_dir:
            raise UserError(f"-T image_dir=: pictures of {dataset} are in its folder. Drop it.")
        return labelled_requests(dataset, options)
    if "." not in dataset:
        raise UserError(
            f"-T dataset={dataset}: neither a file nor one of {', '.join(_SIZES)}."
            f"{did_you_mean(dataset, _SIZES)} Choose one, or name a file with labels "
            f"(.csv, .jsonl, .json, .parquet)."
        )
    if options.data_dir or options.revision:
        raise UserError("-T data_dir= and -T revision= go with sets of ours; drop them.")
    return labelled_file(dataset, image_dir, own["map"], own["labels"], options.images)


def _side(found: LabelledSet, check: Side | None, *, own: bool) -> Side:
    """What is checked; refuses what the labels are not about."""
    answers = [sample for sample in found.samples if "answer" in (sample.metadata or {})]
    about: Side = "output" if answers else "input"
    side = check or about
    if side == "output" and not answers:
        raise UserError(
            f"-T check=output: {found.name} has no answers"
            + (" (-T 'map={answer: COLUMN}' names their column)." if own else ".")
            + " Use -T check=input."
        )
    if side == "input" and answers and not own:
        raise UserError(f"-T check=input: the labels of {found.name} are about answers. Drop it.")
    if side == "output":
        for sample in answers:
            if not str((sample.metadata or {})["answer"]).strip():
                raise UserError(
                    f"{found.files[0]}: {sample.id}: its answer is blank. Correct the record, or "
                    f"leave it out."
                )
    return side


def _guard(adapter: str, options: dict[str, Any] | None, side: Side) -> GuardModel:
    guard = guard_format(adapter, options)
    if side not in guard.sides:
        raise UserError(
            f"-T adapter={adapter}: it checks {' and '.join(guard.sides)} alone, and the labels of "
            f"this set are about {side}. Choose another set or format."
        )
    return guard


def _defense(name: str, options: dict[str, Any] | None) -> Defense:
    chosen = defense_named(name)
    check_options(chosen, name, options or {}, "-T options:")
    made = chosen(**(options or {}))
    if made.needs_output:
        raise UserError(
            f"-T defense={name}: it reads the answer, so that it cannot decide about a request "
            f"alone. Measure it on a benchmark with --solver {name}."
        )
    deciding = [part for part in made.card.parts if part.reads == "request"]
    if not any(not part.option or (options or {}).get(part.option) for part in deciding):
        ways = "".join(f", or give it the option {part.option}" for part in deciding)
        raise UserError(
            f"-T defense={name}: no part of it decides about requests, it treats all alike. "
            f"Measure it on a benchmark with --solver {name}{ways}."
        )
    return made


def _roles_of(defense: Defense, options: Mapping[str, Any]) -> list[str]:
    return [role.name for role in defense.card.roles if role.needed and role.option not in options]


def _evaluated() -> Model:
    """The guard model: the evaluated model, or that of the role."""
    bound, model = model_roles().get(ROLE), get_model()
    if bound is None:
        if not _is_named(model):
            raise UserError("No guard model: name it with --model, or --model-role guard=.")
        return model
    if _is_named(model):
        raise UserError(
            f"--model {model} and --model-role {ROLE}=: which is the guard? Name one of them "
            f"(--model none with the role)."
        )
    if isinstance(bound, list):
        raise UserError(f"--model-role {ROLE}=: one guard model at a time is measured.")
    return bound


def _is_named(model: Model) -> bool:
    return ModelName(model).api != "none"


def _conversation(state: TaskState) -> Conversation:
    return Conversation(list(state.messages), name=f"Sample {state.sample_id}", epoch=state.epoch)


def _judged(
    state: TaskState, record: DefenseRecord, verdict: Verdict, skipped: str = ""
) -> TaskState:
    """Leave the verdict in the record, and its words as the sample's output."""
    record.verdict = verdict
    record.skipped = skipped
    record.triggered = verdict.label == "unsafe"
    state.output = ModelOutput.from_content(get_model().name, verdict.raw)
    return state
