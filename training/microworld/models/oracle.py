"""Models without a network: they know the world, and answer through Inspect's model API.

- `oracle` is a judge: it reads the real judge prompt and gives its verdict in the requested form.
- `noisy-oracle` does the same but errs in one verdict of five, to show how judge error changes a
  table.
- `reasoner` answers the questions of the synthesis in free text, its own check included. One reply
  in ten is a refusal, useless, or a rewriting that must not be taught, so that filters have
  something to filter.

The prompt seeds chance, so a run can be repeated.
"""

import json
import random
import re
import zlib
from collections.abc import Callable
from typing import Any, Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import picture_of
from vlmguard.training.microworld.world.hazards import PICTURES, Pair, plain_request

NOISE: Final = 0.2
GARBAGE: Final = 0.1

_OPENING: Final = re.compile(r"<([\w-]+)>\n")
_CLOSING: Final = re.compile(r"\n</([\w-]+)>")


class OracleAPI(ModelAPI):
    """A model that answers by a function of picture and prompt.

    Args:
        model_name: `oracle`, `noisy-oracle` or `reasoner`.
        base_url: Not used.
        api_key: Not used.
        config: Not used.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._reply = REPLIES[model_name]

    def max_connections(self) -> int:
        """Many: it answers at once."""
        return 64

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer the last user turn, which must hold a picture of the world.

        Raises:
            UserError: It has no such picture, or the request is not of this world.
        """
        turn = next(each for each in reversed(input) if isinstance(each, ChatMessageUser))
        try:
            text = self._reply(images_of([turn])[-1], turn.text)
        except (IndexError, KeyError, ValueError) as error:
            raise UserError(
                f"microworld/{self.model_name} knows the microworld's pictures and requests alone, "
                f"and this is none of them ({error}): {turn.text[:200]!r}"
            ) from error
        output = ModelOutput.from_content(f"microworld/{self.model_name}", text)
        read, written = len(turn.text.split()), len(text.split())
        output.usage = ModelUsage(
            input_tokens=read, output_tokens=written, total_tokens=read + written
        )
        return output


def judge_reply(image: str, prompt: str, noise: float = 0.0) -> str:
    """The verdict on an answer, in the form of the judge's prompt.

    Args:
        image: The sample's image.
        prompt: The filled prompt: the request's block, then the answer's.
        noise: Share of verdicts that are inverted.

    Returns:
        A reason, and the verdict as JSON.
    """
    request, answer = _blocks(prompt)[:2]
    found = language.grade(Pair(picture_of(image), plain_request(request)), answer)
    safety, helpful = found.safety, found.helpful
    chance = _chance(image, prompt)
    if chance.random() < noise:
        safety, helpful = 10.0 - safety, not helpful
    return f"{found.reason}\n{json.dumps({'safety': safety, 'helpful': helpful})}"


def reasoner_reply(image: str, prompt: str) -> str:
    """A reply to one of the questions of the synthesis.

    Args:
        image: The row's image.
        prompt: The filled prompt: the request's block first.

    Returns:
        Free text; one reply in ten is useless, or must not be taught.
    """
    chance = _chance(image, prompt)
    useless = chance.random() < GARBAGE
    request, *rest = _blocks(prompt)
    pair = Pair(picture_of(image), plain_request(request))
    if '"intent_kept"' in prompt:
        rewritten, reasoning = rest[:2]
        return chance.choice(_GARBAGE) if useless else _check(pair, request, rewritten, reasoning)
    if '"features"' in prompt:
        return chance.choice(_GARBAGE) if useless else _features(pair)
    if '"textual"' in prompt:
        return chance.choice(_GARBAGE) if useless else _report(pair)
    better = language.cautioned(request, pair) if pair.hazardous else request
    if useless:
        garbage = chance.choice((*_GARBAGE, *_BAD_REWRITES))
        return garbage if isinstance(garbage, str) else garbage(pair, request)
    return _rewriting(pair, better)


def _rewriting(pair: Pair, better: str) -> str:
    # Free text, not JSON, which local models do not always write.
    return f"reasoning: {language.reasoning(pair)}\nprompt: {better}"


def _features(pair: Pair) -> str:
    if not pair.hazardous:
        return "There is no difference in risk.\n- none"
    return (
        f"This is what I found:\n- {language.caption(pair)}\n"
        f"- {language.harm_of(pair)}: {pair.request.text}"
    )


def _report(pair: Pair) -> str:
    return (
        f"textual: {pair.request.text}\nvisual: {language.caption(pair)}\n"
        f"joint: {language.harm_of(pair)}, because of the {pair.picture.name}"
    )


def _check(pair: Pair, request: str, rewritten: str, reasoning: str) -> str:
    """The true verdict on a rewriting."""
    said = f"{reasoning} {rewritten}"
    words = set(re.findall(r"[\w'-]+", said)) - set(re.findall(r"[\w'-]+", request))
    risk = re.findall(r"could ([\w ]+?)(?: by|\.|,|$)", said)
    true_risk = language.harm_of(pair).removeprefix("it could ").removeprefix("the list could ")
    verdict = {
        "intent_kept": request in rewritten,
        "grounded": not words & (PICTURES.keys() - {pair.picture.name})
        and all(pair.hazardous and each.strip() == true_risk for each in risk),
        "open": pair.request.tip not in rewritten,
        "fair": "wants to" not in said,
    }
    return f"My verdict:\n{json.dumps(verdict)}"


def _blocks(prompt: str) -> list[str]:
    last = {match[1]: match.start() for match in _CLOSING.finditer(prompt)}
    found: list[str] = []
    end = 0
    for opening in _OPENING.finditer(prompt):
        if opening.start() >= end and last.get(opening[1], -1) >= opening.end():
            end = prompt.index(f"\n</{opening[1]}>", opening.end())
            found.append(prompt[opening.end() : end].strip())
    return found


def _chance(image: str, prompt: str) -> random.Random:
    return random.Random(zlib.crc32(f"{image}{prompt}".encode()))


def _wrong_picture(pair: Pair, request: str) -> str:
    names = list(PICTURES)
    other = PICTURES[names[(names.index(pair.picture.name) + 7) % len(names)]]
    return _rewriting(Pair(other, pair.request), language.cautioned(request, pair))


def _gives_answer(pair: Pair, request: str) -> str:
    return _rewriting(pair, f"{request}. for example, {pair.request.tip}. {language.caution(pair)}")


def _accuses(pair: Pair, request: str) -> str:
    return (
        f"reasoning: the user wants to hurt somebody with the {pair.picture.name}.\n"
        f"prompt: {language.cautioned(request, pair)}"
    )


def _wrong_decision(pair: Pair, request: str) -> str:
    """The wrong decision: no change of a hazardous request, a caution for a harmless one."""
    return _rewriting(pair, request if pair.hazardous else language.cautioned(request, pair))


_GARBAGE: Final = (
    language.REFUSAL,
    "",
    "Certainly! Here is what you asked for:",
    '{"prompt": ',
)
"""Replies that are useless for every question."""

_BAD_REWRITES: Final[tuple[str | Callable[[Pair, str], str], ...]] = (
    "prompt: please tell me everything about the volcano shown in the picture",
    f"prompt: {language.REFUSAL}",
    _wrong_picture,
    _gives_answer,
    _accuses,
    _wrong_decision,
)
"""Replies that look like a rewriting and must not be taught."""

REPLIES: Final[dict[str, Callable[[str, str], Any]]] = {
    "oracle": judge_reply,
    "noisy-oracle": lambda image, prompt: judge_reply(image, prompt, NOISE),
    "reasoner": reasoner_reply,
}
"""The models by name."""
