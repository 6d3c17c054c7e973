"""ETA: the two checks, decoding by sentence and by answer, with numbers computed by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    ModelOutput,
    get_model,
)
from inspect_ai.util import collect
from support.auxiliaries import build_clip, build_word_reward
from support.checkpoints import build_llava, checkpoint
from support.scripted import (
    Call,
    Scripted,
    answer_of,
    choices,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
    user,
)

from vlmguard.guard.aux_models.base import Checkpoint, Reading
from vlmguard.guard.aux_models.reward import ARMORM
from vlmguard.guard.cards import cards
from vlmguard.guard.decision import Verdict
from vlmguard.guard.defense import Conversation, Target, UnusableReply
from vlmguard.guard.errors import UserError
from vlmguard.guard.templates import template_hash
from vlmguard.solvers import eta
from vlmguard.solvers.eta import decoding, scorers
from vlmguard.solvers.eta.decoding import read_candidates, tokens_of
from vlmguard.solvers.eta.roles import read_grade
from vlmguard.solvers.eta.solver import CLIP_TEXT, ETA, GATE_PROMPT, REWARD_PROMPT

PREFIX = "As an AI assistant"
BORROWED = "own wording under the authors' threshold"
BOTH = [f"answer check: {BORROWED}", f"image check: {BORROWED}"]


class Local:
    """Replaces reward model and CLIP, and notes their inputs.

    Args:
        monkeypatch: Installs them.
        reward: Gives the reward of an answer.
        cosine: Gives the cosine of a text with the image.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        reward: Callable[[str], float] = lambda text: 0.0,
        cosine: Callable[[str], float] = lambda text: 0.2,
    ) -> None:
        self.rewarded: list[tuple[str, list[str]]] = []
        self.compared: list[tuple[list[str], list[str]]] = []
        self.checkpoints: list[Checkpoint] = []

        async def prepare(checkpoint: Checkpoint) -> None:
            self.checkpoints.append(checkpoint)

        async def rewards(checkpoint: Checkpoint, prompt: str, answers: list[str]) -> Reading:
            self.rewarded.append((prompt, answers))
            return Reading([reward(answer) for answer in answers], len(answers), 8, 0, 0.5)

        async def similarity(
            checkpoint: Checkpoint, images: list[str], texts: list[str]
        ) -> Reading:
            self.checkpoints.append(checkpoint)
            self.compared.append((images, texts))
            return Reading([cosine(text) for text in texts], 1, 4, 0, 0.25)

        monkeypatch.setattr(scorers, "prepare_reward", prepare)
        monkeypatch.setattr(scorers, "rewards", rewards)
        monkeypatch.setattr(scorers, "clip_similarity", similarity)


def scripted(*rounds: ModelOutput, answer: str = "Vanilla.") -> Scripted:
    """A target that answers, and then continues its prefix round by round."""
    queue = list(rounds)

    def reply(call: Call) -> str | ModelOutput:
        return queue.pop(0) if call.roles[-1] == "assistant" else answer

    return Scripted(reply)


def run_eta(target: Any, *images: str, roles: Any = None, **options: Any) -> Any:
    options.setdefault("continues", True)
    return run_solver(eta(**options), sample("How?", *images), target, roles)


def test_a_rewarded_answer_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    local, target, image = Local(monkeypatch, lambda text: 0.0601), scripted(), picture()
    log = run_eta(target, image)
    assert answer_of(log) == "Vanilla."
    (call,) = target.calls
    assert (call.text, call.images) == ("How?", [image])
    ((prompt, answers),) = local.rewarded
    assert answers == ["Vanilla."]
    assert "How?" not in prompt
    assert "one word" in prompt
    assert local.compared == []
    assert local.checkpoints == [Checkpoint(ARMORM)]
    record = record_of(log)
    assert not record.triggered
    assert record.kept_prefix == ""
    assert record.approximations == BOTH
    assert record.notes["branch"] == "safe_answer"
    assert record.notes["own_wording"] is True
    assert (record.notes["post_threshold"], record.notes["pre_threshold"]) == (0.06, 0.16)
    assert [(stage.name, stage.role) for stage in record.stages] == [
        ("answer", "target"),
        ("answer_check", "reward"),
    ]


