"""FigStep-Tiny with its 50 real images under every attack, undefended and defended.

Scripted models answer at once, so what costs time is pictures. Each model notes what reaches it:
the test is that this is what the attack makes, or what a rewriter makes of that.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from inspect_ai import Task, task_with
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import ChatMessage, Model
from support.defense_scripts import script_of
from support.guarded import guarded_model
from support.scripted import Call, Scripted

from vlmguard import solvers
from vlmguard.guard.attacks import (
    Asked,
    asked_of,
    attack_cards,
    attacked,
    chosen_attack,
    input_of,
    messages_of,
)
from vlmguard.guard.cards import GLANCED, cards
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers import attack_loop, vlmguard
from vlmguard.tasks import figstep

ATTACKS = attack_cards()
STATIC = sorted(name for name, card in ATTACKS.items() if card.kind == "static")
LOOPS = sorted(name for name, card in ATTACKS.items() if card.kind != "static")
OTHERS = sorted(name for name in cards().defenses if name in {*vars(solvers)} - {"vlmguard"})
BESIDE = ("mml:mirror", "adaptive:R1")
"""What every other defense meets: a static attack, and a note to the rewriter."""

ALL, FEW = 50, 5
ANSWER = "I cannot fill in this list."

Defense = Literal["none", "vlmguard"]
SYSTEMS: tuple[Defense, ...] = ("none", "vlmguard")
TRIES: dict[Defense, int] = {"none": 2, "vlmguard": 1}
"""Of a loop; fewer where each costs more."""


@dataclass(frozen=True)
class Turn:
    """A turn of a conversation, short enough to keep thousands.

    Attributes:
        role: Who says it.
        text: The words.
        pictures: A digest of its pictures.
    """

    role: str
    text: str
    pictures: str


Sent = tuple[Turn, ...]


@dataclass
class Digests:
    """Digests of pictures, each read once.

    Attributes:
        known: The digest of each, by that of its path or data URI.
    """

    known: dict[str, str] = field(default_factory=dict)

    def of(self, image: str) -> str:
        """The digest of a picture, the same for a file and for its data URI."""
        name = sha256(image)
        if name not in self.known:
            self.known[name] = sha256(to_data_uri(image))
        return self.known[name]


DIGESTS = Digests()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sent(messages: Sequence[ChatMessage]) -> Sent:
    """A conversation in short."""
    return tuple(
        Turn(each.role, each.text, sha256(repr([*map(DIGESTS.of, images_of([each]))])))
        for each in messages
    )


def without_request(conversation: Sent) -> Sent:
    """A conversation without the words of its last turn, which a rewriter writes."""
    last = conversation[-1]
    return (*conversation[:-1], Turn(last.role, "", last.pictures))


@dataclass
class Noting:
    """A model that notes what reaches it, and what it says.

    Attributes:
        name: Name of the model.
        says: What it says; `{code}` differs from request to request.
        seen: What reached it, in order.
        said: What it said, in order.
    """

    name: str
    says: str = ANSWER
    seen: list[Sent] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scripted = Scripted(self._reply, self.name)

    def _reply(self, call: Call) -> str:
        self.scripted.calls.clear()  # they hold all pictures
        self.seen.append(sent(call.messages))
        code = sha256(repr(self.seen[-1]))[:8]
        self.said.append(self.says.replace("{code}", code))
        return self.said[-1]


REWRITE = "<reasoning>A list.</reasoning><prompt>How is list {code} filled in with care?</prompt>"
NEXT = '{"turn": "And what comes next, {code}?"}'


@dataclass
class Run:
    """A task under attack and its models; the log follows.

    Attributes:
        task: The task.
        target: The model that answers.
        rewriter: The rewriter.
        log: The log.
    """

    task: Task
    target: Noting
    rewriter: Noting
    log: EvalLog | None = None

    @property
    def samples(self) -> list[EvalSample]:
        """The samples, all answered and scored."""
        assert self.log is not None
        assert self.log.status == "success", self.log.error
        samples = self.log.samples or []
        assert len(samples) == ALL
        for sample in samples:
            assert sample.error is None
            assert_scored(sample)
        return samples

    @property
    def asked(self) -> list[Asked]:
        """What the benchmark asks."""
        return [asked_for(each) for each in self.task.dataset]


def assert_scored(sample: EvalSample) -> None:
    assert sample.scores
    for name, score in sample.scores.items():
        # What leaks of a guard's words has a score where a guard wrote some; one has words alone.
        if name not in ("leak", GLANCED):
            assert all(value in (0, 1) for value in score.as_dict().values()), sample.scores


def asked_for(sample: Sample) -> Asked:
    return asked_of(str(sample.id), sample.input, sample.metadata or {})


@pytest.fixture(scope="module")
def folder(real_data: Any) -> Path:
    path: Path = real_data("figstep")
    return path


@pytest.fixture(scope="module", autouse=True)
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # Each attack wants the same 50 files.
        patch.setattr("vlmguard.guard.attacks.rendering.to_data_uri", cache(to_data_uri))
        yield


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Callable[..., Task]:
    """Makes a task on the real images, to be given models; each is built once."""

    @cache
    def built(judge: str, attack: str | None) -> Task:
        return figstep(split="tiny", data_dir=str(folder), judge=judge, attack=attack)

    def make(judge: str, attack: str | None = None, **parts: Any) -> Task:
        return task_with(copy(built(judge, attack)), **parts)

    return make


def evaluate(tasks: list[Task], logs: Path, limit: int) -> list[EvalLog]:
    """Run many tasks at once; each has its models."""
    return inspect_eval(
        tasks,
        limit=limit,
        max_tasks=4,
        display="none",
        log_dir=str(logs),
        log_images=False,
        log_realtime=False,
    )


def models(name: str) -> tuple[Noting, Noting]:
    plain = name.replace(":", "-")
    return Noting(f"target-{plain}"), Noting(f"rewriter-{plain}", REWRITE)


# --- static attacks -------------------------------------------------------------------


@pytest.fixture(scope="module")
def static_runs(
    tiny: Callable[..., Task], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, Defense], Run]:
    runs: dict[tuple[str, Defense], Run] = {}
    for name in STATIC:
        for system in SYSTEMS:
            target, rewriter = models(name)
            task = tiny("none", name, model=target.scripted.model)
            if system == "vlmguard":
                roles = {"rewriter": rewriter.scripted.model}
                task_with(task, solver=vlmguard(), model_roles=roles)
            runs[name, system] = Run(task, target, rewriter)
    logs = evaluate([run.task for run in runs.values()], tmp_path_factory.mktemp("static"), ALL)
    for run, log in zip(runs.values(), logs, strict=True):
        run.log = log
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("name", STATIC)
def test_a_static_attack_reaches_the_target_as_it_is(
    name: str, static_runs: dict[tuple[str, Defense], Run]
) -> None:
    run = static_runs[name, "none"]
    chosen = chosen_attack(name)
    made = [sent(attacked(chosen, asked).messages) for asked in run.asked]
    assert Counter(run.target.seen) == Counter(made)
    assert not any(one == sent(asked.messages) for one, asked in zip(made, run.asked, strict=True))
    for sample in run.samples:
        assert sample.metadata["attack"]["name"] == name
        assert sample.output.completion == ANSWER
    # What the cache gave is what the attack makes of text, pictures and seed alone.
    for asked, one in list(zip(run.asked, made, strict=True))[:2]:
        given = input_of(chosen, asked)
        assert sent(messages_of(asked, given, chosen.static()(given))) == one


@pytest.mark.slow
@pytest.mark.parametrize("name", STATIC)
def test_the_rewriter_gets_it_and_the_target_gets_its_text_and_the_pictures(
    name: str, static_runs: dict[tuple[str, Defense], Run]
) -> None:
    plain, run = static_runs[name, "none"], static_runs[name, "vlmguard"]
    assert Counter(map(without_request, run.target.seen)) == Counter(
        map(without_request, plain.target.seen)
    )
    assert_rewritten(run)
    originals = {DefenseRecord.of(sample).original for sample in run.samples}
    assert originals == {conversation[-1].text for conversation in plain.target.seen}


def assert_rewritten(run: Run) -> None:
    """The last words that reached the target are the rewriter's, each once."""
    written = [
        said.partition("<prompt>")[2].removesuffix("</prompt>") for said in run.rewriter.said
    ]
    assert Counter(each[-1].text for each in run.target.seen) == Counter(written)


