"""The rewriter reads image and prompt, reasons about their joint risk, and writes a safer prompt.

One class for the solver, for data synthesis, for servers and for applications::

    from vlmguard import Rewriter

    decision = await Rewriter("openai/gpt-4o-mini").decide("photo.jpg", "How do I climb this?")
    decision.action     # pass, rewrite or block
    decision.request    # what to send to the model, together with the original image

There is one chat layout (images, then the instruction, in one user turn) and one output format
(`<reasoning>...</reasoning><prompt>...</prompt>`). Any instruction-following VLM can follow it
zero-shot, and fine-tuning teaches it. `prompts` holds the versions of the instruction; a trained
model states which version it knows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    ContentReasoning,
    GenerateConfig,
    Model,
    ModelName,
    ModelOutput,
    get_model,
)
from PIL import Image

from vlmguard.guard.decision import ON_FAILURE, Action, OnFailure
from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.messages import images_of, parts_of, user_message
from vlmguard.guard.rewriter.ablations import (
    APPEND_FORMS,
    APPEND_PROMPT,
    HAZARD_TAG,
    HAZARD_TEMPLATE,
    hazard_block,
)
from vlmguard.guard.rewriter.decision import (
    APPLY,
    CAUTION,
    ON_REFUSAL,
    Apply,
    OnRefusal,
    Rewrite,
    RewriteDecision,
)
from vlmguard.guard.rewriter.prompts import (
    CONVERSATION_TEMPLATE,
    DIRECT_FORMAT,
    INSTRUCTIONS,
    LATEST,
    PROMPTS,
    REASONING_FORMAT,
    REWRITE_TEMPLATE,
    RewritePrompt,
)
from vlmguard.guard.rewriter.reply import Parsed, parse_reply
from vlmguard.guard.rewriter.retry import PROBLEMS, asked_again
from vlmguard.guard.rewriter.taught import taught_prompt
from vlmguard.guard.roles import continues_prefix, defaults_for
from vlmguard.guard.several_images import UNSUPPORTED, TooManyImages, generate_with_images
from vlmguard.guard.templates import fill, load_template
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.reading import as_read, quoted_turns, to_read
from vlmguard.guard.text.untrusted import well_formed

__all__ = ["ImageLike", "Rewrite", "Rewriter", "UnusableRewrite", "read_reply"]

ACTIONS: Final[Mapping[str, Action]] = {"refuse": "block", "caution": "rewrite", "original": "pass"}
"""What is done after a failure or a refusal, by the user's choice."""

_FIELDS: Final = ("request", "format")
_DEFAULTS: Final = GenerateConfig(temperature=0.0, max_tokens=1024)

ImageLike = Image.Image | bytes | str | Path


class UnusableRewrite(RuntimeError):
    """Raised for an unusable reply of the rewriter, if the caller chose so."""

    def __init__(self, rewrite: Rewrite) -> None:
        said = rewrite.output.completion[:200]
        super().__init__(f"the rewriter's reply cannot be used ({rewrite.failure}): {said!r}")
        self.rewrite = rewrite


