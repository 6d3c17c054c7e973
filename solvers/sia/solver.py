r"""SIA: the target infers the intent behind image and request, then answers in its light.

SIA: Enhancing Safety via Intent Awareness for Vision-Language Models
Authors: see the paper; 2025, https://arxiv.org/abs/2507.16856

    inspect eval tasks/siuo.py --solver sia --model M --model-role grader=G
    inspect eval tasks/siuo.py --solver sia -S fused=true --model M --model-role intent=R ...

1. Caption: the images are described, without the request.
2. Intent: from images, caption and request, step by step and after examples (few-shot), to two last
   lines, `Intent: ...` and `Risk: none|low|high`.
3. Answer: the target gets images and request as they are, with the intent and the risk in a note
   behind them: it refuses or warns of what is harmful, and helps with the rest.

The target does all three. A model in the role `captioner` or `intent` does the first or the second
instead. Cost: 3 target calls, 2 with `fused=true` (caption and intent in one) or without an image,
1 with both roles.

`high` is an `unsafe` verdict: the aim is to do harm, or the answer would do it whoever asks. `low`
is a `safe` one: the aim is harmless, but a danger must be named. The verdict's category is the risk
where there is one. The note is behind every request, so every answered sample is a `rewrite`, with
the reason `no risk`, `low risk` or `high risk`, which is the record's `outcome` too, and counted
in tables (`refused` and `unusable` for replies of no use). The intent is the decision's `hazard`
where there is a risk; it stands in the record's notes, and the caption in its stages.

A reply of stage 2 that does not end so, says two different things, or has a placeholder for an
intent (`none`) is the failure `no_intent` (`cut_off`, `refused` and `unsupported_images` have their
own names) and follows `on_failure`: with `original`, stage 3 gets the request alone, without a
note. A missing caption is noted as `no_caption`, and stage 2 goes on with what it sees itself. Of
several images, those of earlier turns included, both stages see all in one call. Without an image
there is no caption (nor a fused one), and stage 2 reads the request alone. Earlier turns are shown
as text; system turns are not.

Deviations: the stages and their order are the authors'. Their prompts and examples could not be
confirmed, nor the form of the intent, the levels of risk, the place of the note, and whether the
caption knows the request (`caption_query_aware=true`), or stage 2 sees the image; all of these are
ours. Questions are asked greedily, with at most 1,024 tokens (`--max-tokens` gives more to a target
that thinks first). Another model in a role, and `fused`, are noted as approximations.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from inspect_ai.model import GenerateConfig
from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import Calls, DefenseCard, Part, Role
from vlmguard.guard.decision import ON_FAILURE, Decision, OnFailure, Verdict
from vlmguard.guard.defense import (
    Conversation,
    Defense,
    Helper,
    Target,
    register_defense,
    unusable,
)
from vlmguard.guard.errors import check_choice
from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.guard_models.labelled import agreed, labelled_lines
from vlmguard.guard.guard_models.material import material
from vlmguard.guard.messages import user_message
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.refusals import only_refuses
from vlmguard.guard.rewriter.words import is_blank
from vlmguard.guard.templates import fill, load_template, load_templates, template_hash
from vlmguard.guard.text.reading import to_read
from vlmguard.guard.text.untrusted import disarm
from vlmguard.solvers.defended import defended, options_of
from vlmguard.solvers.sia.prompts import (
    ANSWER_TEMPLATE,
    CAPTION_TEMPLATE,
    EXAMPLES,
    FUSED_TEMPLATE,
    INTENT_TEMPLATE,
    QUERY_AWARE_TEMPLATE,
)

NO_CAPTION: Final = "(no description)"
NO_IMAGE: Final = "(no image)"
_QUESTION: Final = GenerateConfig(temperature=0.0, max_tokens=1024)

Risk = Literal["none", "low", "high"]
RISKS: Final[dict[str, Risk]] = {"none": "none", "low": "low", "high": "high"}


@dataclass(frozen=True)
class Intent:
    """What stage 2 says.

    Attributes:
        text: The intent, in one line.
        risk: The risk.
    """

    text: str
    risk: Risk


def read_intent(reply: str) -> Intent | None:
    """Read the reply of stage 2.

    Args:
        reply: The reply, without thinking.

    Returns:
        Its last two lines as an intent. None if they are something else, if the intent says nothing
        (`none`, `<intent>`), or if another line gives another intent or risk: a model may go on
        with an example of its own.
    """
    lines = [line for line in reply.replace("：", ":").splitlines() if line.strip(" \t`")]
    if list(labelled_lines("\n".join(lines[-2:]))) != ["intent", "risk"]:
        return None
    said = labelled_lines("\n".join(lines))
    risk = agreed(said["risk"], RISKS)
    intent, *others = dict.fromkeys(said["intent"])
    if risk is None or others or is_blank(intent):
        return None
    return Intent(intent, RISKS[risk])


def _calls(args: Mapping[str, Any], bound: Collection[str]) -> Mapping[str, Calls]:
    """Whose the first two calls are, and whether they are one."""
    fused = bool(args.get("fused"))
    intent = int("intent" in bound)
    caption = Calls(0, 0) if fused else Calls(0, 1, "with an image")
    own = 2 - intent
    return {
        "captioner": caption if "captioner" in bound else Calls(0, 0),
        "intent": Calls(intent, intent),
        "target": Calls(own, own)
        if fused or "captioner" in bound
        else Calls(own, own + 1, "with an image"),
    }


CARD: Final = DefenseCard(
    name="sia",
    title="SIA",
    version="2-A",
    paper="https://arxiv.org/abs/2507.16856",
    summary="caption, then the intent behind image and request, then an answer in its light",
    target_calls=Calls(1, 3, "if it captions and infers"),
    roles=(
        Role("captioner", Calls(0, 1, "in the target's place"), needed=False),
        Role("intent", Calls(0, 1, "in the target's place"), needed=False),
    ),
    images={"caption": "all", "intent": "all", "answer": "all"},
    options=("fewshot", "fused", "caption_query_aware", "on_failure", "templates"),
    fidelity="the authors' stages; prompts and examples are ours, theirs could not be confirmed",
    blind_to="harm that is not inferred, or inferred and ignored: nobody checks the answer",
    parts=(
        Part(
            name="SIA: intent",
            reads="request",
            positive="sees a risk, low or high",
            acted=lambda record: (
                None if record.found_harm is None else record.notes["risk"] != "none"
            ),
            wrote=lambda record: record.notes.get("intent"),
            stages=("intent",),
        ),
    ),
    calls=_calls,
)


@register_defense
class SIA(Defense):
    """Infer the intent behind image and request, and let the target answer in its light.

    Args:
        fewshot: Text file with examples that replace ours.
        fused: Ask for caption and intent in one call.
        caption_query_aware: Show the request to the captioner.
        on_failure: What to do if the intent cannot be read: send the `original` request without a
            note, `refuse` it (no answer is asked for), or let the sample fail (`raise`).
        templates: Folder with prompts that replace ours: `caption.txt`, `caption_query_aware.txt`
            (field `{material}`: the request with its earlier turns), `intent.txt` (`{examples}`,
            `{caption}`, `{material}`), `fused.txt` (`{examples}`, `{material}`), `answer.txt`
            (`{intent}`, and if wanted `{risk}`).
    """

    card = CARD

    def __init__(
        self,
        fewshot: str | None = None,
        fused: bool = False,
        caption_query_aware: bool = False,
        on_failure: OnFailure = "original",
        templates: str | None = None,
    ) -> None:
        check_choice("-S on_failure", on_failure, ON_FAILURE)
        self.examples = load_template(EXAMPLES, fewshot, ())
        self.fused = fused
        self.on_failure = on_failure
        blind, aware, self.intent_prompt, self.fused_prompt, self.answer_prompt = load_templates(
            {
                "caption": (CAPTION_TEMPLATE, ()),
                "caption_query_aware": (QUERY_AWARE_TEMPLATE, ("material",)),
                "intent": (INTENT_TEMPLATE, ("examples", "caption", "material")),
                "fused": (FUSED_TEMPLATE, ("examples", "material")),
                "answer": (ANSWER_TEMPLATE, ("intent",)),
            },
            templates,
        ).values()
        self.caption_prompt = aware if caption_query_aware else blind
        asked = (self.fused_prompt,) if fused else (self.caption_prompt,)
        self.template = template_hash(self.examples, *asked, self.intent_prompt, self.answer_prompt)

    async def ready(self, target: Target | None) -> None:
        """Find who is asked."""
        for role in self._asked:
            Helper.of(role, target, self.card.name)

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        """Note prompts and deviations."""
        helpers = [Helper.of(role, target, self.card.name) for role in self._asked]
        bound = [f"{helper.name}: another model" for helper in helpers if helper.model is not None]
        sampling = dict.fromkeys(each for helper in helpers for each in helper.approximations)
        record.template = self.template
        record.approximations = [
            *(["fused=true"] if self.fused else []),
            *bound,
            *sampling,
        ]

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Stages 1 and 2, and the note for stage 3."""
        told = material(Exchange(conversation))
        if self.fused and conversation.seen:
            question = fill(self.fused_prompt, examples=self.examples, material=told)
        else:
            caption = await self._caption(conversation, told, record, target)
            question = fill(
                self.intent_prompt, examples=self.examples, caption=caption, material=told
            )
        helper = Helper.of("intent", target, self.card.name)
        turn = user_message(conversation.seen, question)
        said = await helper.reply("intent", [turn], _QUESTION, record)
        found = read_intent(said.text) if said.kind == "answer" else None
        if found is None:
            record.verdict = Verdict(raw=said.text, label=None)
            failed = unusable(said, "no_intent")
            record.outcome = failed.outcome
            raise failed
        record.notes = {"intent": found.text, "risk": found.risk}
        note = fill(self.answer_prompt, intent=disarm(found.text, "intent"), risk=found.risk)
        noted = Conversation(conversation.with_addition(note, "suffix"))
        record.rewritten = noted.text
        risky = found.risk != "none"
        record.outcome = f"{found.risk if risky else 'no'} risk"
        return Decision(
            "rewrite",
            noted.text,
            record.outcome,
            hazard=found.text if risky else "",
            verdict=Verdict(
                raw=said.text,
                label="unsafe" if found.risk == "high" else "safe",
                categories=(found.risk,) if risky else (),
            ),
            messages=noted.messages,
        )

    @property
    def _asked(self) -> tuple[str, ...]:
        return ("intent",) if self.fused else ("captioner", "intent")

    async def _caption(
        self, conversation: Conversation, told: str, record: DefenseRecord, target: Target | None
    ) -> str:
        """Stage 1."""
        if not conversation.seen:
            return NO_IMAGE
        helper = Helper.of("captioner", target, self.card.name)
        turn = user_message(conversation.seen, fill(self.caption_prompt, material=told))
        said = await helper.reply("caption", [turn], _QUESTION, record)
        if said.is_answer and not is_blank(said.text) and not only_refuses(said.text):
            return to_read(said.text)
        record.failure = "no_caption"
        return NO_CAPTION


@solver
@options_of(SIA)
def sia(**options: Any) -> Solver:
    return defended(SIA(**options))