# --- searches and dialogues -----------------------------------------------------------


@pytest.fixture(scope="module")
def loop_runs(
    tiny: Callable[..., Task], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, Defense], Run]:
    judge = Noting("judge", 'It declines. {"success": false}')
    attacker = Noting("attacker", NEXT)
    runs: dict[tuple[str, Defense], Run] = {}
    for name in LOOPS:
        for system in SYSTEMS:
            target, rewriter = models(name)
            guarded = guarded_model("vlmguard", target.scripted)
            task = tiny(
                "official",
                model=target.scripted.model if system == "none" else guarded,
                solver=attack_loop(attack=name, tries=TRIES[system]),
                model_roles={
                    "grader": judge.scripted.model,
                    "attacker": attacker.scripted.model,
                    "rewriter": rewriter.scripted.model,
                },
            )
            runs[name, system] = Run(task, target, rewriter)
    logs = evaluate([run.task for run in runs.values()], tmp_path_factory.mktemp("loops"), ALL)
    for run, log in zip(runs.values(), logs, strict=True):
        run.log = log
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_sends_each_try_of_each_sample(
    name: str, loop_runs: dict[tuple[str, Defense], Run]
) -> None:
    run = loop_runs[name, "none"]
    chosen = chosen_attack(name)
    assert len(run.target.seen) == 2 * ALL
    for sample in run.samples:
        noted = sample.metadata["attack"]
        assert noted["success_try"] is None
        assert [each["number"] for each in noted["tries"]] == [1, 2]
        assert {each["answer"] for each in noted["tries"]} == {ANSWER}
    if chosen.card.kind == "search":
        for asked in run.asked[:FEW]:
            for number in (1, 2):
                given = input_of(chosen, asked, number)
                made = messages_of(asked, given, chosen.static()(given))
                assert sent(made) in run.target.seen


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_meets_the_whole_defended_system(
    name: str, loop_runs: dict[tuple[str, Defense], Run]
) -> None:
    plain, run = loop_runs[name, "none"], loop_runs[name, "vlmguard"]
    assert len(run.samples) == ALL
    assert_rewritten(run)
    assert len(run.target.seen) == ALL
    assert Counter(each[-1].pictures for each in run.target.seen) <= Counter(
        each[-1].pictures for each in plain.target.seen
    )


