"""ETA's alignment: best of N by reward and utility, for each sentence or for the whole answer."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelName,
    ModelOutput,
)

from vlmguard.guard.defense import Conversation, Target, UnusableReply, call_each
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import parts_of
from vlmguard.guard.record import DefenseRecord, Stage
from vlmguard.guard.roles import continues_prefix, is_local
from vlmguard.guard.sampling import Server, in_full
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.thinking import split_thinking
from vlmguard.solvers.eta.scorers import Scorers

PREFIX: Final = "As an AI assistant"

OPENING_TEMPLATE: Final = (
    """\
{request}

Begin your answer with the words: """
    + PREFIX
)

STOP: Final = "."
SENTENCE_TOKENS: Final = 70
TEMPERATURE: Final = 1.5
TOP_K: Final = 5
WHOLE_TEMPERATURE: Final = 1.0
"""Ours, for whole answers: most APIs that draw them lack the top_k that goes with the authors' 1.5.
"""
KEEP_STOP: Final[dict[str, dict[str, Any]]] = {
    "vllm": {"include_stop_str_in_output": True},
    "sglang": {"no_stop_trim": True},
}
"""Servers that continue a trailing assistant message, and how each is told to keep the stop string
in the text, which distinguishes the end of a sentence from the end of the text. Local models keep
it anyway.
"""

TRIMS_TOKENS: Final = "vllm"
"""The server that cuts the text after the stop string, perhaps within a token, as local models do:
many tokenizers have a token ".\\n\\n", and without its line breaks a list becomes one line. The
log-probabilities name the whole token; SGLang keeps it whole itself.
"""

CONTINUE: Final = {"add_generation_prompt": False, "continue_final_message": True}
"""How both servers are told to continue; Inspect does this only for `vllm/` and `sglang/`."""


@dataclass(frozen=True)
class Draw:
    """How candidates are drawn and chosen.

    Attributes:
        target: The model.
        conversation: What the user sent.
        scorers: Reward and utility.
        rubric: Prompt of the reward model.
        alpha: Weight of the utility term.
        n: Number of candidates.
        tokens: The most new tokens of an answer (> 0).
        server: The server of the target, if its provider does not tell.
    """

    target: Target
    conversation: Conversation
    scorers: Scorers
    rubric: str
    alpha: float
    n: int
    tokens: int
    server: Server | None = None

    @property
    def images(self) -> list[str]:
        """The images that the request may mean."""
        return self.conversation.seen

    @property
    def has_utility(self) -> bool:
        """Whether the utility can be computed: there are an image and CLIP."""
        return bool(self.images) and self.scorers.image_role is None


@dataclass(frozen=True)
class Candidate:
    """A continuation.

    Attributes:
        text: The text without its thinking. If it ended in the stop string, it includes the whole
            last token.
        ended: Whether the model ended its text here, not only a sentence.
        full: Whether the context is full, so that no text can follow.
        thought: Whether it is only thinking, and so not a continuation.
        tokens: Its number of tokens, if the provider tells it.
    """

    text: str
    ended: bool
    full: bool
    thought: bool = False
    tokens: int | None = None


def check_continues(target: Model, continues: bool, server: Server | None) -> None:
    """Refuse a target that would start a new answer instead of continuing one.

    Args:
        target: The model.
        continues: Whether the user says that an unknown provider continues a prefix.
        server: The server of the target, if the user names it.

    Raises:
        UserError: It is not known to continue a prefix.
    """
    if not continues and not continues_prefix(server or ModelName(target).api):
        raise UserError(
            f"eta decodes sentence by sentence, but {target} is not known to continue a prefix "
            f"(hf-vlm/ and {', '.join(f'{name}/' for name in KEEP_STOP)} are). Use -S server=vllm "
            "or -S server=sglang if one of these serves it, -S decoding=response (approximate), or "
            "-S continues=true if its provider continues a trailing assistant message and keeps "
            "stop strings in the text."
        )


async def by_sentence(draw: Draw, record: DefenseRecord) -> tuple[str, bool, int]:
    """Write an answer sentence by sentence, after the prefix.

    Args:
        draw: How candidates are drawn and chosen.
        record: Gets the calls.

    Returns:
        The answer with the prefix, whether it is complete, and the number of sentences.

    Raises:
        UnusableReply: All candidates were only thinking.
    """
    asked = draw.conversation.without_prefill
    text = PREFIX
    left = draw.tokens
    k = 1
    choices = False
    while True:
        limit = min(SENTENCE_TOKENS - 1 if k == 1 else SENTENCE_TOKENS, left)
        output = await draw.target.model.generate(
            [*asked, ChatMessageAssistant(content=text)], config=_sentence_config(draw, limit)
        )
        candidates = read_candidates(output)
        if candidates and all(each.full and not each.text for each in candidates):
            record.add_stage(_stage(f"sentence {k}", output, candidates))
            _note_bare(text, record)
            return text, False, k - 1  # the text so far fills the context
        if len(candidates) != draw.n:
            raise UserError(
                f"{draw.conversation.name}: {draw.target.model} gave {len(candidates)} answers "
                f"where {draw.n} were asked for "
                "(num_choices). Use -S decoding=response."
            )
        record.add_stage(_stage(f"sentence {k}", output, candidates))
        candidates = [candidate for candidate in candidates if not candidate.thought]
        if not candidates:
            raise UnusableReply("only_thinking", output.choices[0].message.text)
        if text.endswith("\n"):
            # Many chat templates drop this white space, and the model writes it again.
            candidates = [replace(each, text=each.text.lstrip("\n")) for each in candidates]

        texts = [candidate.text for candidate in candidates]
        choices = choices or len(set(texts)) > 1
        scores = await draw.scorers.score(
            draw.rubric, [text + each for each in texts], record, f"rewards {k}"
        )
        any_ended = any(candidate.ended for candidate in candidates)
        if k > 1 and not any_ended and draw.has_utility:
            utility = await draw.scorers.similarity(draw.images, texts, record, f"utility {k}")
            scores = [r + draw.alpha / k * c for r, c in zip(scores, utility, strict=True)]
        best = best_of(scores, texts)
        winner = candidates[best]

        text += winner.text
        left -= winner.tokens or tokens_of(best, texts, output, limit)
        if winner.ended or winner.full or not winner.text or left <= 0:
            _note_equal(draw, record, choices)
            _note_bare(text, record)
            return text, winner.ended, k
        k += 1


async def by_response(draw: Draw, record: DefenseRecord) -> tuple[str, bool, int]:
    """Draw whole answers, in separate calls, and take the best.

    Args:
        draw: How candidates are drawn and chosen.
        record: Gets the calls.

    Returns:
        The answer, whether it is complete, and 1.

    Raises:
        UnusableReply: None of the candidates is an answer.
    """
    opening = OPENING_TEMPLATE.removeprefix("{request}").strip()
    begun = Conversation(draw.conversation.with_addition(opening, "suffix"))
    record.rewritten = begun.text
    messages = begun.without_prefill

    async def answer(seed: int) -> ModelOutput:
        # Each has its own seed: equal requests would get the same answer, from Inspect's cache or
        # by a fixed seed.
        config = GenerateConfig(temperature=WHOLE_TEMPERATURE, max_tokens=draw.tokens, seed=seed)
        return await draw.target(list(messages), in_full(draw.target.model, config, draw.server))

    # Each epoch has seeds of its own.
    first = 1 + (draw.conversation.epoch - 1) * draw.n
    seeds = range(first, first + draw.n)
    outputs = await call_each(answer, seeds, record, "candidate", "target")
    if not all(output.choices for output in outputs):
        raise RuntimeError(
            f"{draw.conversation.name}: {draw.target.model} left one of {draw.n} candidates "
            "unanswered."
        )

    found = [(said.text, said.kind) for said in map(read_output, outputs) if said.is_answer]
    if not found:
        raise UnusableReply("no_candidate", outputs[0].completion)
    texts = [text for text, _ in found]
    _note_equal(draw, record, len(texts) == 1 or len(set(texts)) > 1)
    scores = await draw.scorers.score(draw.rubric, texts, record, "rewards")
    if draw.has_utility:
        utility = await draw.scorers.similarity(draw.images, texts, record, "utility")
        scores = [r + draw.alpha * c for r, c in zip(scores, utility, strict=True)]
    best = best_of(scores, texts)
    return texts[best], found[best][1] == "answer", 1


def read_candidates(output: ModelOutput) -> list[Candidate]:
    """Read candidates: whether each ended a sentence or the text, or is only thinking.

    A model that stops, but not at the stop string, has ended its text.
    """
    return [_candidate(choice) for choice in output.choices]


def best_of(scores: list[float], texts: list[str]) -> int:
    """The index of the highest score; of equal scores, the first whose text is not empty.

    Args:
        scores: One or more.
        texts: As many. An empty text would end the answer, so it wins only if it alone is best.
    """
    return max(range(len(scores)), key=lambda place: (scores[place], bool(texts[place].strip())))


def tokens_of(index: int, texts: list[str], output: ModelOutput, limit: int) -> int:
    """Estimate the tokens of one candidate, since usage is reported for all together.

    Args:
        index: Index of the candidate.
        texts: The texts of all candidates.
        output: Their output.
        limit: The most tokens of one candidate; used if no usage is reported.

    Returns:
        Its share of the tokens by length of text, from 1 to `limit`.
    """
    length = sum(len(text) for text in texts)
    if output.usage is None or not length:
        return limit
    share = output.usage.output_tokens * len(texts[index]) / length
    return min(limit, max(1, round(share)))


def _candidate(choice: ChatCompletionChoice) -> Candidate:
    message = choice.message
    thoughts, text = split_thinking(message.text)
    reasoned = any(part.type == "reasoning" for part in parts_of(message))
    noted = choice.logprobs.content if choice.logprobs else []
    if noted and not thoughts:
        text += _behind_stop(text, noted[-1].token)
    if thoughts and text[:1].isalnum():
        text = f" {text}"  # it was stripped, but follows the prefix
    return Candidate(
        text=text,
        ended=choice.stop_reason == "stop" and STOP not in text,
        full=choice.stop_reason not in ("stop", "max_tokens"),
        thought=not text and (bool(thoughts) or reasoned),
        tokens=len(noted) or None,
    )


def _behind_stop(text: str, token: str) -> str:
    """The rest of the last token after the stop string, if the text was cut there."""
    before, stop, rest = token.partition(STOP)
    return rest if stop and text.endswith(before.lstrip() + stop) else ""


def _sentence_config(draw: Draw, limit: int) -> GenerateConfig:
    provider = draw.server or ModelName(draw.target.model).api
    body = KEEP_STOP.get(provider, {})
    if draw.server:
        body = {**CONTINUE, **body}
    config = GenerateConfig(
        num_choices=draw.n,
        temperature=TEMPERATURE,
        top_k=TOP_K,
        max_tokens=limit,
        stop_seqs=[STOP],
    )
    if provider == TRIMS_TOKENS or is_local(provider):
        config.logprobs = True
    if body:
        config.extra_body = {**(draw.target.model.config.extra_body or {}), **body}
    return in_full(draw.target.model, config, draw.server)


def _note_bare(text: str, record: DefenseRecord) -> None:
    """Note an answer that is only the prefix, which stays the answer, as with the authors."""
    if text.strip() == PREFIX:
        record.failure = "bare_prefix"


def _note_equal(draw: Draw, record: DefenseRecord, choices: bool) -> None:
    """Note that all candidates were always equal, as if the target were greedy."""
    if draw.n > 1 and not choices:
        record.failure = "equal_candidates"


def _stage(name: str, output: ModelOutput, candidates: list[Candidate]) -> Stage:
    usage = output.usage
    return Stage(
        name=name,
        role="target",
        output=json.dumps([candidate.text for candidate in candidates], ensure_ascii=False),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        seconds=output.time,
        cost=usage.total_cost if usage else None,
    )
