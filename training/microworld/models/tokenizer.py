"""One tokenizer for the whole microworld: a word is a token, and a line of a prompt is a token.

The words are those of the world. Every line of every template that a model gets is a separate
token. So prompts are short, and a tiny model spends its capacity on the question and not on its
wording. A changed template becomes unknown words, and the models must be built again; a test checks
that.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from vlmguard.guard.rewriter.prompts import DIRECT_FORMAT, REASONING_FORMAT, REWRITE_TEMPLATE
from vlmguard.guard.templates import template_hash
from vlmguard.solvers.ecso import (
    CAPTION_TEMPLATE,
    HARM_CHECK_TEMPLATE,
    SAFE_ANSWER_TEMPLATE,
    TEXT_ONLY_TEMPLATE,
)
from vlmguard.solvers.eta.decoding import OPENING_TEMPLATE, PREFIX
from vlmguard.solvers.eta.solver import CLIP_TEXT, GATE_PROMPT, REWARD_PROMPT
from vlmguard.solvers.figstep_defense import DEFENSE_PROMPT
from vlmguard.solvers.mllm_protector import DETOXIFIER_PROMPT
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.hazards import WORDINGS, pairs
from vlmguard.training.microworld.world.levels import LEVELS

TEMPLATES: Final = {
    "rewrite": REWRITE_TEMPLATE,
    "reasoning": REASONING_FORMAT,
    "direct": DIRECT_FORMAT,
    "ecso_check": HARM_CHECK_TEMPLATE,
    "ecso_caption": CAPTION_TEMPLATE,
    "ecso_safe_answer": SAFE_ANSWER_TEMPLATE,
    "ecso_text_only": TEXT_ONLY_TEMPLATE,
    "eta_prefix": PREFIX,
    "eta_opening": OPENING_TEMPLATE,
    "eta_clip": CLIP_TEXT,
    "eta_gate": GATE_PROMPT,
    "eta_reward": REWARD_PROMPT,
    "figstep": DEFENSE_PROMPT,
    "detoxifier": DETOXIFIER_PROMPT,
}
"""All our texts that a tiny model gets."""

PAD, UNKNOWN, USER, ASSISTANT, SYSTEM, IMAGE, START, END = (
    "<pad>", "<unk>", "<user>", "<assistant>", "<system>", "<image>", "<start>", "<end>",
)  # fmt: skip
CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
<{{ message['role'] }}>
{%- if message['content'] is string %}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}IMAGE
{%- elif part['type'] == 'text' -%}{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<end>
{%- endfor -%}
{%- if add_generation_prompt -%}<assistant>{%- endif -%}
"""

READ: Final = "what is written in the request below?"
LOOK: Final = "what does the picture show?"
COULD: Final = "what could happen there?"
ASKED: Final = "what does the user ask for?"
"""Questions about the world itself, which every model learns before its skills."""

_FIELD: Final = re.compile(r"\{\w+\}")
_PIECE: Final = r" ?[\w'-]+| ?[^\w\s]"


def templates_hash() -> str:
    """Identity of all templates that the models learned: 12 hex digits."""
    return template_hash(*TEMPLATES.values())


def build_tokenizer(extra: Iterable[str] = (), **named: str) -> Any:
    """Make the tokenizer, without a chat template.

    Args:
        extra: Special tokens of an architecture.
        **named: Special tokens by the names that a processor uses for them.
    """
    import transformers

    special = [PAD, UNKNOWN, USER, ASSISTANT, SYSTEM, IMAGE, START, END, *extra]
    words = sorted(_words(world_texts()))
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*special, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(r"\s+"), " "),
            *(normalizers.Replace(f" {mark}", mark) for mark in ".,:?!"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), "removed", invert=True)
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_tokens([AddedToken(line, normalized=False) for line in template_lines()])
    tokenizer.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        bos_token=START,
        padding_side="left",
        extra_special_tokens=named,
    )


def template_lines() -> list[str]:
    """Lines that become one token: template lines between placeholders, and fixed answers."""
    lines = [language.REFUSAL, language.GENERAL_CAUTION, READ, LOOK, COULD, ASKED]
    for template in TEMPLATES.values():
        for piece in _FIELD.split(template):
            lines += [line.strip() for line in piece.splitlines()]
    # Tags first: a line like `<prompt>...</prompt>` uses the same tags as a reply.
    tags = {tag for line in lines for tag in re.findall(r"</?[a-z]+>", line)}
    rest = {part.strip() for line in lines for part in re.split(r"</?[a-z]+>", line)}
    return sorted(tags) + sorted(line for line in rest if len(line) > 1)


def world_texts() -> Iterable[str]:
    """All sentences of the world, for the vocabulary."""
    for pair in pairs():
        yield from (wording.format(pair.request.text) for wording in WORDINGS)
        yield from (language.plain_answer(pair), language.careful_answer(pair))
        yield language.cautioned(pair.request.text, pair)
        yield from (language.caption(pair), language.caption(pair, vague=True))
        yield from (language.reasoning(pair), "yes", "no", f"{', '.join(LEVELS)}. : ?")


def _words(texts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        for piece in re.findall(r"[\w'-]+|[^\w\s]", text):
            found.add(piece if piece in ".,:?!" else f" {piece}")
    return found
