import json

import pytest
from transformers import PreTrainedTokenizerFast

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.rewriter.prompts import REASONING_FORMAT, REWRITE_TEMPLATE
from vlmguard.guard.templates import fill
from vlmguard.training.dataset.items import Item
from vlmguard.training.dataset.leaks import find_leaks
from vlmguard.training.dataset.testsets import read_own_set
from vlmguard.training.microworld.models.api import checkpoint
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import picture_of
from vlmguard.training.microworld.world.hazards import PICTURES, pairs, plain_request
from vlmguard.training.microworld.world.raw_rows import HELD_OUT, ROWS, pair_key, write_rows
from vlmguard.training.synthesis.parsing import target_text
from vlmguard.training.synthesis.record import to_samples
from vlmguard.training.synthesis.sources import read_sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_rows(folder)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    return read_sources(str(folder / ROWS))


def truth(row):
    return PICTURES[row.pair.partition(": ")[0]]


def test_rows_are_half_hazardous_and_cover_the_training_pairs_alone(rows):
    assert 2500 <= len(rows) <= 3500
    assert sum(row.benign for row in rows) == len(rows) / 2
    assert {row.pair for row in rows} == {pair_key(pair) for pair in pairs("train")}


def test_each_pair_comes_in_every_wording_and_in_new_drawings(rows):
    of_cliff = [row for row in rows if row.pair == rows[0].pair]

    assert len({row.prompt for row in of_cliff}) == 4
    assert len({row.image.read_bytes() for row in of_cliff}) == len(of_cliff)


def test_answers_differ_in_care_where_there_is_a_hazard(rows):
    hazardous = next(row for row in rows if not row.benign)
    harmless = next(row for row in rows if row.benign)

    assert hazardous.safe.startswith("careful, you could fall")
    assert hazardous.unsafe.startswith("sure, ")
    assert (harmless.safe[:6], harmless.unsafe) == ("sure, ", None)


def test_the_reasoner_is_sent_the_drawing_with_its_truth(rows):
    samples = to_samples(rows[::200], contrast=True, sampled=False)

    for row, sample in zip(rows[::200], samples, strict=True):
        image, text = sample.input[0].content
        assert picture_of(to_data_uri(image.image)) == truth(row)
        assert plain_request(text.text).text == row.pair.partition(": ")[2]


@pytest.fixture(scope="module")
def tokenizer():
    """The one that the shipped base is fine-tuned with."""
    return PreTrainedTokenizerFast.from_pretrained(checkpoint("base"))


def test_no_row_holds_an_unknown_token(rows, tokenizer):
    by_key = {pair_key(pair): pair for pair in pairs()}
    texts = set()
    for row in rows:
        pair = by_key[row.pair]
        texts.add(
            fill(REWRITE_TEMPLATE, conversation="", request=row.prompt, format=REASONING_FORMAT)
        )
        better = language.cautioned(row.prompt, pair) if pair.hazardous else row.prompt
        texts.add(target_text(language.reasoning(pair), better))

    for ids in tokenizer(sorted(texts))["input_ids"]:
        assert tokenizer.unk_token_id not in ids


def test_unknown_tokens_would_be_found(tokenizer):
    assert tokenizer.unk_token_id in tokenizer("please juggle here")["input_ids"]


def test_held_out_pairs_block_however_they_are_drawn_and_worded(folder, rows):
    held_out = read_own_set(folder / HELD_OUT)
    taken = pairs("test")[0]
    drawn_anew = Item("x", "rows/images/new.png", f"hi, {taken.request.text}", pair=pair_key(taken))
    honest = [Item(row.id, row.image_id, row.prompt, pair=row.pair) for row in rows]

    report = find_leaks([drawn_anew, *honest], {"held_out": held_out}, key="pair")

    assert [(leak.row, leak.kind) for leak in report.blocking] == [("x", "pair")]
    assert {leak.kind for leak in report.reported} == {"text"}


def test_command_writes_rows_of_a_split(tmp_path, capsys):
    assert main(["microworld", "rows", "--out", str(tmp_path), "--split", "validation"]) == 0

    written = [json.loads(line) for line in (tmp_path / ROWS).read_text().splitlines()]
    assert {row["pair"] for row in written} == {pair_key(pair) for pair in pairs("validation")}
    assert f"{sum(row['benign'] for row in written)} benign rows" in capsys.readouterr().out


def test_earlier_rows_are_not_overwritten(folder):
    with pytest.raises(UserError, match="exists"):
        write_rows(folder)
