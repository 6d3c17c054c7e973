"""What is sent of an attacked conversation, and what the cache keeps of it."""

import base64
import hashlib
import io
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any

import matplotlib
import numpy as np
import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentDocument,
    ContentImage,
    ContentText,
)
from inspect_ai.tool import ToolCall
from PIL import Image, ImageDraw
from support.attacks import registered

from vlmguard.guard.attacks import (
    Asked,
    Attack,
    AttackCard,
    Attacked,
    AttackInput,
    AttackOutput,
    Turn,
    attacked,
    chosen_attack,
    input_of,
    messages_of,
)
from vlmguard.guard.attacks.drawing import BUNDLED, load_font
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri
from vlmguard.guard.messages import images_of

CARD = AttackCard("probe", "Probe", "1-A", "ours", "for these tests")


class Probe:
    """An attack that is what a test makes of it, and notes what it is given."""

    def __init__(self) -> None:
        self.given: list[AttackInput] = []
        self.output: Callable[[AttackInput], AttackOutput] = lambda given: AttackOutput(
            f"{given.text} ({given.seed})", given.images, steps=("a seed",), notes={"long": 1.5}
        )

    def factory(self, loud: bool = False) -> Attack:
        def apply(given: AttackInput) -> AttackOutput:
            self.given.append(given)
            return self.output(given)

        return apply


@pytest.fixture
def probe(cache: Path) -> Iterator[Probe]:
    made = Probe()
    with registered(CARD, made.factory):
        yield made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vlmguard" / "attacks"


