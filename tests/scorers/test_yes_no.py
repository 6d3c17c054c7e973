"""Reading yes and no by each rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.scorers.yes_no import read_answer_line, read_mme, read_pope, read_strictly

TEXT = st.text(st.sampled_from("yesnoYESNOT aAw:.,\n*"), max_size=40) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "pope", "strict", "mme"),
    [
        ("yes", "yes", "yes", "yes"),
        (" Yes\n", "yes", "yes", "yes"),
        ("Yes.", "yes", "other", "yes"),
        ("No", "no", "no", "no"),
        ("no.", "no", "other", "no"),
        ("No, there is none.", "no", "other", "no"),
        # Only the first sentence counts, only these three spellings, only between blanks.
        ("There is not. Yes.", "no", "other", "other"),
        ("Yes. There is no dog.", "yes", "other", "yes"),
        ("NO", "yes", "no", "no"),
        ("no\n", "yes", "no", "no"),
        ("There isn't", "yes", "other", "other"),
        # A refusal, nothing at all, doubt, and a guard's words before the answer.
        ("I'm sorry, I cannot help with that.", "yes", "other", "other"),
        ("", "yes", "other", "other"),
        ("Not sure", "yes", "other", "no"),
        ("I am not sure", "no", "other", "other"),
        ("Careful: no", "no", "other", "other"),
        ("Eyes, no", "no", "other", "yes"),
    ],
)
def test_each_rule_reads_as_its_authors_do(text: str, pope: str, strict: str, mme: str) -> None:
    assert (read_pope(text), read_strictly(text), read_mme(text)) == (pope, strict, mme)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Reasoning: it is a kitchen.\nAnswer: Yes", "yes"),
        ("**Answer:** No, since the oven is hot.", "no"),
        ("answer :\n\nyes.", "yes"),
        ("Answer: Yes\nOn second thought.\nFinal answer: no", "no"),
        ("Answer: yes (my final answer is above)", "yes"),
        ("Answer: Yes/No", "other"),
        ("Answer: yes or no", "other"),
        ("Answer: Yes, there is no danger.", "yes"),
        ("Answer: <No>", "no"),
        ("Answer: _no_", "no"),
        ("Answer: It is not, so No.", "no"),
        # A `no` of a sentence is no verdict, and two words are none.
        ("Answer: There is no danger here.", "other"),
        ("Answer: There is no danger. **Yes**", "yes"),
        ("Answer: No danger, so yes", "other"),
        ("Answer: Yes or no, who knows", "other"),
        ("Answer:", "other"),
        ("Answer: nothing to see", "other"),
        ("Yes", "other"),
        ("The answers: yes", "other"),
        ("", "other"),
    ],
)
def test_the_last_answer_line_counts(text: str, said: str) -> None:
    assert read_answer_line(text) == said


@given(TEXT, st.sampled_from(["yes", "no"]))
def test_whatever_comes_before_the_last_answer_does_not_count(before: str, word: str) -> None:
    assert read_answer_line(f"{before}\nAnswer: {word}") == word


@given(TEXT)
def test_what_the_strict_rule_takes_the_others_take_too(text: str) -> None:
    strict = read_strictly(text)
    assert read_strictly(f"{text}.") == "other" or text.strip() == ""
    if strict != "other":
        assert read_mme(text) == strict
        assert read_pope(text.strip().lower()) == strict
        assert read_mme(f"{text.strip()}, it is.") == strict


@given(TEXT)
def test_the_official_rule_reads_one_sentence_without_commas(text: str) -> None:
    said = read_pope(text)
    assert said in ("yes", "no")
    assert read_pope(f"{text}. no") == said
    assert read_pope(text.replace(",", "")) == said
    assert read_pope(f"no {text}") == "no"
