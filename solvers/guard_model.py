r"""Guard model: the filter that most teams run, before or after the model, or both.

    inspect eval tasks/siuo.py --solver guard_model -S adapter=custom \
        --model M --model-role guard=G --model-role grader=J
    inspect eval tasks/siuo.py --solver guard_model -S adapter=llama_guard -S check=both \
        -S on_flag=safe_prompt ...

1. With `check=input` or `both`, the guard model reads the request with its images.
2. The target answers, unless the request is refused.
3. With `check=output` or `both`, the guard model reads the request and the answer.

`adapter` is the format in which the guard is asked and answers (`guard/guard_models/formats.py`);
the options of the format follow by name (`-S policy=FILE`). What is done is `on_flag`:

| `on_flag` | a flagged request | a flagged answer |
| --- | --- | --- |
| `refuse` | refused; the target is not asked | refused |
| `rewrite` | rewritten by the role `rewriter` as by `vlmguard` | as with `regenerate` |
| `safe_prompt` | goes on with a safety prompt | as with `regenerate` |
| `regenerate` | refused | once anew with the safety prompt; if flagged again, refused |

So `rewrite` and `safe_prompt` need a check of the request, and `regenerate` one of the answer.

An exchange is flagged if the verdict says so; with `threshold`, if its score reaches that, which
`vlmguard calibrate guard_model` sets. With `categories`, only if it names one of them, by code or
name, or none at all. With several scores of one answer (request and answer) the highest counts.

Cost: one target call and a guard call for each check; none of the target for a refused request;
one more of each for a regenerated answer. A format that sees one image a call makes one for each.

Deviations: no paper defines this filter. The fixed refusal, the safety prompts
(`safety_prompt.py`) and what is done on which side are ours. A safety prompt stands in the last
user turn, behind its text. Where a guard's reply cannot be read (`no_verdict`), it is no verdict,
and `on_failure` decides.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, Final, Literal

from inspect_ai.model import ChatMessage, ModelOutput
from inspect_ai.solver import Solver, solver

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import Calls, Check, DefenseCard, Part, Role
from vlmguard.guard.decision import ON_FAILURE, Decision, OnFailure, Verdict
from vlmguard.guard.defense import (
    Conversation,
    Defense,
    Target,
    UnusableReply,
    refusal,
    register_defense,
)
from vlmguard.guard.defense.base import Answered
from vlmguard.guard.errors import UserError, check_choice, check_number
from vlmguard.guard.guard_models.base import ROLE, Exchange, Side
from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.guard.guard_models.safety_prompt import SafetyPrompt
from vlmguard.guard.option_content import files_digest
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.rewriter.decision import OnRefusal
from vlmguard.guard.several_images import UNSUPPORTED
from vlmguard.guard.templates import template_hash
from vlmguard.guard.text.outputs import read_output
from vlmguard.solvers.defended import defended, options_of
from vlmguard.solvers.vlmguard import VLMGuard

SCORE: Final = "score"
"""The key of the highest score in a record's notes. None if a check that would have had one was
never made, because an earlier one had flagged the exchange."""

FLAGGED: Final = "flagged"
"""The key, in a record's notes, of what was flagged: `input` and `output`, if they were checked."""

OnFlag = Literal["refuse", "rewrite", "safe_prompt", "regenerate"]
ON_FLAG: Final = ("refuse", "rewrite", "safe_prompt", "regenerate")
CHECKS: Final = ("input", "output", "both")


def _flagged(side: Side) -> Callable[[DefenseRecord], bool | None]:
    """Whether a side was flagged; None if it was not checked, or its verdict was unreadable."""

    def flagged(record: DefenseRecord) -> bool | None:
        found: bool | None = record.notes.get(FLAGGED, {}).get(side)
        return found

    return flagged


def _calls(args: Mapping[str, Any], bound: Collection[str]) -> Mapping[str, Calls]:
    """The calls of each model for one sample, under these arguments."""
    check, on_flag = args.get("check", "input"), args.get("on_flag", "refuse")
    again = int(check != "input" and on_flag != "refuse")
    refuses = check != "output" and on_flag in ("refuse", "regenerate")
    sides = 1 + (check == "both")
    most = sides + again
    return {
        "target": Calls(0 if refuses else 1, 1 + again),
        ROLE: Calls(int(check != "output"), most, further_images=most),
        "rewriter": Calls(0, 2 if on_flag == "rewrite" else 0),
    }


