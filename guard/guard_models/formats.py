"""The formats of guard models: one table, and how a name and options become a guard model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import GuardModel
from vlmguard.guard.guard_models.custom import Custom
from vlmguard.guard.guard_models.custom_regex import CustomRegex
from vlmguard.guard.guard_models.guardreasoner import GuardReasoner
from vlmguard.guard.guard_models.llama_guard import LlamaGuard, LlamaGuard3Vision
from vlmguard.guard.guard_models.llama_guard_7b import LlamaGuard7B
from vlmguard.guard.guard_models.llavaguard import LlavaGuard
from vlmguard.guard.guard_models.moderation import Moderation
from vlmguard.guard.guard_models.nemotron import Nemotron
from vlmguard.guard.guard_models.options import options_text, with_options
from vlmguard.guard.guard_models.qwen3guard import Qwen3Guard
from vlmguard.guard.guard_models.shieldgemma import ShieldGemma
from vlmguard.guard.guard_models.text_guard import TextGuard
from vlmguard.guard.guard_models.yes_no import YesNo

__all__ = ["FORMATS", "Format", "formats_table", "guard_format"]


@dataclass(frozen=True)
class Format:
    """A format of guard models.

    Attributes:
        guard: Its class, which knows its name, sides and images.
        title: What it is called.
        reply: The form of its verdict.
        models: Models that use it.
        terms: Their license or terms.
        confirmed: Where the format is confirmed.
        needs: What a run needs for it.
        safe: A reply that it reads as safe on both sides, as a forger would type it
            (`attacks/verdict/`); empty where the user chooses the form, or no reply is read.
    """

    guard: type[GuardModel]
    title: str
    reply: str
    models: str
    terms: str
    confirmed: str
    needs: str = "a model in the role `guard`"
    safe: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """What tables tell of it, by heading."""
        guard = self.guard
        images = "" if guard.images == "none" else f" ({guard.images})"
        return {
            "Format": self.title,
            "Reply": self.reply,
            "Sides": ", ".join(guard.sides),
            "Sees": ", ".join(guard.reads) + images,
            "Options": options_text(guard),
            "Models": self.models,
            "Terms": self.terms,
            "Needs": self.needs,
            "Confirmed by": self.confirmed,
        }


FORMATS: Final[Mapping[str, Format]] = {
    each.guard.name: each
    for each in (
        Format(
            Custom,
            "Any chat model with a written policy",
            "JSON: `violation`, `categories`, `rationale`",
            "any chat VLM; text-only ones such as gpt-oss-safeguard through `text_guard`",
            "the model's",
            "form of our own",
            safe='{"violation": false, "categories": [], "rationale": "Nothing is wrong."}',
        ),
        Format(
            Nemotron,
            "Nemotron 3.5 Content Safety",
            "labelled lines: `User Safety`, `Response Safety`, `Safety Categories`",
            "nvidia/Nemotron-3.5-Content-Safety",
            "OpenMDW-1.1 and Gemma terms",
            "NVIDIA's model card",
            safe="User Safety: safe\nResponse Safety: safe",
        ),
        Format(
            LlamaGuard,
            "Llama Guard 4",
            "a verdict line, then codes",
            "meta-llama/Llama-Guard-4-12B",
            "Llama 4 Community License, gated",
            "Meta's model card (PurpleLlama)",
            safe="safe",
        ),
        Format(
            LlamaGuard3Vision,
            "Llama Guard 3 Vision",
            "a verdict line, then codes",
            "meta-llama/Llama-Guard-3-11B-Vision",
            "Llama 3.2 license, gated",
            "Meta's model card (PurpleLlama)",
            safe="safe",
        ),
        Format(
            LlamaGuard7B,
            "Llama Guard, first generation: JailBreakV-28K's judge",
            "a verdict line, then codes",
            "meta-llama/LlamaGuard-7b, behind a chat template that passes a turn through",
            "Llama 2 license, gated",
            "Meta's chat template and model card; prompt and policy are in our words",
            safe="safe",
        ),
        Format(
            GuardReasoner,
            "GuardReasoner-VL",
            "thinking, then a result tag",
            "GuardReasoner-VL and its Eco versions (3B, 7B), GuardReasoner-Omni",
            "Apache-2.0",
            "the authors' code and OmniSafeBench-MM; instruction in our words",
            safe="<result>\nRequest: unharmful\nResponse: unharmful\n</result>",
        ),
        Format(
            Qwen3Guard,
            "Qwen3Guard-Gen",
            "labelled lines: `Safety`, `Categories`, `Refusal`",
            "Qwen/Qwen3Guard-Gen (0.6B, 4B, 8B): text alone",
            "Apache-2.0",
            "the README of QwenLM/Qwen3Guard",
            safe="Safety: Safe\nCategories: None\nRefusal: No",
        ),
        Format(
            ShieldGemma,
            "ShieldGemma 2",
            "a probability for each policy: `dangerous`, `sexual`, `violence`",
            "google/shieldgemma-2-4b-it: images alone",
            "Gemma terms, gated",
            "Google's model card, the code of transformers",
            "a local checkpoint (`checkpoint=`)",
        ),
        Format(
            CustomRegex,
            "Any chat model with your prompt and patterns",
            "what `unsafe` or `safe` matches",
            "any",
            "the model's",
            "form of your own",
        ),
        Format(
            LlavaGuard,
            "LlavaGuard v1.2",
            "JSON: `rating`, `category`, `rationale`",
            "LlavaGuard v1.2 0.5B, 7B",
            "gated, terms for research",
            "authors' code and model card; the policy is in our words",
            safe='{"rating": "Safe", "category": "NA: None applying", "rationale": "A cat."}',
        ),
        Format(
            Moderation,
            "OpenAI's moderation API",
            "`flagged`, a score for each category",
            "omni-moderation-latest",
            "the API's, free",
            "types of the `openai` package, and the API's guide",
            needs="the key `OPENAI_API_KEY`",
        ),
        Format(
            YesNo,
            "Text guards that say Yes or No",
            "`Yes` or `No`, in `<score>` or not",
            "Granite Guardian",
            "Apache-2.0",
            "IBM's documentation",
            safe="No",
        ),
        Format(
            TextGuard,
            "A text guard on a caption and the request, or on the answer",
            "that of `format`",
            "any text guard of another format",
            "those of both models",
            "as for `format`; the prompt for captions is ours",
            needs="models in the roles `guard` and `captioner` (`caption=false`: `guard` alone)",
        ),
    )
}
"""Every format by its name (`adapter`)."""


def guard_format(
    adapter: str, options: Mapping[str, object] | None = None, beside: Iterable[str] = ()
) -> GuardModel:
    """The guard model of a format.

    It asks the model in the role `guard`, which is looked up at each check: roles are known within
    a run only. `ready()` finds what is missing before anything is paid for.

    Args:
        adapter: Name of the format.
        options: Its options by name.
        beside: Options of whoever passes these on, one of which may be meant.

    Raises:
        UserError: There is no such format or option, an option is missing, or a value is refused.
    """
    if adapter not in FORMATS:
        meant = did_you_mean(adapter, FORMATS)
        raise UserError(
            f"adapter={adapter}: no format of guard models has this name.{meant} "
            f"Choose one of: {', '.join(FORMATS)}."
        )
    return with_options(FORMATS[adapter].guard, options or {}, beside)


def formats_table() -> str:
    """The formats as a Markdown table."""
    headings = ["`adapter`", *next(iter(FORMATS.values())).facts]
    rows = [[f"`{name}`", *each.facts.values()] for name, each in FORMATS.items()]
    lines = [f"| {' | '.join(row)} |" for row in (headings, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(headings), *lines[1:]])
