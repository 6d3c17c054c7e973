"""Whether an answer says yes or no, by the rules of those who ask such questions.

Each rule reads text alone. What holds no text of the model (a missing answer, a refusal that the
provider marked) is told apart before, by `guard.text.outputs.read_output`; a refusal in words is
read like any other answer, see each rule, and is to be counted beside it.
"""

import re
from typing import Final, Literal

__all__ = ["YesNo", "read_answer_line", "read_mme", "read_pope", "read_strictly"]

YesNo = Literal["yes", "no", "other"]

_NO: Final = {"No", "not", "no"}
_OPENING: Final = 4
_ANSWER: Final = re.compile(r"\banswer[\s\"'*_`]{0,6}:", re.IGNORECASE)
_OPENS: Final = re.compile(
    r"[\W_]*(yes|no)(?![^\W_])(\s{0,3}(?:/|\bor\b)\s{0,3}(?:yes|no)\b)?", re.IGNORECASE
)
_ENDS: Final = re.compile(r"(?<![^\W_])(yes|no)[\W_]*\Z", re.IGNORECASE)


def read_pope(text: str) -> Literal["yes", "no"]:
    """POPE's rule: no if the first sentence has the word `No`, `not` or `no`, else yes.

    The first sentence ends before the first full stop, commas are dropped, and words are what
    stands between blanks; capitals count. So all else is yes: an empty answer, a refusal (`I cannot
    help with that.`), a line break after the word (`no`, new line), and `NO`.

    Args:
        text: The answer.
    """
    words = text.partition(".")[0].replace(",", "").split(" ")
    return "no" if _NO.intersection(words) else "yes"


def read_strictly(text: str) -> YesNo:
    """Yes or no only if the answer is that word alone, in any case; `Yes.` is other.

    The rule of lmms-eval, by which whatever a defense adds to an answer makes it wrong.

    Args:
        text: The answer; blanks around it do not count.
    """
    return _known(text.strip().lower())


def read_mme(text: str) -> YesNo:
    """MME's rule: the word alone, else yes or no if the first four characters hold it, else other.

    Of an opening with both, yes counts. `Not sure` is no, and `I cannot say` is other.

    Args:
        text: The answer, in any case.
    """
    said = text.strip().lower()
    opening = said[:_OPENING]
    if (alone := _known(said)) != "other":
        return alone
    return "yes" if "yes" in opening else "no" if "no" in opening else "other"


def read_answer_line(text: str) -> YesNo:
    """Yes or no after the last `Answer:`, in any case; other if neither stands there.

    Args:
        text: The answer, whose reasons come first. The word counts that opens the line or ends it
            (or the next line, if nothing follows the colon). Inside, `no` belongs to a sentence
            (`There is no danger.`). If opening and end differ, or choose nothing (`Yes or no`), it
            is other.
    """
    marks = list(_ANSWER.finditer(text))
    if not marks:
        return "other"
    lines = [line for line in text[marks[-1].end() :].splitlines() if any(map(str.isalnum, line))]
    opening, end = (_OPENS.match(lines[0]), _ENDS.search(lines[0])) if lines else (None, None)
    if opening and opening[2]:
        return "other"
    words = {said[1].lower() for said in (opening, end) if said}
    return _known(words.pop()) if len(words) == 1 else "other"


def _known(word: str) -> YesNo:
    return "yes" if word == "yes" else "no" if word == "no" else "other"
