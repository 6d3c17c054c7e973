"""Short names of rows and groups: distinct, short, and told whole in footnotes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.boards import COLUMN, a_run

from vlmguard.results.leaderboard.labels import footnote_lines, label_rows, name_columns
from vlmguard.results.leaderboard.model import titled
from vlmguard.results.leaderboard.wording import short_models
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.run import Run

JUDGED = {"judge": {"judges": ["openai/gpt-4o"], "judge_template": "531d975d07b9", "threshold": 7}}
RULES = {"refusal": {"keywords_hash": "c95de8d7e00d"}}


def of(judging: dict[str, object] | None = None, **settings: object) -> Column:
    text = json.dumps(settings) if settings else ""
    return replace(COLUMN, settings=text, judging=json.dumps(judging) if judging else "")


def named(*columns: Column) -> tuple[list[str], list[str]]:
    footnotes: list[str] = []
    differs = name_columns(columns, footnotes)
    return [titled("Toy", differs[each]) for each in columns], footnote_lines(footnotes)


def test_a_group_alone_needs_nothing_but_its_heading() -> None:
    assert named(of(JUDGED | RULES, max_tokens=1024)) == (["Toy"], [])


def test_judging_is_told_in_words_without_hashes() -> None:
    other = {"judge": JUDGED["judge"] | {"judges": ["anthropic/claude"]}}
    names, footnotes = named(of(RULES), of(JUDGED | RULES), of(other | RULES))
    assert names == ["Toy (rules only)", "Toy (judged by gpt-4o)", "Toy (judged by claude)"]
    assert footnotes == []


def test_settings_are_told_in_words() -> None:
    names, footnotes = named(
        of(max_tokens=24, temperature=0.7), of(epochs=2), of(), of(legacy=True, n=20)
    )
    assert names == [
        "Toy (max 24 tokens, temperature 0.7)",
        "Toy (2 answers a sample)",
        "Toy",
        "Toy (legacy=true, 20 samples drawn)",
    ]
    assert footnotes == []


def test_what_has_no_words_stands_in_a_numbered_footnote() -> None:
    again = {"judge": JUDGED["judge"] | {"judge_template": "44b2cef4a20a"}}
    names, footnotes = named(of(JUDGED), of(again), replace(of(JUDGED), data="feed5eed"))
    assert names == [f"Toy (other judge prompt, other data){number}" for number in "¹²³"]
    assert len(footnotes) == 3
    assert footnotes[0].startswith("¹ Toy all (other judge prompt, other data): ")
    assert "44b2cef4a20a" in "".join(footnotes)
    assert "data=feed5eed" in "".join(footnotes)


def test_the_same_judge_with_fewer_scorers_or_another_temperature() -> None:
    rules = {"rules": {"keywords_hash": "1" * 12}}
    warm = JUDGED | {"graders": {"openai/gpt-4o": {"temperature": 0.7}}}
    names, _ = named(of(JUDGED | rules), of(JUDGED), of(warm | rules))
    assert names == [
        "Toy",
        "Toy (without rules)",
        "Toy (judge with temperature 0.7)",
    ]


def run_of(target: str = "openai/gpt-4o", defense: str = "vlmguard", **facts: str) -> Run:
    return replace(a_run(target, defense), **facts)


def test_rows_are_short_and_their_footnotes_whole() -> None:
    folder = "/home/someone/very/long/way/to/adapters/checkpoint-12"
    guard = json.dumps({"rewriter": [f'hf-vlm/Qwen/Qwen2-VL {{"adapter": "{folder}"}}']})
    runs = [
        run_of(defense="none"),
        run_of(),
        run_of(defense_args='{"reasoning": false}'),
        run_of(guards=guard),
        run_of(guards='{"rewriter": ["openai/gpt-4o-mini"]}'),
        run_of(defense_args=json.dumps({"prompt": folder})),
    ]
    footnotes: list[str] = []
    labels = label_rows(runs, footnotes)
    assert [labels[run].target for run in runs] == ["gpt-4o"] * 6
    assert [labels[run].defense for run in runs] == [
        "undefended",
        "vlmguard",
        "vlmguard (reasoning=false)",
        "vlmguard (rewriter Qwen2-VL)²",
        "vlmguard (rewriter gpt-4o-mini)",
        "vlmguard (prompt=checkpoint-12)¹",
    ]
    assert f"prompt={folder}" in footnotes[0]
    assert folder in footnotes[1]
    assert labels[runs[0]].exact_target == "openai/gpt-4o"
    assert labels[runs[2]].exact_defense == "vlmguard (reasoning=false)"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["openai/gpt-4o", "openai-api/served/qwen"], ["gpt-4o", "qwen"]),
        (["mockllm/gpt-4o", "openai/gpt-4o"], ["mockllm/gpt-4o", "openai/gpt-4o"]),
        (["hf-vlm/Qwen/Q2", "hf-vlm/other/Q2"], ["Qwen/Q2", "other/Q2"]),
        (["microworld/qwen2-vl/low", "microworld/llava/low"], ["qwen2-vl/low", "llava/low"]),
        (["plain", "mockllm/"], ["plain", "mockllm/"]),
    ],
)
def test_models_lose_their_provider_where_they_stay_distinct(
    names: list[str], short: list[str]
) -> None:
    found = short_models(names)
    assert [found[name] for name in names] == short


VALUES = st.one_of(
    st.booleans(),
    st.integers(0, 3),
    st.floats(0, 1, width=16),
    st.sampled_from(["a/b", "x/y/a", "/z/a", "c95de8d7e00d", "c95de8d7e00e", ""]),
    st.sampled_from(["w" * 60, "w" * 61]),
)
SETTINGS = st.dictionaries(
    st.sampled_from(["max_tokens", "epochs", "samples", "prompt", "own", "system_message", "n"]),
    st.one_of(VALUES, st.dictionaries(st.sampled_from(["n", "seed"]), VALUES, max_size=2)),
    max_size=3,
)
JUDGING = st.dictionaries(
    st.sampled_from(["judge", "own_judge", "refusal"]),
    st.fixed_dictionaries(
        {},
        optional={
            "judges": st.lists(st.sampled_from(["a/m", "b/m", "m"]), min_size=1, max_size=2),
            "judge_template": st.sampled_from(["1" * 12, "2" * 12]),
            "threshold": st.sampled_from([7.0, 8.0]),
        },
    ),
    max_size=2,
)
COLUMNS = st.builds(
    lambda version, data, settings, judging: replace(
        COLUMN,
        version=version,
        data=data,
        settings=json.dumps(settings) if settings else "",
        judging=json.dumps(judging) if judging else "",
    ),
    st.sampled_from(["1-A", "2-A"]),
    st.sampled_from(["d1", "d2"]),
    SETTINGS,
    JUDGING,
)


@settings(max_examples=80, deadline=None)
@given(st.sets(COLUMNS, min_size=1, max_size=5))
def test_groups_of_unlike_conditions_never_share_a_name(columns: set[Column]) -> None:
    ordered = sorted(columns, key=str)
    names, footnotes = named(*ordered)
    assert len(set(names)) == len(names)
    assert all(len(each) <= 60 for each in names)
    assert len(set(footnotes)) == len(footnotes)
    assert named(*ordered) == (names, footnotes)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["openai/m", "hf-vlm/openai/m", "m", "m¹", "hf/o/m"]),
            st.sampled_from(["none", "undefended", "vlmguard", "vlmguard¹"]),
            SETTINGS,
            st.sampled_from(["", "1" * 12, "2" * 12]),
            st.sampled_from(["", '{"rewriter": ["a/r"]}', '{"rewriter": ["b/r"]}']),
            st.sampled_from(["", "1-A"]),
        ),
        max_size=6,
    )
)
def test_unlike_rows_never_share_a_name(
    rows: list[tuple[str, str, dict[str, object], str, str, str]],
) -> None:
    runs = [
        run_of(
            target,
            defense,
            defense_args="" if defense == "none" or not args else json.dumps(args),
            template=template,
            guards="" if defense == "none" else guards,
            defense_version=version,
        )
        for target, defense, args, template, guards, version in rows
    ]
    footnotes: list[str] = []
    labels = list(label_rows(runs, footnotes).values())
    for exact, short in (
        ([each.exact_target for each in labels], [each.target for each in labels]),
        ([each.exact_defense for each in labels], [each.defense for each in labels]),
    ):
        assert len(set(exact)) == len(set(short)) == len(set(zip(exact, short, strict=True)))
        assert all(len(each) <= 48 for each in short)