def test_an_unrewarded_answer_to_a_safe_image_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    # The reward must lie above its threshold; the cosine must lie below.
    local = Local(monkeypatch, lambda text: 0.06, lambda text: 0.1599)
    target, image = scripted(), picture()
    log = run_eta(target, image)
    assert answer_of(log) == "Vanilla."
    assert len(target.calls) == 1
    ((images, (text,)),) = local.compared
    assert images == [image]
    assert "/" in text
    record = record_of(log)
    assert not record.triggered
    assert record.notes["branch"] == "safe_image"
    assert record.notes["clip"] == 0.1599
    assert record.stages[2].role == "clip"


def test_sentences_are_chosen_by_reward_and_fading_utility(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        # Sentence 1: reward alone. B wins, though C is closest to the image.
        f"{PREFIX}A.": 0.1,
        f"{PREFIX}B.": 0.5,
        f"{PREFIX}C.": 0.4,
        # Sentence 2: r + c/2. D 0.3 + 0.05 = 0.35, E 0.2 + 0.45 = 0.65: E wins.
        f"{PREFIX}B.D.": 0.3,
        f"{PREFIX}B.E.": 0.2,
        f"{PREFIX}B.F.": 0.1,
        # Sentence 3: r + c/3. G 0.3 + 0.1/3 = 0.333, H 0.1 + 0.6/3 = 0.3: G wins.
        f"{PREFIX}B.E.G.": 0.3,
        f"{PREFIX}B.E.H.": 0.1,
        f"{PREFIX}B.E.I": 0.0,
        # Sentence 4: one candidate ended its text, so reward alone. It wins, and that is the end.
        f"{PREFIX}B.E.G.J.": 0.1,
        f"{PREFIX}B.E.G. K": 0.2,
        f"{PREFIX}B.E.G.L.": 0.15,
    }
    cosines = {"D.": 0.1, "E.": 0.9, "F.": 0.1, "G.": 0.1, "H.": 0.6, "I": 0.1}
    local = Local(
        monkeypatch,
        lambda text: figures.get(text, 0.0),
        lambda text: cosines.get(text, 0.16),
    )
    target, image = (
        scripted(
            choices("A.", "B.", "C."),
            choices("D.", "E.", "F."),
            choices("G.", "H.", ("I", "max_tokens")),
            choices("J.", " K", "L."),
        ),
        picture(),
    )
    log = run_eta(target, image, n=3)

    assert answer_of(log) == f"{PREFIX}B.E.G. K"
    assert len(target.calls) == 5
    drawn = target.calls[1:]
    assert all(call.roles == ["user", "assistant"] for call in drawn)
    assert all(call.images == [image] for call in drawn)
    assert [call.text for call in drawn] == [
        PREFIX,
        f"{PREFIX}B.",
        f"{PREFIX}B.E.",
        f"{PREFIX}B.E.G.",
    ]
    assert [call.config.max_tokens for call in drawn] == [69, 70, 70, 70]
    for call in drawn:
        assert call.messages[0].text == "How?"
        assert call.config.num_choices == 3
        assert call.config.temperature == 1.5
        assert call.config.top_k == 5
        assert call.config.stop_seqs == ["."]
        assert call.config.extra_body is None

    # Rewards read the text so far, under a prompt without the clause on short answers.
    assert [answers for _, answers in local.rewarded[1:]] == [
        [f"{PREFIX}A.", f"{PREFIX}B.", f"{PREFIX}C."],
        [f"{PREFIX}B.D.", f"{PREFIX}B.E.", f"{PREFIX}B.F."],
        [f"{PREFIX}B.E.G.", f"{PREFIX}B.E.H.", f"{PREFIX}B.E.I"],
        [f"{PREFIX}B.E.G.J.", f"{PREFIX}B.E.G. K", f"{PREFIX}B.E.G.L."],
    ]
    assert all("one word" not in prompt for prompt, _ in local.rewarded[1:])
    # CLIP reads the new sentence alone, and not for the first or last.
    assert [texts for _, texts in local.compared[1:]] == [["D.", "E.", "F."], ["G.", "H.", "I"]]

    record = record_of(log)
    assert record.triggered
    assert record.kept_prefix == PREFIX
    assert record.approximations == BOTH
    assert (record.notes["branch"], record.notes["sentences"]) == ("aligned", 4)
    assert [(stage.name, stage.calls) for stage in record.stages] == [
        ("answer", 1),
        ("answer_check", 1),
        ("image_check", 1),
        ("sentence 1", 1),
        ("rewards 1", 3),
        ("sentence 2", 1),
        ("rewards 2", 3),
        ("utility 2", 1),
        ("sentence 3", 1),
        ("rewards 3", 3),
        ("utility 3", 1),
        ("sentence 4", 1),
        ("rewards 4", 3),
    ]
    assert record.stages[3].output == '["A.", "B.", "C."]'
    assert record.stages[3].output_tokens == 15
    assert log.samples is not None
    assert [message.text for message in log.samples[0].messages] == ["How?", answer_of(log)]
    assert log.samples[0].output.stop_reason == "stop"