def _lacks(args: Mapping[str, Any], bound: Collection[str], target: str) -> list[str]:
    """The roles that it needs and that have no model."""
    try:
        made = GuardFilter(**args)
    except UserError:
        return []  # whoever makes the solver says so
    return [f"no model for the role {role}" for role in made.roles if role not in bound]


CARD: Final = DefenseCard(
    name="guard_model",
    title="Guard model",
    version="2-A",
    paper="",
    summary="a guard model reads request, answer or both; what it flags is refused or changed",
    target_calls=Calls(0, 2, "if an answer is made anew"),
    roles=(
        Role(ROLE, Calls(0, 3, "as its options say", further_images=3), needed=False),
        Role("rewriter", Calls(0, 2, "if it rewrites"), needed=False),
    ),
    images={
        "guard_input": "format",
        "guard_output": "format",
        "rewrite": "all",
        "answer": "all",
        "regenerate": "all",
    },
    options=(
        "adapter",
        "check",
        "on_flag",
        "threshold",
        "categories",
        "on_failure",
        "on_refusal",
        "templates",
    ),
    notes={"adapter": "a format, with its options"},
    fidelity="formats of the guards' authors; what is done with a verdict is ours",
    blind_to="what the guard model does not see: some read text alone, or the image alone",
    checks=(Check("threshold", SCORE, low=False, bounds=(0.0, 1.0)),),
    all_checks={"threshold": 1.0},
    parts=(
        Part(
            name="Guard model: request",
            reads="request",
            positive="flags the request",
            acted=_flagged("input"),
            wrote=None,
            stages=("guard_input",),
        ),
        Part(
            name="Guard model: answer",
            reads="answer",
            positive="flags the answer",
            acted=_flagged("output"),
            stages=("guard_output",),
        ),
    ),
    lacks=_lacks,
    calls=_calls,
)


