"""What a client reads of an answer: thinking within its text too, which an API leaves in place.

A user can ask a model to write its answer as thinking. Elsewhere such text is no part of the reply;
here the client gets every word of it, so it is checked. Reasoning that an API gives apart is not.
"""

from inspect_ai.model import ModelOutput

from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.thinking import split_thinking

__all__ = ["visible"]


def visible(output: ModelOutput) -> ModelOutput:
    """An answer without marks of thinking in its text, for a check; itself if it has none.

    Args:
        output: The answer.
    """
    thoughts, text = split_thinking(output.completion)
    if not thoughts or read_output(output).kind == "refusal":
        return output
    while thoughts:
        thoughts, text = split_thinking(f"{thoughts}\n{text}")
    shown = output.model_copy(deep=True)
    shown.completion = text
    return shown
