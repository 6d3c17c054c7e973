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

from vlmguard.guard.cards import cards
from vlmguard.guard.templates import template_hash
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.hazards import WORDINGS, pairs
from vlmguard.training.microworld.world.levels import LEVELS

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


def templates() -> dict[str, str]:
    """Every text of a defense that a tiny model is sent, by what it is for, in the order of cards.

    Raises:
        RuntimeError: Two defenses have a text for the same purpose.
    """
    found: dict[str, str] = {}
    for card in cards().defenses.values():
        for purpose, text in card.taught.items():
            if purpose in found:
                raise RuntimeError(
                    f"{card.name}: another defense has a text for {purpose!r} (`taught`). Name "
                    "another purpose on its card, and teach it (lessons.py)."
                )
            found[purpose] = text
    return found


def templates_hash() -> str:
    """Identity of all templates that the models learned: 12 hex digits."""
    return template_hash(*templates().values())


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
    for template in templates().values():
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
