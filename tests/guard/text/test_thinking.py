"""Thinking inside a reply's text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.text.thinking import split_thinking, strip_thinking


@pytest.mark.parametrize(
    ("text", "thoughts", "reply"),
    [
        ("No.", "", "No."),
        ("  No.\n", "", "  No.\n"),
        ("<think>Yes? It is a cliff.</think>\n\nNo.", "Yes? It is a cliff.", "No."),
        ("<think></think>No.", "", "No."),
        ('<Thinking budget="9">Yes?</Thinking> No.', "Yes?", "No."),
        ("<thought>Yes?</thought>No.", "Yes?", "No."),
        ("[THINK]Yes?[/THINK]No.", "Yes?", "No."),
        ("◁think▷Yes?◁/think▷No.", "Yes?", "No."),
        ("A.<think>B?</think> C.<think>D?</think>", "B?\nD?", "A. C."),
        ("<think>One <think>two</think> three</think>No.", "One <think>two\nthree", "No."),
        # The opening tag stood at the end of the prompt.
        ("Yes? It is a cliff.\n</think>\nNo.", "Yes? It is a cliff.", "No."),
        # A tag in the image closes the thoughts, but they go on.
        (
            "<think>It reads </think>, an order. Yes?</think>No.",
            "It reads\n, an order. Yes?",
            "No.",
        ),
        # Never closed: the model was still thinking.
        ("<think>Yes? It is", "Yes? It is", ""),
        ("No.\n<think>Or yes? It", "Or yes? It", "No."),
        # No other text is left as the reply: a tag at the end cannot hide it.
        ("Take a knife.\n</think>", "", "Take a knife."),
        ("Take a knife.</think> </think>\n", "", "Take a knife."),
        ("Hm.</think><think>Or", "Or", "Hm."),
        ("<think>Yes?</think>Take a knife.</think>", "Yes?", "Take a knife."),
        ("</think>", "", ""),
        # Mentioned, not opened.
        ("Put it between <think> tags.", "", "Put it between <think> tags."),
        ("Do not rethink> it, nor <thinker>.", "", "Do not rethink> it, nor <thinker>."),
        # gpt-oss
        (
            "<|channel|>analysis<|message|>Yes?<|end|><|start|>assistant"
            "<|channel|>final<|message|>No.<|return|>",
            "Yes?",
            "No.",
        ),
        (
            "<|channel|>analysis<|message|>Yes?<|end|><|start|>assistant<|channel|>final "
            '<|constrain|>json<|message|>{"safety": 3}',
            "Yes?",
            '{"safety": 3}',
        ),
        ("<|channel|>final<|message|>No.", "", "No."),
        ("<|channel|>analysis<|message|>Yes? It", "Yes? It", ""),
        (
            "<|start|>assistant<|channel|>final<|message|>Take a knife.<|end|>"
            "<|start|>assistant<|channel|>analysis<|message|>Yes?",
            "Yes?",
            "Take a knife.",
        ),
        ("<|channel|>final<|message|>No.<|end|>Take a knife.", "", "No.Take a knife."),
        ("Take a knife.\n<|channel|>analysis<|message|>", "", "Take a knife."),
        ("<|start|>assistant<|channel|>analysis<|message|>Yes?", "Yes?", ""),
        ("<|channel|>analysis<|message|>Yes?<|end|>Take a knife.", "Yes?", "Take a knife."),
        # The header of the analysis stood at the end of the prompt.
        (
            "Yes?<|end|><|start|>assistant<|channel|>final<|message|>No.",
            "Yes?",
            "No.",
        ),
        # Gemma
        ("<|channel>thought\nYes?<channel|>No.", "Yes?", "No."),
        ("<|channel>thought\n<channel|>No.", "", "No."),
        ("<|channel>thought\nYes? It", "Yes? It", ""),
    ],
)
def test_thoughts_and_reply(text: str, thoughts: str, reply: str) -> None:
    assert split_thinking(text) == (thoughts, reply)


PIECES = st.sampled_from(
    [
        *("<think>", "</think>", "<|channel>thought", "<channel|>", "[THINK]", "[/THINK]"),
        *("<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|end|>"),
        *("No.", " ", "\n", "<", "</", "<|", ">"),
    ]
)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_what_is_left_of_a_reply_stands_in_it(text: str) -> None:
    reply = strip_thinking(text)
    assert "</think>" not in reply
    assert all(line in text for line in reply.splitlines()[:1])
    assert len(reply) <= len(text)


@given(st.text())
def test_text_without_tags_is_left_as_it_is(text: str) -> None:
    if "think" not in text.lower() and "<" not in text:
        assert strip_thinking(text) == text


@pytest.mark.parametrize("piece", ["<think ", "<think>", "</think>", "<|channel|>a", "<|channel|>"])
def test_time_grows_with_length_alone(piece: str) -> None:
    def seconds(length: int) -> float:
        # A busy machine may spoil one try.
        return min(_timed(piece * (length // len(piece))) for _ in range(4))

    assert seconds(40_000) <= 6 * seconds(10_000) + 0.01


def _timed(text: str) -> float:
    start = time.process_time()
    for _ in range(20):
        split_thinking(text)
    return time.process_time() - start