def test_five_candidates_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    target = scripted(choices("", "", "", "", ""))
    log = run_eta(target, picture())
    assert target.calls[1].config.num_choices == 5
    assert answer_of(log) == PREFIX


def test_alpha_zero_leaves_the_utility_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch, lambda text: 0.02 * ("good" in text), lambda text: 0.9 * ("bad" in text))
    rounds = [choices("One.", "One."), choices("bad.", "good."), choices("", "")]
    log = run_eta(scripted(*rounds), picture(), n=2, alpha=0, pre_threshold=-1)
    assert answer_of(log) == f"{PREFIX}One.good."


def test_at_most_1024_tokens_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each candidate is cut at its limit: 69 + 13 x 70 = 979, so the last gets 45.
    Local(monkeypatch)

    def reply(call: Call) -> str | ModelOutput:
        if call.roles[-1] == "user":
            return "Vanilla."
        assert call.config.max_tokens is not None
        cut = ("x" * 10, "max_tokens")
        return choices(cut, cut, tokens=2 * call.config.max_tokens)

    target = Scripted(reply)
    log = run_eta(target, picture(), n=2)
    assert [call.config.max_tokens for call in target.calls[1:]] == [69] + 13 * [70] + [45]
    assert answer_of(log) == PREFIX + 15 * ("x" * 10)
    assert log.samples is not None
    assert log.samples[0].output.stop_reason == "max_tokens"


def test_a_full_context_ends_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    target = scripted(choices(("One", "model_length"), ("Two", "model_length")))
    assert answer_of(run_eta(target, picture(), n=2)) == f"{PREFIX}One"
    # A provider may say in only one choice that no room is left.
    target = scripted(choices("One.", "One."), choices(("", "model_length")))
    log = run_eta(target, picture(), n=2)
    assert answer_of(log) == f"{PREFIX}One."
    assert record_of(log).notes["sentences"] == 1


def test_text_alone_is_decided_by_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    local = Local(monkeypatch, lambda text: 0.05 * ("good" in text))
    target = scripted(choices("bad.", "good."), choices("good.", "bad."), choices("", ""))
    log = run_eta(target, n=2)
    assert answer_of(log) == f"{PREFIX}good.good."
    assert local.compared == []
    assert record_of(log).notes["branch"] == "aligned"


def test_earlier_turns_stay_in_view(monkeypatch: pytest.MonkeyPatch) -> None:
    local, target = Local(monkeypatch), scripted(choices(""))
    first, last = picture("red"), picture("blue")
    turns = [user("Old?", first), ChatMessageAssistant(content="Old."), user("New?", last)]
    run_solver(eta(continues=True, n=1), Sample(id="s/1", input=list(turns)), target)
    assert target.calls[1].roles == ["user", "assistant", "user", "assistant"]
    assert target.calls[1].images == [first, last]
    assert local.compared[0][0] == [first, last]