@register_defense
class GuardFilter(Defense):
    """Let a guard model check the request, the answer, or both.

    Args:
        adapter: The guard's format.
        check: What it reads: the request (`input`), the answer to it (`output`), or `both`.
        on_flag: What is done with what it flags: `refuse` it, `rewrite` a request, add a safety
            prompt to a request (`safe_prompt`), or `regenerate` an answer. `rewrite` and
            `safe_prompt` have a flagged answer made anew too, `regenerate` refuses a request.
        threshold: Flag from this score on (0 to 1), instead of by the guard's label.
        categories: Flag only these hazards, by the format's codes or names.
        on_failure: What to do if a guard's or rewriter's reply cannot be used: go on with the
            `original` request or answer, `refuse`, or let the sample fail (`raise`).
        on_refusal: What to do if the rewriter refuses: pass on the prompt with a fixed `caution`,
            or as for `on_failure`.
        templates: Folder of files that replace our safety prompts (`general.txt`, ...).
        **options: Options of the format.
    """

    card = CARD

    def __init__(
        self,
        adapter: str = "custom",
        check: Literal["input", "output", "both"] = "input",
        on_flag: OnFlag = "refuse",
        threshold: float | None = None,
        categories: str | Sequence[str] | None = None,
        on_failure: OnFailure = "original",
        on_refusal: OnRefusal = "caution",
        templates: str | None = None,
        **options: Any,
    ) -> None:
        check_choice("-S check", check, CHECKS)
        check_choice("-S on_flag", on_flag, ON_FLAG)
        check_choice("-S on_failure", on_failure, ON_FAILURE)
        if check == "output" and on_flag in ("rewrite", "safe_prompt"):
            raise UserError(
                f"-S on_flag={on_flag} changes the request, and -S check=output checks the answer "
                "alone: take check=input or both, or on_flag=regenerate."
            )
        if check == "input" and on_flag == "regenerate":
            raise UserError(
                "-S on_flag=regenerate makes an answer anew, and -S check=input checks the request "
                "alone: take check=output or both, or on_flag=safe_prompt."
            )
        self.guard = guard_format(adapter, options, signature(GuardFilter).parameters)
        wanted: tuple[Side, ...] = ("input", "output") if check == "both" else (check,)
        for side in wanted:
            if side not in self.guard.sides:
                able = ", ".join(self.guard.sides)
                raise UserError(f"-S check={check}: the format {adapter} checks {able} alone.")
        if threshold is not None:
            check_number("-S threshold", threshold, 0, 1)
            if not self.guard.scores:
                raise UserError(
                    f"-S threshold={threshold}: the format {adapter} gives labels without scores. "
                    "Leave it out."
                )
        self.sides = wanted
        self.needs_output = "output" in wanted
        # A beginning that the user has read cannot be made anew.
        self.checks_parts = self.needs_output and on_flag == "refuse"
        self.on_flag = on_flag
        self.threshold = threshold
        self.on_failure = on_failure
        self.categories = self._known(categories)
        self.prompt = SafetyPrompt(templates)
        files = files_digest(options)
        self.template = template_hash(self.prompt.hash, files) if files else self.prompt.hash
        self.rewriting = VLMGuard(on_failure=on_failure, on_refusal=on_refusal)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that need a model."""
        return (*self.guard.roles, *(("rewriter",) if self.on_flag == "rewrite" else ()))

    async def ready(self, target: Target | None) -> None:
        """Find the guard model, and the rewriter if it is needed."""
        await self.guard.ready()
        if self.on_flag == "rewrite":
            await self.rewriting.ready(target)

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        """Note the safety prompts and the settings."""
        record.template = self.template
        record.notes = {"adapter": self.guard.name, FLAGGED: {}}
        if self.threshold is not None:
            record.notes["threshold"] = self.threshold

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Check the request; a flagged one is refused or changed."""
        if "input" not in self.sides:
            return self.passed(conversation)
        exchange = Exchange(conversation)
        if reason := self.guard.skipped(exchange):
            record.skipped = reason
            return self.passed(conversation, reason)
        verdict, flagged = await self._check(exchange, record)
        if not flagged:
            return replace(self.passed(conversation), verdict=verdict)
        if self.on_flag == "rewrite":
            return await self._rewritten(conversation, record, target, verdict)
        if self.on_flag == "safe_prompt":
            messages = self._warned(conversation, verdict)
            text = Conversation(messages).text
            return self._decision("rewrite", verdict, request=text, messages=messages)
        return self._decision("block", verdict)

    async def after(
        self, answered: Answered, record: DefenseRecord
    ) -> tuple[Decision, ModelOutput]:
        """Check the answer; a flagged one is refused or made anew."""
        exchange = Exchange(answered.conversation, answered.text)
        if reason := self.guard.skipped(exchange):
            record.skipped = reason
            return answered.decision, answered.output
        verdict, flagged = await self._check(exchange, record)
        if not flagged:
            return replace(answered.decision, verdict=verdict), answered.output
        blocked = self._decision("block", verdict), refusal(answered.target.name)
        if self.on_flag == "refuse":
            return blocked
        return await self._regenerated(answered, record, verdict) or blocked

    async def _check(
        self, exchange: Exchange, record: DefenseRecord, again: bool = False
    ) -> tuple[Verdict, bool]:
        """Ask the guard; returns its verdict, and whether the exchange is flagged.

        Args:
            exchange: The request or the answer.
            record: Where the calls are noted; and score and flag, unless `again`.
            again: Whether an answer that was made anew is checked.
        """
        checked = await self.guard.check(exchange)
        record.stages.extend(checked.stages)
        verdict = checked.verdict
        record.verdict = verdict
        if not verdict.parsed:
            record.notes.pop(SCORE, None)
            # A guard without a word is no answer of the target, which has that name in records.
            said = UNSUPPORTED if checked.failure == UNSUPPORTED else "no_verdict"
            raise UnusableReply(said, verdict.raw)
        if self.threshold is None:
            flagged = verdict.label == "unsafe"
        elif verdict.score is None:
            raise UnusableReply("no_score", verdict.raw)
        else:
            flagged = verdict.score >= self.threshold
        named = {name.casefold() for name in verdict.categories}
        counts = not (self.categories and named) or not named.isdisjoint(self.categories)
        flagged = flagged and counts
        if not again:
            record.notes[FLAGGED][exchange.side] = flagged
            if verdict.score is not None:
                # A hazard that does not count raises no alarm under any threshold.
                score = verdict.score if counts else 0.0
                self._note_score(exchange.side, score, flagged, record)
        return verdict, flagged

    def _note_score(self, side: Side, score: float, flagged: bool, record: DefenseRecord) -> None:
        """Note the score of a check, and the highest, with which a threshold is compared."""
        scores = record.notes.setdefault("scores", {})
        scores[side] = score
        if flagged and side == "input" and self.needs_output:
            # What an answer to the unchanged request would score is not known, unless none can
            # score more.
            record.notes[SCORE] = 1.0 if score == 1.0 else None
        elif len(scores) == len(self.sides):
            record.notes.setdefault(SCORE, max(scores.values()))

    async def _rewritten(
        self,
        conversation: Conversation,
        record: DefenseRecord,
        target: Target | None,
        verdict: Verdict,
    ) -> Decision:
        noted = record.notes
        decision = await self.rewriting.before(conversation, record, target)
        record.notes = {**record.notes, **noted}
        record.template = template_hash(record.template, self.template)
        return replace(decision, verdict=verdict)

    async def _regenerated(
        self, answered: Answered, record: DefenseRecord, verdict: Verdict
    ) -> tuple[Decision, ModelOutput] | None:
        """An answer made anew with the safety prompt; None if it is flagged too."""
        decision, target = answered.decision, answered.target
        conversation = answered.conversation
        verdicts = [verdict]
        if decision.action == "rewrite" and self.on_flag == "safe_prompt":
            # The request has a safety prompt already; one for both verdicts takes its place.
            verdicts = [decision.verdict or verdict, verdict]
        elif decision.messages:
            conversation = Conversation(decision.messages)
        messages = self._warned(conversation, *verdicts)
        output = await target(messages, self.answering(target))
        record.add_call("regenerate", output, "target")
        anew = self._decision(
            "regenerate", verdict, request=Conversation(messages).text, messages=messages
        )
        if output.choices and output.message.tool_calls:
            record.skipped = "tool_call"
            return anew, output
        said = read_output(output)
        if not said.is_answer:
            if said.kind == "no_answer":
                record.failure = "no_answer"
            return anew, output
        text = answered.conversation.prefill + said.text
        try:
            second, flagged = await self._check(
                Exchange(answered.conversation, text), record, again=True
            )
        except UnusableReply as unusable:
            if self.on_failure != "original":
                raise
            # Without a verdict the new answer stands; the old one is known to be flagged.
            record.failure = unusable.reason
            return replace(anew, reason=unusable.reason, failure=unusable.reason), output
        return None if flagged else (replace(anew, verdict=second), output)

    def _warned(self, conversation: Conversation, *verdicts: Verdict) -> list[ChatMessage]:
        """The messages with the safety prompt for the hazards of verdicts."""
        known = self.guard.codes
        named = [name for verdict in verdicts for name in verdict.categories]
        text = self.prompt.text([known.get(name, name) for name in dict.fromkeys(named)])
        return conversation.with_addition(text, "suffix")

    def _decision(
        self, action: Literal["block", "rewrite", "regenerate"], verdict: Verdict, **more: Any
    ) -> Decision:
        hazard = self.guard.hazard(verdict)
        fields = {"request": "", **more}
        return Decision(action, reason="flagged", hazard=hazard, verdict=verdict, **fields)

    def _known(self, given: str | Sequence[str] | None) -> frozenset[str]:
        """The categories that count, each by code and name, in small letters; empty for all.

        Raises:
            UserError: The format has a list, and one is not on it.
        """
        wanted = [given] if isinstance(given, str) else list(given or ())
        named = {str(each).strip().casefold() for each in wanted}
        pairs = [{code.casefold(), name.casefold()} for code, name in self.guard.codes.items()]
        unknown = named - {name for pair in pairs for name in pair}
        if pairs and unknown:
            listed = ", ".join(
                code if code == name else f"{code} ({name})"
                for code, name in self.guard.codes.items()
            )
            meant = did_you_mean(min(unknown), set().union(*pairs))
            raise UserError(
                f"-S categories: the format {self.guard.name} has no category "
                f"{', '.join(sorted(unknown))}.{meant} It has {listed}."
            )
        return frozenset(named.union(*(pair for pair in pairs if pair & named)))


@solver
@options_of(GuardFilter)
def guard_model(**options: Any) -> Solver:
    return defended(GuardFilter(**options))