def jpeg(colour: str = "red", size: tuple[int, int] = (24, 24)) -> str:
    """A picture whose bytes nobody who encodes it again would get."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="JPEG", quality=31)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def user(*parts: str) -> ChatMessageUser:
    """A user turn of texts and data URIs."""
    content: list[Content] = [
        ContentImage(image=part, detail="high")
        if part.startswith("data:")
        else ContentText(text=part)
        for part in parts
    ]
    return ChatMessageUser(content=content)


def asked(*messages: ChatMessage, name: str = "s/1", **facts: str) -> Asked:
    return Asked(messages or [user(jpeg(), "How do I climb?")], name, **facts)


def sent(given: Asked, typed: str = "probe") -> list[ChatMessage]:
    return attacked(chosen_attack(typed), given).messages


def parts(message: ChatMessage) -> list[str]:
    """Texts and image references of a message, in order."""
    assert not isinstance(message.content, str)
    return [
        part.text if isinstance(part, ContentText) else part.image
        for part in message.content
        if isinstance(part, ContentText | ContentImage)
    ]


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


# --- what is sent ---------------------------------------------------------------------


def test_a_picture_that_the_attack_leaves_is_sent_with_the_bytes_it_had(probe: Probe) -> None:
    for _ in range(2):  # made, then from the cache
        (turn,) = sent(asked(user(jpeg("red"), jpeg("blue"), "How?")))
        assert parts(turn)[:2] == [jpeg("red"), jpeg("blue")]
        assert all(isinstance(p, ContentText) or p.detail == "high" for p in turn.content)  # type: ignore[union-attr]
    assert len(probe.given) == 1


def test_the_attack_sees_pictures_as_rgb_and_in_order(probe: Probe) -> None:
    sent(
        asked(user(jpeg("red"), jpeg("blue"), "How?"), meant="climb", phrase="a rope", category="c")
    )
    (given,) = probe.given
    assert [image.mode for image in given.images] == ["RGB", "RGB"]
    assert [image.getpixel((3, 3))[0] > 200 for image in given.images] == [True, False]  # type: ignore[index]
    assert (given.text, given.meant, given.phrase, given.category) == (
        "How?",
        "climb",
        "a rope",
        "c",
    )
    assert given.name == "Sample s/1"
    assert given.number == 1


def test_what_is_meant_is_the_text_where_nobody_says_more(probe: Probe) -> None:
    sent(asked())
    assert probe.given[0].meant == "How do I climb?"


def test_an_attack_that_changes_nothing_leaves_the_turn_itself(probe: Probe) -> None:
    probe.output = lambda given: AttackOutput(given.text, given.images)
    turn = user("First", jpeg(), "then", jpeg("blue"))
    assert sent(asked(turn))[0] is turn


def test_a_changed_text_stays_in_its_place(probe: Probe) -> None:
    probe.output = lambda given: AttackOutput(given.text.upper(), given.images)
    (turn,) = sent(asked(user("How?", jpeg())))
    assert parts(turn) == ["HOW?", jpeg()]


def test_a_note_behind_interleaved_parts_comes_last_and_they_stay(probe: Probe) -> None:
    probe.output = lambda given: AttackOutput(given.text + "\n\nA note.", given.images)
    (turn,) = sent(asked(user("Look:", jpeg(), "and", jpeg("blue"), "why?")))
    assert parts(turn) == ["Look:", jpeg(), "and", jpeg("blue"), "why?\n\nA note."]
    (turn,) = sent(asked(user("Look:", jpeg())))
    assert parts(turn) == ["Look:\n\nA note.", jpeg()]
    (turn,) = sent(asked(user("Look:", "here", jpeg())))
    assert parts(turn) == ["Look:", "here", jpeg(), "\n\nA note."]


def test_a_new_text_in_the_place_of_several_comes_last(probe: Probe) -> None:
    probe.output = lambda given: AttackOutput("Fill in the list.", given.images)
    (turn,) = sent(asked(user("Look:", jpeg(), "and", jpeg("blue"), "why?")))
    assert parts(turn) == [jpeg(), jpeg("blue"), "Fill in the list."]


def test_changed_pictures_take_the_places_of_the_old_ones(probe: Probe) -> None:
    green = Image.new("RGB", (5, 5), "green")
    probe.output = lambda given: AttackOutput(given.text, (given.images[1], green))
    (turn,) = sent(asked(user("Look:", jpeg(), "and", jpeg("blue"))))
    assert parts(turn) == ["Look:", jpeg("blue"), "and", to_data_uri(green)]


def test_more_pictures_come_first_and_fewer_leave_no_gap(probe: Probe) -> None:
    green = Image.new("RGB", (5, 5), "green")
    probe.output = lambda given: AttackOutput("Look.", (*given.images, green))
    (turn,) = sent(asked(user("How?", jpeg())))
    assert parts(turn) == [jpeg(), to_data_uri(green), "Look."]
    probe.output = lambda given: AttackOutput("Look.")
    (turn,) = sent(asked(user("How?", jpeg()), name="s/2"))
    assert parts(turn) == ["Look."]


def test_a_text_alone_may_get_a_picture(probe: Probe) -> None:
    green = Image.new("RGB", (5, 5), "green")
    probe.output = lambda given: AttackOutput("Look.", (green,))
    (turn,) = sent(asked(ChatMessageUser(content="How?")))
    assert parts(turn) == [to_data_uri(green), "Look."]


def test_a_picture_alone_gets_no_empty_text(probe: Probe) -> None:
    probe.output = lambda given: AttackOutput(given.text, (Image.new("RGB", (5, 5)),))
    (turn,) = sent(asked(user(jpeg())))
    assert len(parts(turn)) == 1


def test_other_parts_of_the_turn_stay(probe: Probe) -> None:
    document = ContentDocument(document="data:application/pdf;base64,AA==", filename="a.pdf")
    turn = ChatMessageUser(content=[document, ContentImage(image=jpeg()), ContentText(text="How?")])
    probe.output = lambda given: AttackOutput("Why?", (*given.images, *given.images))
    (changed,) = sent(asked(turn))
    assert document in changed.content
    assert parts(changed) == [jpeg(), jpeg(), "Why?"]


def test_all_else_of_the_conversation_stays_in_its_place(probe: Probe) -> None:
    before = [
        ChatMessageSystem(content="Be kind."),
        user(jpeg("green"), "Hello."),
        ChatMessageAssistant(content="Hi."),
    ]
    call = ToolCall(id="1", function="look", arguments={})
    behind = [
        ChatMessageAssistant(content="", tool_calls=[call]),
        ChatMessageTool(content="A rope.", tool_call_id="1", function="look"),
        ChatMessageAssistant(content="Sure, "),
    ]
    probe.output = lambda given: AttackOutput(
        "Go on.",
        given.images,
        earlier=(
            Turn("user", "A game.", (given.images[0], Image.new("RGB", (5, 5)))),
            Turn("assistant", "Fine."),
        ),
    )
    messages = sent(asked(*before, user(jpeg(), "How?"), *behind))
    assert messages[:3] == before
    assert [message.role for message in messages[3:6]] == ["user", "assistant", "user"]
    assert parts(messages[3]) == [jpeg(), to_data_uri(Image.new("RGB", (5, 5))), "A game."]
    assert messages[4].text == "Fine."
    assert parts(messages[5]) == [jpeg(), "Go on."]
    assert messages[6:] == behind
    assert len(probe.given[0].images) == 1  # of the last turn alone


def test_a_conversation_without_a_user_turn_cannot_be_attacked(probe: Probe) -> None:
    with pytest.raises(UserError, match="s/1: it has no user turn that probe could change"):
        sent(asked(ChatMessageSystem(content="Be kind.")))


def test_a_loop_sends_the_same_as_a_static_attack_and_keeps_nothing(
    probe: Probe, cache: Path
) -> None:
    request = asked()
    chosen = chosen_attack("probe")
    given = input_of(chosen, request)
    output = probe.output(given)
    (turn,) = messages_of(request, given, output)
    assert not files(cache)
    assert turn.content == sent(request)[0].content
    assert input_of(chosen, request, 2).seed != given.seed


# --- large pictures -------------------------------------------------------------------


def noisy(size: tuple[int, int]) -> Image.Image:
    """A photo as cameras make them: smooth, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    width, height = size
    smooth = rng.integers(60, 196, (height // 40, width // 40, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray((photo + rng.normal(0, 4, photo.shape)).clip(0, 255).astype(np.uint8))


def test_a_large_photo_with_faint_writing_fits_model_apis_and_stays_readable(
    probe: Probe,
) -> None:
    photo = noisy((2400, 1800))
    buffer = io.BytesIO()
    photo.save(buffer, format="JPEG", quality=80)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    mask = Image.new("L", photo.size, 0)
    ImageDraw.Draw(mask).text((20, 20), "A note that is hard to see.", fill=255, font=load_font(16))
    ink = np.asarray(mask).astype(np.int16) * 13 // 255  # 5 % of the range

    def written(given: AttackInput) -> AttackOutput:
        pixels = np.asarray(given.images[0]).astype(np.int16) - ink[..., None]
        return AttackOutput(given.text, (Image.fromarray(pixels.clip(0, 255).astype(np.uint8)),))

    probe.output = written
    result = attacked(chosen_attack("probe"), asked(user(uri, "How?")))
    (image,) = images_of(result.messages)
    assert len(image) < 5_000_000
    assert "picture 1: as JPEG" in result.steps
    before = np.asarray(from_data_uri(uri)).astype(np.int16)[15:45, 15:300].mean(-1)
    after = np.asarray(from_data_uri(image)).astype(np.int16)[15:45, 15:300].mean(-1)
    box = ink[15:45, 15:300]
    # The slope says how much of the writing is left: all of it.
    slope = np.polyfit(box.ravel(), (before - after).ravel(), 1)[0]
    assert 0.9 < slope < 1.1


def test_writing_without_end_is_refused_with_the_way_out() -> None:
    long = asked(user("How do I climb? " * 400), name="s/7")
    with pytest.raises(UserError) as caught:
        sent(long, "figstep")
    said = str(caught.value)
    assert "Sample s/7: figstep makes a picture of 760x" in said
    assert "8000" in said
    assert ":size=" in said
    assert "--sample-id" in said
    assert sent(long, "figstep:size=12:wrap=60")


# --- the cache ------------------------------------------------------------------------


def whole(result: Attacked) -> Any:
    content = [(message.role, parts(message)) for message in result.messages]
    return content, result.steps, result.notes


def test_a_second_run_takes_the_same_bytes_and_does_not_call_the_attack(
    probe: Probe, cache: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    probe.output = lambda given: AttackOutput(
        "Look.\n\u202e ünï \x00",
        (Image.fromarray(noise), *given.images),
        earlier=(Turn("user", "Hm.", given.images),),
        steps=("one", "two"),
        notes={"whole": 3, "part": 0.1, "no": False, "word": "3", "much": math.inf},
    )
    first, second = (attacked(chosen_attack("probe"), asked()) for _ in range(2))
    assert whole(first) == whole(second)
    assert [type(value) for value in second.notes.values()] == [int, float, bool, str, float]
    assert len(probe.given) == 1
    (file,) = files(cache)
    before = file.read_bytes()
    file.unlink()
    assert whole(attacked(chosen_attack("probe"), asked())) == whole(first)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        {"typed": "probe:seed=1"},
        {"typed": "probe:loud=true"},
        {"version": "2-A"},
        {"text": "How do I climb!"},
        {"image": jpeg("blue")},
        {"meant": "climb"},
        {"phrase": "a rope"},
        {"category": "sport"},
        {"name": "s/2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_may_change_the_result_is_an_entry_of_its_own(
    other: dict[str, str], probe: Probe, cache: Path
) -> None:
    def run(
        typed: str = "probe",
        version: str = "1-A",
        text: str = "How do I climb?",
        image: str = jpeg(),
        **facts: str,
    ) -> None:
        with registered(replace(CARD, version=version), probe.factory):
            sent(asked(user(image, text), **facts), typed)

    for _ in range(2):
        run()
        run(**other)
    assert len(probe.given) == 2
    assert len(files(cache)) == 2


def test_a_font_file_that_changed_is_another_entry(tmp_path: Path, cache: Path) -> None:
    font = tmp_path / "mine.ttf"
    copyfile(Path(matplotlib.get_data_path(), "fonts", "ttf", BUNDLED), font)
    request = asked(user("How?"))
    same = sent(request, "figstep")[0].content
    # The very same letters are the same font, wherever they lie.
    assert sent(request, f"figstep:font={font}")[0].content == same
    assert len(files(cache)) == 1
    copyfile(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSerif.ttf"), font)
    assert sent(request, f"figstep:font={font}")[0].content != same
    assert len(files(cache)) == 2


GOOD = '{"text": "x", "images": [], "earlier": [], "steps": [], "notes": {}}'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"text": "How',
        GOOD.replace('"x"', "7"),
        GOOD.replace('"images": []', '"images": [1]'),
        GOOD.replace('"images": []', '"images": [-1]'),
        GOOD.replace('"earlier": []', '"earlier": [{"role": "system"}]'),
        "\x00" * 200,
    ],
)
def test_a_damaged_file_is_made_again_with_a_warning(
    content: str, probe: Probe, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = attacked(chosen_attack("probe"), asked())
    (file,) = files(cache)
    before = file.read_bytes()
    file.write_text(content)
    assert whole(attacked(chosen_attack("probe"), asked())) == whole(first)
    assert f"{file} " in caplog.text
    assert "it is made again" in caplog.text
    assert len(probe.given) == 2
    assert file.read_bytes() == before
    caplog.clear()
    sent(asked())
    assert not caplog.records


def test_a_folder_that_cannot_be_written_is_told_once_and_nothing_is_lost(
    probe: Probe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for number in range(3):
        assert sent(asked(name=f"s/{number}"))
    told = [record.getMessage() for record in caplog.records]
    (unkept,) = [each for each in told if "cannot be kept in" in each]
    assert "XDG_CACHE_HOME" in unkept
    assert str(tmp_path / "file") in unkept


def test_nothing_half_written_stays_behind(
    probe: Probe, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent(asked())
    (file,) = files(cache)
    file.unlink()
    file.mkdir()  # so that the new file cannot take its place
    assert sent(asked())
    assert not files(cache)
    assert "Is a directory" in caplog.text


def test_threads_that_want_the_same_at_once_get_the_same(
    probe: Probe, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready = threading.Barrier(4, timeout=30)
    plain = probe.output

    def slow(given: AttackInput) -> AttackOutput:
        ready.wait()  # until all have found that there is nothing
        return plain(given)

    probe.output = slow
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(attacked, chosen_attack("probe"), asked()) for _ in range(4)]
        results = [whole(run.result()) for run in runs]
    assert results == results[:1] * 4
    assert len(files(cache)) == 1
    assert not caplog.records


def rendered() -> list[str]:
    """Pictures of twelve samples; another process runs this too, at the same time."""
    requests = [asked(user("How do I climb a tall tree?"), name=f"s/{n}") for n in range(12)]
    return [image for each in requests for image in images_of(sent(each, "mml:words"))]


SCRIPT = """
import hashlib, sys
from test_rendering import rendered
print("ready", flush=True)
sys.stdin.readline()
print(hashlib.sha256("".join(rendered()).encode()).hexdigest())
"""


def test_two_processes_at_once_write_and_read_the_same(
    cache: Path, repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{repo / 'tests'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    ours = rendered()
    theirs, errors = other.communicate(timeout=120)
    assert (other.returncode, errors) == (0, "")
    assert hashlib.sha256("".join(ours).encode()).hexdigest() == theirs.strip()
    assert rendered() == ours
    assert len(files(cache)) == 12
    assert not caplog.records