class Rewriter:
    """Rewrites requests with a vision-language model.

    Args:
        model: An Inspect model, or its name (`openai/gpt-4o-mini`, `hf-vlm/...`).
        reasoning: Ask for reasoning before the rewritten request.
        template: File that replaces the instruction.
        prompt: Version of our instruction. None for the version that the model was trained with, if
            its folder states it (`taught`), else the latest.
        apply: `rewrite` the request, or `append` guidance to it: the same question to the same
            model, with an instruction that has no versions.
        on_failure: What `decide` does if a reply cannot be used: `original` passes the request as
            it is, `refuse` blocks it, `raise` raises.
        on_refusal: What it does if the rewriter refuses, which is a strong sign of harm: `caution`
            adds `CAUTION` to the request; the others are as for `on_failure`.

    Raises:
        UserError: An unknown choice, `prompt` beside `template` or `append`, or a template file
            that cannot be read or lacks a field.
    """

    def __init__(
        self,
        model: Model | str,
        *,
        reasoning: bool = True,
        template: str | None = None,
        prompt: int | None = None,
        on_failure: OnFailure = "original",
        on_refusal: OnRefusal = "caution",
        apply: Apply = "rewrite",
    ) -> None:
        check_choice("on_failure", on_failure, ON_FAILURE)
        check_choice("on_refusal", on_refusal, ON_REFUSAL)
        check_choice("apply", apply, APPLY)
        self.model = get_model(model)
        self.reasoning = reasoning
        self.taught = taught_prompt(self.model.api)
        """The version that the model was trained with; None if it states no version."""
        self._appends = apply == "append"
        self._prompt = _prompt(template, prompt, self.taught, self._appends)
        forms = APPEND_FORMS if self._appends else ()
        # What a rewriter may repeat of ours.
        self._said = (INSTRUCTIONS, self._prompt.template, HAZARD_TEMPLATE, *forms)
        self._on_failure: OnFailure = on_failure
        self._on_refusal: OnRefusal = on_refusal

    @property
    def prompt(self) -> int:
        """Version of the instruction in use; 0 for the user's own template, and for `append`."""
        return self._prompt.version

    @property
    def template_hash(self) -> str:
        """Identity of the prompt in use: 12 hex digits."""
        return self._prompt.hash(reasoning=self.reasoning)

    async def decide(
        self,
        image: ImageLike | Sequence[ImageLike] | None,
        text: str,
        *,
        conversation: Sequence[ChatMessage] = (),
    ) -> RewriteDecision:
        """Decide what becomes of a request, for solver, server and training alike.

        Args:
            image: As for `rewrite`.
            text: As for `rewrite`.
            conversation: As for `rewrite`.

        Raises:
            UnusableRewrite: An unusable reply, or a refusal, and the choice for it is `raise`.
            ImageError: As for `rewrite`.
            UserError: As for `rewrite`.
        """
        return self.judge(await self.rewrite(image, text, conversation=conversation))

    def judge(self, rewrite: Rewrite) -> RewriteDecision:
        """The decision that follows from a rewrite.

        Raises:
            UnusableRewrite: It failed, and the choice for that is `raise`.
        """
        if not rewrite.failure:
            if rewrite.outcome == "copied":
                return RewriteDecision("pass", rewrite.original, "copied", rewrite=rewrite)
            return RewriteDecision(
                "rewrite", rewrite.rewritten, "rewritten", rewrite.reasoning, rewrite=rewrite
            )
        refused = rewrite.outcome == "refused"
        choice = self._on_refusal if refused else self._on_failure
        if choice == "raise":
            raise UnusableRewrite(rewrite)
        request = {
            "refuse": "",
            "caution": fill(CAUTION, request=rewrite.original).lstrip(),
            "original": rewrite.original,
        }[choice]
        return RewriteDecision(
            ACTIONS[choice],
            request,
            rewrite.failure,
            rewrite.reasoning if refused else "",
            failure=rewrite.failure,
            rewrite=rewrite,
        )

    async def rewrite(
        self,
        image: ImageLike | Sequence[ImageLike] | None,
        text: str,
        *,
        conversation: Sequence[ChatMessage] = (),
        hazard: str | None = None,
    ) -> Rewrite:
        """Rewrite one request.

        Args:
            image: The request's image or images: Pillow image, encoded bytes, path or data URI.
                None for text alone.
            text: The user's request.
            conversation: Earlier turns, oldest first; their images are shown too.
            hazard: What could go wrong, if that is known and told (empty: nothing); None to let the
                rewriter find it.

        Returns:
            The rewrite. After an unusable reply the rewriter is asked once more and told the fault;
            after a refusal it is not, nor if it takes fewer images (`unsupported_images`). If the
            second reply is unusable too, `failure` says why, and the request is the original.

        Raises:
            ImageError: An image cannot be decoded.
            UserError: There are earlier turns or a hazard, but the template has no place for them.
        """
        message = self.message(image, text, conversation=conversation, hazard=hazard)
        read = as_read(text)
        material = as_read("\n".join((*(turn.text for turn in conversation), text)))
        try:
            output = await self._ask(message)
        except TooManyImages as refused:
            return Rewrite(text, text, "", UNSUPPORTED, (refused.output,))
        parsed = self._parse(output, read, material)
        outputs: tuple[ModelOutput, ...] = (output,)
        if parsed.failure in PROBLEMS and not read_output(output).is_too_long:
            output = await self._ask(asked_again(message, parsed.failure, self._appends))
            parsed = self._parse(output, read, material)
            outputs += (output,)
        # Word for word what it read is the request unchanged, which goes on as the user wrote it.
        kept = bool(parsed.failure) or as_read(parsed.prompt).split() == read.split()
        rewritten, addition = text if kept else parsed.prompt, ""
        if self._appends:
            addition = "" if kept and not parsed.failure else parsed.prompt
            rewritten = "\n\n".join(each for each in (text, addition) if each)
        return Rewrite(text, rewritten, parsed.reasoning, parsed.failure, outputs, addition)

    def message(
        self,
        image: ImageLike | Sequence[ImageLike] | None,
        text: str,
        *,
        conversation: Sequence[ChatMessage] = (),
        hazard: str | None = None,
    ) -> ChatMessageUser:
        """The chat layout for use and training: images (earlier ones first), then the instruction.

        Args:
            image: As for `rewrite`.
            text: As for `rewrite`.
            conversation: As for `rewrite`.
            hazard: As for `rewrite`.

        Raises:
            ImageError: An image cannot be decoded.
            UserError: As for `rewrite`.
        """
        if image is None:
            images: list[ImageLike] = []
        elif isinstance(image, ImageLike):
            images = [image]
        else:
            images = list(image)
        shown = [to_data_uri(each) for each in [*images_of(conversation), *images]]
        instruction = self.instruction(
            text, images=len(shown), conversation=conversation, hazard=hazard
        )
        return user_message(shown, instruction)

    def instruction(
        self,
        text: str,
        *,
        images: int,
        conversation: Sequence[ChatMessage] = (),
        hazard: str | None = None,
    ) -> str:
        """The text of `message`.

        Args:
            text: As for `rewrite`.
            images: Number of images that are shown.
            conversation: As for `rewrite`.
            hazard: As for `rewrite`.

        Raises:
            UserError: As for `rewrite`.
        """
        tags = () if hazard is None else (HAZARD_TAG,)
        turns = quoted_turns((turn for turn in conversation if turn.text), *tags)
        if (turns or hazard is not None) and "{conversation}" not in self._prompt.template:
            lost = "the earlier turns of this conversation" if turns else "the hazard that is told"
            raise UserError(
                f"The rewriting template has no {{conversation}}, so {lost} would be lost. Add the "
                "placeholder to the template."
            )
        shown = fill(CONVERSATION_TEMPLATE, turns=turns) if turns else ""
        return self._prompt.text(
            request=to_read(text, *tags),
            conversation=shown + ("" if hazard is None else hazard_block(hazard)),
            reasoning=self.reasoning,
            images=images,
        )

    @property
    def _prefill(self) -> str:
        """The beginning of the answer, for a model that has not learned the form."""
        continues = continues_prefix(ModelName(self.model).api)
        if not self._prompt.prefill or self.taught is not None or not continues:
            return ""
        return "<reasoning>" if self.reasoning else "<prompt>"

    async def _ask(self, message: ChatMessageUser) -> ModelOutput:
        begun = [ChatMessageAssistant(content=self._prefill)] if self._prefill else []
        config = defaults_for(self.model, _DEFAULTS)
        return await generate_with_images(self.model, [message, *begun], config)

    def _parse(self, output: ModelOutput, request: str, material: str) -> Parsed:
        said = read_output(output)
        if said.is_too_long:
            return Parsed("", "", "cut_off")
        if not output.choices:
            return Parsed("", "", "empty")
        if said.kind == "refusal":
            return Parsed("", "", "refused")
        # The raw text, since its thinking counts as reasoning.
        text = well_formed(output.completion)
        if text.strip() and not text.lstrip().startswith(self._prefill):
            text = self._prefill + text
        parsed = parse_reply(
            text,
            request="" if self._appends else request,
            instructions="\n".join(self._said),
            material=material,
            cut_off=said.kind == "cut_off" or said.reason == "token_limit",
            addition=self._appends,
        )
        # Providers move a model's native thinking out of the text.
        parts = parts_of(output.message)
        native = [part.reasoning.strip() for part in parts if isinstance(part, ContentReasoning)]
        reasoning = "\n".join(each for each in (*native, parsed.reasoning) if each)
        return Parsed(parsed.prompt, reasoning, parsed.failure)