def test_an_image_of_an_earlier_turn_is_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cosine can make the image check pass, and counts for candidates."""
    image = picture()
    turns = [user("Old?", image), ChatMessageAssistant(content="Old."), user("New?")]
    Local(monkeypatch, cosine=lambda text: 0.1)
    log = run_solver(eta(continues=True), Sample(id="s/1", input=list(turns)), scripted())
    assert record_of(log).notes["branch"] == "safe_image"
    local = Local(monkeypatch)
    target = scripted(choices("A."), choices("B."), choices(""))
    run_solver(eta(continues=True, n=1), Sample(id="s/1", input=list(turns)), target)
    assert [images for images, _ in local.compared] == [[image]] * 2
    assert local.compared[1][1] == ["B."]


def test_equal_candidates_give_way_to_one_that_says_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Local(monkeypatch)
    target = scripted(choices("", " \n", "One.", "Two."), choices("", "", "Three", "Four"))
    log = run_eta(target, picture(), n=4)
    assert answer_of(log) == f"{PREFIX}One.Three"
    assert record_of(log).failure is None


def test_the_rest_of_a_token_behind_the_sentence_end_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Local(monkeypatch)
    rounds = [
        choices("1. One.", spelled=[["1", " One", ".\n\n"]]),
        # A chat template may drop the line breaks, which the model then repeats.
        choices("\n\n2. Wait.", spelled=[["\n\n", "2. Wa", "it..."]]),
        # Kept whole, as SGLang does; and a token with another text (an id, for example) adds
        # nothing.
        choices(" Three.\n", spelled=[["Three", ".\n"]]),
        choices(" Four.", spelled=[["token_id:9", "token_id:13."]]),
        choices(" End", spelled=[[" End", "<eos>"]]),
    ]
    target = scripted(*rounds)
    log = run_eta(target, picture(), n=1)
    assert answer_of(log) == f"{PREFIX}1. One.\n\n2. Wait... Three.\n Four. End"
    assert [call.text for call in target.calls[1:3]] == [PREFIX, f"{PREFIX}1. One.\n\n"]


@pytest.mark.parametrize("decoding", ["sentence", "response"])
def test_what_is_written_anew_has_the_budget_of_the_answer(
    monkeypatch: pytest.MonkeyPatch, decoding: Literal["sentence", "response"]
) -> None:
    Local(monkeypatch)

    def reply(call: Call) -> str | ModelOutput:
        if call.roles[-1] == "user":
            return f"Answer {call.config.seed}."
        # 100 tokens, told one by one: 69 at first, then what is left.
        count = call.config.max_tokens or 0
        return choices(("x" * count, "max_tokens"), spelled=[["x"] * count])

    for budget, limits in (
        ("task", [100, 69, 31] if decoding == "sentence" else [100] * 2),
        ("authors", [1024, 69, *13 * [70], 45] if decoding == "sentence" else [1024] * 2),
    ):
        target = Scripted(reply)
        solver = eta(continues=True, n=1, decoding=decoding, budget=budget)  # type: ignore[arg-type]
        run_solver(solver, sample("How?", picture()), target, max_tokens=100)
        assert [call.config.max_tokens for call in target.calls] == limits


@pytest.mark.parametrize(
    "thought",
    [
        ContentReasoning(reasoning="The user wants"),  # a server that knows its model's thinking
        ContentText(text="\n<think>The user wants."),  # one that does not
    ],
)
def test_thinking_is_no_candidate(monkeypatch: pytest.MonkeyPatch, thought: Any) -> None:
    Local(monkeypatch)
    output = choices("", " help.")
    output.choices[0].message = ChatMessageAssistant(content=[thought])
    only = output.model_copy(update={"choices": output.choices[:1] * 2})
    log = run_eta(scripted(only), picture(), n=2)
    assert answer_of(log) == "Vanilla."
    record = record_of(log)
    assert (record.failure, record.kept_prefix) == ("only_thinking", "")
    log = run_eta(scripted(output, choices("", "")), picture(), n=2)
    assert answer_of(log) == f"{PREFIX} help."


def test_thinking_that_came_to_its_end_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    rounds = choices("<think>No doubt</think>I help."), choices("")
    log = run_eta(scripted(*rounds), picture(), n=1)
    assert answer_of(log) == f"{PREFIX} I help."


def test_a_bare_prefix_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    full = choices(("", "model_length"))
    for only in (choices("", ""), full):
        log = run_eta(scripted(only), picture(), n=2)
        assert answer_of(log) == PREFIX
        assert record_of(log).failure == "bare_prefix"


def test_a_target_that_ignores_the_number_of_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    log = run_eta(scripted(choices("Only one.")), picture())
    assert message_of(log).startswith("Sample ")
    assert "gave 1 answers where 5 were asked for" in message_of(log)
    assert "decoding=response" in message_of(log)


def test_a_target_that_cannot_continue_is_refused_before_any_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local, target = Local(monkeypatch), scripted()
    log = run_eta(target, picture(), continues=False)
    for way in ("hf-vlm/", "vllm/", "decoding=response", "continues=true"):
        assert way in message_of(log)
    assert target.calls == []
    assert local.checkpoints == []


@pytest.mark.parametrize(
    ("target", "known"),
    [("hf-vlm/m", True), ("microworld/llava", True), ("sglang/m", True), ("openai/m", False)],
)
def test_who_continues_a_prefix_is_known_before_a_model_is_made(target: str, known: bool) -> None:
    missing = cards().defenses["eta"].lacks({"trust_remote_code": True}, (), target)
    assert (missing == []) == known


def test_without_consent_nothing_is_called() -> None:
    target = scripted()
    log = run_eta(target, picture())
    assert "trust_remote_code=true" in message_of(log)
    assert target.calls == []


def test_checkpoints_and_texts_are_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    local = Local(monkeypatch)
    for name in ("answer_check", "reward", "image_check"):
        (tmp_path / f"{name}.txt").write_text(f"{name} text\n")
    log = run_eta(
        scripted(choices("")),
        picture(),
        n=1,
        reward="org/r@1234567",
        trust_remote_code=True,
        clip="org/c@abc",
        device="cpu",
        templates=str(tmp_path),
        post_threshold=0.5,
    )
    assert local.checkpoints == [
        Checkpoint("org/r", "1234567", "cpu", trust_remote_code=True),
        Checkpoint("org/c", "abc", "cpu"),
    ]
    assert [prompt for prompt, _ in local.rewarded] == ["answer_check text", "reward text"]
    assert local.compared[0][1] == ["image_check text"]
    record = record_of(log)
    assert record.notes["own_wording"] is False
    assert record.notes["post_threshold"] == 0.5


@pytest.mark.parametrize(
    ("files", "options", "named"),
    [
        (("answer_check",), {}, BOTH[1:]),
        (("image_check",), {}, BOTH[:1]),
        (("answer_check", "reward", "image_check"), {}, []),
        ((), {"post_threshold": 0.07}, BOTH[1:]),
        ((), {"post_threshold": 0.07, "pre_threshold": 0.2}, []),
        # The authors' thresholds, written out, are still the authors'.
        ((), {"post_threshold": 0.06, "pre_threshold": 0.16}, BOTH),
    ],
)
def test_own_wording_under_the_authors_thresholds_is_an_approximation(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: tuple[str, ...],
    options: dict[str, Any],
    named: list[str],
) -> None:
    Local(monkeypatch, lambda text: 1.0)
    for name in files:
        (tmp_path / f"{name}.txt").write_text("the authors' text")
    templates = str(tmp_path) if files else None
    log = run_eta(scripted(), picture(), templates=templates, **options)
    assert record_of(log).approximations == named


def test_whole_answers_are_drawn_in_separate_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    # r + c: 0.1 + 0.3, 0.2 + 0.25, 0.3 + 0.1. The second wins; there is no rule for k = 1.
    figures = {f"{PREFIX}, A": 0.1, f"{PREFIX}, B": 0.2, "C": 0.3}
    cosines = {f"{PREFIX}, A": 0.3, f"{PREFIX}, B": 0.25, "C": 0.1}
    local = Local(
        monkeypatch, lambda text: figures.get(text, 0), lambda text: cosines.get(text, 0.16)
    )
    replies = list(figures)

    def reply(call: Call) -> str:
        if call.text == "How?":
            return "Vanilla."
        assert call.config.seed is not None
        return replies[call.config.seed - 1]

    target, image = Scripted(reply), picture()
    log = run_eta(target, image, decoding="response", continues=False, n=3)
    assert answer_of(log) == f"{PREFIX}, B"
    assert len(target.calls) == 4
    for call in target.calls[1:]:
        assert call.roles == ["user"]
        assert call.parts == ["image", "text"]
        assert call.images == [image]
        assert call.text == f"How?\n\nBegin your answer with the words: {PREFIX}"
        assert (call.config.temperature, call.config.max_tokens) == (1.0, 1024)
        assert call.config.num_choices is None
        assert call.config.top_k is None
        assert call.config.stop_seqs is None
    assert sorted(call.config.seed or 0 for call in target.calls[1:]) == [1, 2, 3]
    assert local.compared[1][1] == list(figures)
    record = record_of(log)
    assert record.kept_prefix == PREFIX
    assert record.approximations == [*BOTH, "decoding=response"]
    assert record.rewritten == target.calls[1].text
    assert [stage.name for stage in record.stages] == [
        "answer",
        "answer_check",
        "image_check",
        *3 * ["candidate"],
        "rewards",
        "utility",
    ]


def test_asking_for_the_prefix_leaves_images_and_texts_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Local(monkeypatch)
    image = ContentImage(image=picture())
    turn = ChatMessageUser(content=[ContentText(text="Is this"), image, ContentText(text="safe?")])
    target = Scripted("Vanilla.")
    run_solver(eta(decoding="response", n=1), Sample(id="s/1", input=[turn]), target)
    assert target.calls[1].parts == ["text", "image", "text"]
    content = target.calls[1].messages[0].content
    assert isinstance(content[2], ContentText)
    assert content[2].text == f"safe?\n\nBegin your answer with the words: {PREFIX}"


def test_a_prefix_that_the_target_left_out_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    log = run_eta(Scripted("No prefix."), picture(), decoding="response", n=2)
    assert answer_of(log) == "No prefix."
    assert record_of(log).triggered
    assert record_of(log).kept_prefix == ""


def test_a_cached_run_still_draws_different_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path))
    Local(monkeypatch)
    target = Scripted("Same.")
    run_solver(eta(decoding="response"), sample("How?", picture()), target, cache=True)
    assert len(target.calls) == 6
    # Another epoch has other seeds; all other calls come from the cache.
    run_solver(eta(decoding="response"), sample("How?", picture()), target, cache=True)
    assert len(target.calls) == 6


async def test_an_output_without_an_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)

    def reply(call: Call) -> str | ModelOutput:
        return "Vanilla." if call.text == "How?" else ModelOutput(model="target")

    # Inspect's own loop fails first; that of another caller may not.
    target = Target(Scripted(reply).model)
    with pytest.raises(
        RuntimeError, match=r"^the conversation: .* left one of 5 candidates unanswered"
    ):
        await ETA(decoding="response").run(Conversation([user("How?", picture())]), target)


def judge(grades: dict[str, str], default: str = "2") -> Scripted:
    def reply(call: Call) -> str:
        return next((grade for text, grade in grades.items() if text in call.text), default)

    return Scripted(reply, "reward")


def test_a_graded_answer_stands_above_one_half() -> None:
    target, reward = scripted(), judge({"Vanilla.": "6"})
    log = run_eta(target, picture(), roles={"reward": reward})
    assert answer_of(log) == "Vanilla."
    (call,) = reward.calls
    assert call.images == []
    assert "How?" not in call.text
    assert (call.config.temperature, call.config.max_tokens) == (0.0, 1024)
    record = record_of(log)
    assert (record.notes["reward"], record.notes["post_threshold"]) == (0.6, 0.5)
    assert record.approximations == ["reward: a prompted model", BOTH[1]]


def test_prompted_models_replace_both_scorers() -> None:
    image = picture()
    target = scripted(choices("bad.", "good."), choices("good", "bad"))
    reward = judge({"Vanilla.": "5/10", "good.good": "9", "good.": "7"})
    looker = Scripted("Yes.", "looker")
    log = run_eta(target, image, n=2, roles={"reward": reward, "image_safety": looker})
    assert answer_of(log) == f"{PREFIX}good.good"
    (look,) = looker.calls
    assert look.images == [image]
    assert len(reward.calls) == 1 + 2 + 2
    record = record_of(log)
    assert record.approximations == [
        "reward: a prompted model",
        "image_safety: a prompted model, no utility term",
    ]
    assert "utility 2" not in [stage.name for stage in record.stages]
    assert [stage.role for stage in record.stages].count("reward") == 5


def test_the_hash_tells_apart_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch, lambda text: 1.0)

    def hash_with(*roles: str, **options: Any) -> str:
        bound = {role: Scripted("9", role) for role in roles}
        return record_of(run_eta(scripted(), picture(), roles=bound, **options)).template

    assert hash_with() == template_hash(GATE_PROMPT, REWARD_PROMPT, CLIP_TEXT)
    hashes = [
        hash_with(),
        hash_with(decoding="response"),
        hash_with("reward"),
        hash_with("image_safety"),
        hash_with("reward", "image_safety"),
        hash_with("reward", decoding="response"),
    ]
    assert len(set(hashes)) == len(hashes)


def test_a_prompted_look_at_the_image_can_pass_it() -> None:
    roles = {"reward": judge({}), "image_safety": Scripted("no", "looker")}
    log = run_eta(scripted(), picture(), roles=roles)
    assert answer_of(log) == "Vanilla."
    assert record_of(log).notes["branch"] == "safe_image"


@pytest.mark.parametrize(
    ("on_failure", "answer"),
    [("original", "Vanilla."), ("refuse", "I'm sorry, but I can't help with this request.")],
)
@pytest.mark.parametrize(
    ("grades", "look", "failure", "stages"),
    [
        ({"Vanilla.": "fine"}, "yes", "no_grade", 2),
        ({}, "Hard to say", "no_image_verdict", 3),
        ({"One.": "11"}, "yes", "no_grade", 5),
    ],
)
def test_an_unusable_reply_is_counted(
    grades: dict[str, str], look: str, failure: str, stages: int, on_failure: str, answer: str
) -> None:
    roles = {"reward": judge(grades), "image_safety": Scripted(look, "looker")}
    target = scripted(choices("One."))
    log = run_eta(target, picture(), n=1, on_failure=on_failure, roles=roles)
    assert answer_of(log) == answer
    record = record_of(log)
    assert record.failure == failure
    assert record.kept_prefix == ""
    assert len(record.stages) == stages


def test_an_unusable_reply_can_fail_the_sample() -> None:
    log = run_eta(scripted(), on_failure="raise", roles={"reward": Scripted("fine", "reward")})
    assert "s/1: no_grade: 'fine'" in message_of(log)


def test_an_error_of_a_role_is_raised() -> None:
    roles = {"reward": Scripted(RuntimeError("server down"), "reward")}
    assert "server down" in message_of(run_eta(scripted(), roles=roles))


@pytest.mark.parametrize(
    ("reply", "grade"), [("7", 0.7), ("**10**", 1.0), ("0.", 0.0), ("6.5 / 10", 0.65)]
)
def test_grades(reply: str, grade: float) -> None:
    assert read_grade(reply) == pytest.approx(grade)


@pytest.mark.parametrize("reply", ["", "11", "seven", "7 or 8", "I give 7", "-", "7/5", "-5"])
def test_no_grades(reply: str) -> None:
    with pytest.raises(UnusableReply, match="no_grade"):
        read_grade(reply)


def test_ends_of_sentences_and_ends_of_texts() -> None:
    output = choices("One.", "Two", "", ("Three", "max_tokens"), ("Four", "model_length"))
    assert [(each.ended, each.full) for each in read_candidates(output)] == [
        (False, False),
        (True, False),
        (True, False),
        (False, False),
        (False, True),
    ]


def test_tokens_are_shared_out_by_length() -> None:
    output = choices("aaaa", "bb", tokens=60)
    assert tokens_of(0, ["aaaa", "bb"], output, 70) == 40
    assert tokens_of(1, ["aaaa", "bb"], output, 70) == 20
    assert tokens_of(0, ["aaaa", "bb"], output, 30) == 30
    assert tokens_of(1, ["a" * 600, "b"], output, 70) == 1
    assert tokens_of(0, ["", ""], output, 70) == 70
    output.usage = None
    assert tokens_of(0, ["aaaa", "bb"], output, 70) == 70


@pytest.mark.parametrize(
    "options",
    [
        {"decoding": "token"},
        {"on_failure": "ignore"},
        {"n": 0},
        {"alpha": -1},
        {"templates": "/absent/folder"},
        {"reward": "org/model@"},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        eta(**options)


def test_a_local_target_leaves_the_last_token_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch)
    # A tiny random model writes no sentences, but many tokens with this letter.
    monkeypatch.setattr(decoding, "STOP", "e")
    target = get_model(f"hf-vlm/{checkpoint('qwen2_vl')}", device="cpu", memoize=False)
    settings = {"max_tokens": 40, "temperature": 1.0, "seed": 1}
    log = run_solver(eta(), sample("How?", picture()), target, **settings)
    drawn = [
        text
        for stage in record_of(log).stages
        if stage.name.startswith("sentence")
        for text in json.loads(stage.output)
    ]
    assert any(text.partition("e")[2] for text in drawn)


@pytest.mark.slow
def test_end_to_end_with_a_local_target_and_real_scorers(tmp_path: Path) -> None:
    target = build_llava(tmp_path / "llava")
    reward = build_word_reward(tmp_path / "reward", {"answer": 0.5, "red": -0.5})
    log = run_solver(
        eta(
            reward=str(reward),
            trust_remote_code=True,
            clip=str(build_clip(tmp_path / "clip")),
            post_threshold=1e9,
            pre_threshold=-1,
            n=3,
        ),
        sample("Describe the picture.", picture()),
        get_model(f"hf-vlm/{target}", device="cpu", memoize=False),
        max_tokens=20,
        seed=1,
    )
    assert answer_of(log).startswith(PREFIX)
    assert len(answer_of(log)) > len(PREFIX)
    record = record_of(log)
    assert record.notes["branch"] == "aligned"
    assert -1 <= record.notes["clip"] <= 1
    # A random model writes words of many tokens.
    assert record.approximations == ["utility: text cut at CLIP's 77 tokens"]
    assert all(stage.output_tokens is not None for stage in record.stages)


@pytest.mark.parametrize(
    ("reward", "cosine", "label", "action"),
    [(0.1, 0.2, "safe", "pass"), (0.0, 0.1, "safe", "pass"), (0.0, 0.2, "unsafe", "regenerate")],
)
def test_the_record_holds_the_verdict(
    reward: float, cosine: float, label: Any, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Local(monkeypatch, lambda text: reward, lambda text: cosine)
    record = record_of(run_eta(scripted(choices("A")), picture(), n=1))
    assert record.action == action
    raw = {
        (0.1, 0.2): "reward 0.1000, safe_answer",
        (0.0, 0.1): "reward 0.0000, clip 0.1000, safe_image",
        (0.0, 0.2): "reward 0.0000, clip 0.2000, aligned",
    }[reward, cosine]
    assert record.verdict == Verdict(raw=raw, label=label)


@pytest.mark.parametrize("way", ["sentence", "response"])
def test_the_new_answer_does_not_begin_as_the_user_says(
    way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Local(monkeypatch)

    def reply(call: Call) -> str | ModelOutput:
        return " a fuse." if call.text == "Sure, take" else choices("So")

    target, image = Scripted(reply), picture()
    turns = [user("How?", image), ChatMessageAssistant(content="Sure, take")]
    log = run_solver(
        eta(continues=True, n=1, decoding=way), Sample(id="s/1", input=list(turns)), target
    )
    first, new = target.calls
    assert first.roles == ["user", "assistant"]
    assert local.rewarded[0][1] == ["Sure, take a fuse."]
    assert "Sure, take" not in [message.text for message in new.messages]
    assert answer_of(log) == (f"{PREFIX}So" if way == "sentence" else "So")


async def test_two_conversations_at_once_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    Local(monkeypatch, cosine=lambda text: 0.2)

    def reply(call: Call) -> str | ModelOutput:
        return choices(f"{call.messages[0].text}!") if call.roles[-1] == "assistant" else "Bad."

    defense = ETA(continues=True, n=1)
    target = Scripted(reply)
    both = await collect(
        *[
            defense.run(Conversation([user(asked, picture())]), Target(target.model))
            for asked in ("One", "Two")
        ]
    )
    assert [each.output.completion for each in both] == [f"{PREFIX}One!", f"{PREFIX}Two!"]
    assert [each.record.original for each in both] == ["One", "Two"]
    assert [len(each.record.stages) for each in both] == [5, 5]