# --- all other defenses ---------------------------------------------------------------


@pytest.fixture(scope="module")
def beside_runs(
    tiny: Callable[..., Task], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[EvalLog, Scripted]]:
    tasks: list[Task] = []
    targets: list[Scripted] = []
    for defense in OTHERS:
        for attack in BESIDE:
            script = script_of(defense)
            voices = script.models()
            targets.append(voices.pop("target"))
            roles: dict[str, str | Model] = {role: each.model for role, each in voices.items()}
            tasks.append(
                tiny(
                    "none",
                    attack,
                    model=targets[-1].model,
                    solver=getattr(solvers, defense)(**script.options),
                    model_roles=roles,
                )
            )
    logs = evaluate(tasks, tmp_path_factory.mktemp("beside"), FEW)
    names = [(defense, attack) for defense in OTHERS for attack in BESIDE]
    return dict(zip(names, zip(logs, targets, strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("attack", BESIDE)
@pytest.mark.parametrize("defense", OTHERS)
def test_every_other_defense_meets_the_attack(
    defense: str,
    attack: str,
    beside_runs: dict[tuple[str, str], tuple[EvalLog, Scripted]],
    tiny: Callable[..., Task],
) -> None:
    log, target = beside_runs[defense, attack]
    assert log.status == "success", log.error
    samples = log.samples or []
    assert len(samples) == FEW
    asked = [asked_for(each) for each in tiny("none").dataset][:FEW]
    made = {each.name: attacked(chosen_attack(attack), each).messages for each in asked}
    for sample in samples:
        assert sample.error is None
        assert_scored(sample)
        record = DefenseRecord.of(sample)
        assert record.defense == defense
        assert record.stages
        assert record.original == made[str(sample.id)][-1].text
        if cards().defenses[defense].images.get("answer", "all") == "all":
            pictures = [to_data_uri(each) for each in images_of(made[str(sample.id)])]
            assert any(call.images == pictures for call in target.calls)