def read_reply(
    text: str,
    *,
    request: str | None = None,
    instructions: str = INSTRUCTIONS,
    material: str = "",
    cut_off: bool = False,
) -> Parsed:
    """Split a reply to a rewriting prompt into its parts, see `parse_reply`.

    Args:
        text: The reply.
        request: The user's request: the result if the reply says "no change"; None if it is not
            known.
        instructions: The text that the rewriter got; all our versions by default.
        material: The request and the conversation in it.
        cut_off: Whether the reply ended at the token limit.
    """
    return parse_reply(
        text, request=request, instructions=instructions, material=material, cut_off=cut_off
    )


def _prompt(
    template: str | None, version: int | None, taught: int | None, appends: bool
) -> RewritePrompt:
    if version is not None and (template is not None or appends):
        other = "apply=append, whose instruction has no versions," if appends else "template"
        raise UserError(f"{other} and prompt exclude each other: leave one of them out.")
    if template is not None:
        text = load_template(REWRITE_TEMPLATE, template, _FIELDS)
        forms = (REASONING_FORMAT, DIRECT_FORMAT, REASONING_FORMAT, DIRECT_FORMAT)
        return RewritePrompt(0, text, *(APPEND_FORMS if appends else forms))
    if appends:
        return APPEND_PROMPT
    wanted = version or taught or LATEST
    check_choice("prompt", wanted, tuple(PROMPTS))
    return PROMPTS[wanted]
