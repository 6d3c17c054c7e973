"""`vlmguard attack render`: what an attack makes of a few requests, as a picture and as text."""

import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inspect_ai import Task

# Inspect has no public name for the function of a registered task.
from inspect_ai._util.registry import registry_lookup
from inspect_ai.dataset import Sample
from PIL import Image

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.attacks import (
    Asked,
    AttackCard,
    AttackInput,
    AttackOutput,
    asked_of,
    chosen_attack,
    input_of,
)
from vlmguard.guard.attacks.sheet import Panel, Row, contact_sheet, shortened, visible
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError, check_count, reason_of
from vlmguard.guard.images.prepare import ImageError, prepare_image
from vlmguard.guard.messages import user_message
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.paths import existing, user_path
from vlmguard.tasks.microworld import CARD as MICROWORLD
from vlmguard.tasks.microworld import in_turn

__all__ = ["Wanted", "render"]

_TRIES: Final = 4
"""The most tries of a search that are shown."""


@dataclass(frozen=True)
class Wanted:
    """What the user typed.

    Attributes:
        attack: The attack, with its options.
        text: A request.
        images: Files of its pictures.
        task: A benchmark whose first samples are shown instead.
        limit: How many.
        data_dir: Folder with the benchmark's data.
        out: The PNG file to be written; in this folder, named after the attack, by default.
    """

    attack: str
    text: str | None = None
    images: Sequence[str] = ()
    task: str | None = None
    limit: int = 3
    data_dir: str | None = None
    out: str | None = None


def render(wanted: Wanted) -> int:
    """Write a contact sheet and print what changed; returns the exit status.

    Raises:
        UserError: An argument is wrong, data are missing, or a sample cannot be attacked so.
    """
    chosen = chosen_attack(wanted.attack, "attack")
    card = chosen.card
    if card.kind == "dialogue":
        roles = "".join(f" --model-role {role.name}=MODEL" for role in card.roles)
        raise UserError(
            f"{card.name} goes on from a model's answers, so it cannot be shown without a model. "
            "Run it, and read the log: inspect eval tasks/microworld.py --limit 1 --solver "
            f"attack_loop -S attack={wanted.attack}{roles}"
        )
    file = _file(wanted, chosen.text)
    tries = range(1, min(_TRIES, card.tries) + 1)
    apply, rows = chosen.static(), []
    print(f"{chosen.text} (version {card.version}): {card.summary}")
    for asked in _samples(wanted):
        inputs = [input_of(chosen, asked, number) for number in tries]
        outputs = [apply(given) for given in inputs]
        before = Panel("before", [(each, _size(each)) for each in inputs[0].images], inputs[0].text)
        panels = [before]
        for given, sent in zip(inputs, outputs, strict=True):
            panels.append(_after(given, sent, card))
        rows.append(Row(asked.name, panels))
        print("\n".join(["", asked.name, *(line for each in panels for line in _told(each))]))
    sheet = contact_sheet(f"{card.title}: {card.summary} ({chosen.text})", rows)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(file, "PNG")
    except OSError as error:
        raise UserError(f"--out {file}: cannot be written ({reason_of(error)}).") from error
    print(f"\nwrote {file}")
    return 0


def _samples(wanted: Wanted) -> list[Asked]:
    given = wanted.text is not None or wanted.images
    if given and wanted.task:
        raise UserError("--task has requests of its own: leave out --text and --image, or --task.")
    check_count("--limit", wanted.limit, 1)
    if given:
        text = wanted.text or ""
        return [Asked([user_message(map(_picture, wanted.images), text)], "request", meant=text)]
    samples = _first(wanted.task or MICROWORLD.name, wanted.limit, wanted.data_dir)
    return [asked_of(str(each.id), each.input, each.metadata or {}) for each in samples]


def _picture(file: str) -> str:
    try:
        return prepare_image(existing(file)).reference
    except ImageError as error:
        raise UserError(f"--image {file}: {error}") from error


def _first(name: str, limit: int, data_dir: str | None) -> list[Sample]:
    """The first samples of a benchmark; of the microworld from each of its slices in turn."""
    known = cards().benchmarks
    if name not in known:
        raise UserError(
            f"--task {name}: there is no such benchmark.{did_you_mean(name, known)} `vlmguard list "
            "benchmarks` has all."
        )
    card = known[name]
    if data_dir is not None and not card.layouts:
        raise UserError(f"--task {name} draws its samples itself: leave out --data-dir.")
    if name == MICROWORLD.name:
        return in_turn(limit)
    function: Any = registry_lookup("task", f"{PACKAGE}/{card.task or name}")
    # Without a judge, since nothing is asked.
    task = function(**card.chosen_by, judge="none", data_dir=data_dir)
    assert isinstance(task, Task)
    return list(task.dataset)[:limit]


def _file(wanted: Wanted, attack: str) -> Path:
    if wanted.out is None:
        return Path(f"attack-{re.sub(r'[^A-Za-z0-9._=-]+', '-', attack)}.png")
    file = user_path(wanted.out)
    if file.suffix.lower() != ".png":
        raise UserError(f"--out {wanted.out}: the sheet is a PNG file; give a name that ends so.")
    return file


def _after(given: AttackInput, sent: AttackOutput, card: AttackCard) -> Panel:
    own = {id(each) for each in given.images}
    images = [each for turn in sent.earlier for each in turn.images] + list(sent.images)
    pictures = [
        (each, f"{_size(each)}, {'as it was' if id(each) in own else 'new'}") for each in images
    ]
    earlier = [f"{turn.role}: {turn.text}" for turn in sent.earlier]
    text = "(as before)" if sent.text == given.text and given.text else sent.text
    if earlier:
        text = "\n\n".join([*earlier, f"user: {sent.text}"])
    notes = [f"{name}={value}" for name, value in sent.notes.items()]
    remark = "; ".join([*sent.steps, *notes])
    heading = f"try {given.number}" if card.tries > 1 else "after"
    return Panel(heading, pictures, text, visible(remark))


def _size(picture: Image.Image) -> str:
    return f"{picture.width} x {picture.height}"


def _told(panel: Panel) -> list[str]:
    """The same in words."""
    width = shutil.get_terminal_size().columns
    lines = [f"  {panel.heading}"]
    for number, (_, said) in enumerate(panel.pictures, start=1):
        lines.append(f"    image {number}: {said}")
    for name, told in (("text", shortened(visible(panel.text))), ("done", panel.remark)):
        if told:
            lines.append(f"    {name}:")
            lines += [part for line in told.split("\n") for part in _indented(line, width)]
    return lines


def _indented(line: str, width: int) -> list[str]:
    blank = " " * 6
    return textwrap.wrap(line, width, initial_indent=blank, subsequent_indent=blank) or [""]
