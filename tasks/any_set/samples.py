"""Makes samples of the rows of a set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
)

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.data_source import Source
from vlmguard.guard.errors import UserError
from vlmguard.guard.hazards import HAZARD
from vlmguard.guard.messages import images_of, user_message
from vlmguard.scorers.asking import MEANT
from vlmguard.tasks.any_set.dialogues import Said, read_turns
from vlmguard.tasks.any_set.form import EXPECTED, Form, Written
from vlmguard.tasks.any_set.places import Places
from vlmguard.tasks.any_set.preset import Part, Preset
from vlmguard.tasks.any_set.rows import Row, as_list, as_text, columns_of, find, holds, read_rows

__all__ = ["files_of", "links_of", "load_samples"]

_OTHERS: Final[Mapping[str, type[ChatMessageAssistant] | type[ChatMessageSystem]]] = {
    "assistant": ChatMessageAssistant,
    "system": ChatMessageSystem,
}
_FIX: Final = "Correct the record."


def load_samples(source: Source, preset: Preset) -> list[Sample]:
    """Read a set; images are paths.

    Args:
        source: Its data; of a `partial` one missing parts are left out.
        preset: Its description.

    Returns:
        A sample for each row, or for each name in `each_row_gives`, in the files' order.

    Raises:
        UserError: A file or a column is missing, or a record is wrong; names the record.
    """
    places = Places.of(source, preset)
    found: list[Sample] = []
    seen: dict[str, str] = {}
    for name, part in places.parts().items():
        before = 0
        forms = {
            each: form.over(part) for each, form in (part.each_row_gives or {"": part}).items()
        }
        for file in places.files(part):
            rows = read_rows(file)
            _check_columns(rows, forms, file)
            for row in rows:
                for each, form in forms.items():
                    made = _Making(places, name, part, each, form, file, row, before + row.number)
                    sample = made.sample()
                    if (first := seen.setdefault(str(sample.id), made.where)) != made.where:
                        raise UserError(
                            f"{made.where}: the id {sample.id} is also that of {first}. Give each "
                            "row its own, or leave the role id out of the map."
                        )
                    found.append(sample)
            before += len(rows)
    return found


def files_of(source: Source, preset: Preset) -> list[Path]:
    """The files that are read."""
    places = Places.of(source, preset)
    return [file for part in places.parts().values() for file in places.files(part)]


def links_of(source: Source, preset: Preset) -> dict[str, str]:
    """The addresses of pictures that only their owners publish, by file name below the root."""
    found = {}
    for sample in load_samples(source, preset):
        metadata = sample.metadata or {}
        if metadata.get("link"):
            found[str(metadata["image_names"][0])] = str(metadata["link"])
    return found


@dataclass(frozen=True)
class _Making:
    """The making of one sample.

    Attributes:
        places: Where the set's files are.
        name: Its part, or nothing.
        part: The part.
        each: Its name among the samples of the row, or nothing.
        form: What its columns mean.
        file: Its file.
        row: Its row.
        number: Place of the row among those of all the part's files.
    """

    places: Places
    name: str
    part: Part
    each: str
    form: Form
    file: Path
    row: Row
    number: int

    @property
    def where(self) -> str:
        return f"{self.file}: {self.row.name}"

    def sample(self) -> Sample:
        preset = self.places.preset
        key = self.required("id", self.row.key or str(self.number))
        rows_id = "/".join(filter(None, [preset.name, self.name, key]))
        asked = self.asked()
        names = [self.places.relative(Path(image)) for image in images_of(asked)]
        pair = self.text("pair") or (rows_id if len(self.part.each_row_gives) > 1 else "")
        meant = self.text("judge_text")
        several = len(asked) > 1
        told = (
            "\n".join(f"{each.role}: {each.text}" for each in asked) if several else asked[0].text
        )
        dialogue = "turns" in self.form.map
        optional = {
            "pair_id": pair,
            # What was said in a dialogue is not known before it is replayed.
            "judge_request": f"{told}\n\n(What is meant: {meant})"
            if meant and not dialogue
            else "",
            MEANT: meant if dialogue else "",
            "hint": self.text("hint"),
            "link": self.text("link"),
        }
        return Sample(
            id=f"{rows_id}/{self.each}" if self.each else rows_id,
            input=asked,
            metadata={
                "category": self.required("category", self.name or preset.name),
                "subset": self.name or preset.name,
                "expected": self.expected(),
                # What is asked of one picture, or of a pair, is no independent evidence.
                "image_id": pair or "+".join(names) or rows_id,
                "image_names": names,
                # The name of a set is no hazard.
                **({} if "category" in self.form.map else {HAZARD: ""}),
                **{name: value for name, value in optional.items() if value},
                # Each turn of the user's is a request for leak checks.
                **({"requests": [m.text for m in asked if m.role == "user"]} if dialogue else {}),
            },
        )

    def value(self, role: str) -> Any:
        column = self.form.map.get(role)
        if isinstance(column, Written):
            return column.write.replace("{row}", str(self.number))
        return find(self.row.cells, column) if isinstance(column, str) else None

    def text(self, role: str) -> str:
        """The text of a role, or nothing."""
        value = self.value(role)
        text = as_text(value)
        if value is not None and not text and not isinstance(value, str):
            raise UserError(
                f"{self.where}: {self.named(role)} holds no text, but a {type(value).__name__}. "
                f"{_FIX}"
            )
        return text if text.strip() else ""

    def required(self, role: str, default: str = "") -> str:
        """The text of a role that every row has, if the map names it; else the default."""
        if role not in self.form.map:
            return default
        if text := self.text(role):
            return text
        raise UserError(f"{self.where}: {self.named(role)} is missing or blank. {_FIX}")

    def named(self, role: str) -> str:
        return f"column '{self.form.map[role]}' ({role})"

    def expected(self) -> str:
        if not (column := self.form.column):
            return self.form.expected
        value = as_text(find(self.row.cells, column))
        meant = self.form.expected_values.get(value, value)
        if meant not in EXPECTED:
            known = ", ".join(self.form.expected_values or EXPECTED)
            raise UserError(
                f"{self.where}: column '{column}' is {value!r}, which is none of {known}. Correct "
                f"the row, or say what it means: expected_values={{{value or 'VALUE'}: refuse, "
                f"...}}."
            )
        return meant

    def images(self) -> list[Path]:
        """The pictures of the request; one that does not exist stands for one that is not named."""
        columns = self.form.map.get("images")
        if isinstance(columns, list):
            values = [find(self.row.cells, column) for column in columns]
        elif isinstance(columns, str):
            where = f"{self.where}: {self.named('images')}"
            values = as_list(find(self.row.cells, columns), where) or [None]
        else:
            values = [self.value("image")] if "image" in self.form.map else []
        return [self.picture(value) for value in values]

    def picture(self, value: Any) -> Path:
        """The path of a picture in a record."""
        if isinstance(value, Path):
            return value
        if value is None or (isinstance(value, str) and not value.strip()):
            named = f"(no image named by {self.row.name} of {self.file.name})"
            return self.places.image(self.part, named)
        where = f"{self.where}: {self.named('image')}" if "image" in self.form.map else self.where
        if not isinstance(value, str):
            raise UserError(f"{where}: {value!r:.80} is no path. {_FIX}")
        if "://" in value or value.startswith("data:"):
            raise UserError(
                f"{where}: {value[:80]!r} is no path. Save the pictures as files, and name these."
            )
        return self.places.image(self.part, value)

    def turns(self, role: str) -> list[ChatMessage]:
        """The turns of a role."""
        if role not in self.form.map:
            return []
        where = f"{self.where}: {self.named(role)}"
        return [self.turn(each) for each in read_turns(self.value(role), where)]

    def turn(self, said: Said) -> ChatMessage:
        images = [self.picture(said.image)] if said.image else []
        message = user_message(map(str, images), said.text)
        return message if said.role == "user" else _OTHERS[said.role](content=message.content)

    def asked(self) -> list[ChatMessage]:
        """The conversation: a dialogue, or earlier turns and the request."""
        pictures = [str(each) for each in self.images()]
        if "turns" not in self.form.map:
            return [*self.turns("earlier"), user_message(pictures, self.required("text"))]
        turns = self.turns("turns")
        places = [place for place, turn in enumerate(turns) if turn.role == "user"]
        if not places:
            raise UserError(f"{self.where}: {self.named('turns')} has no turn of the user. {_FIX}")
        place = places[self.image_turn(len(places)) - 1]
        shown = [*pictures, *images_of([turns[place]])]
        turns[place] = user_message(shown, turns[place].text)
        # An answer behind the last turn would be the beginning of the model's.
        return turns[: places[-1] + 1]

    def image_turn(self, turns: int) -> int:
        """Number of the user turn with the pictures, from 1."""
        number = self.text("image_turn") or "1"
        if not number.isdecimal() or not 1 <= int(number) <= turns:
            raise UserError(
                f"{self.where}: {self.named('image_turn')} is {number!r}, and no number from 1 to "
                f"{turns}, its turns of the user. {_FIX}"
            )
        return int(number)


def _check_columns(rows: list[Row], forms: Mapping[str, Form], file: Path) -> None:
    """Refuse a map that names a column that no row has."""
    for form in forms.values():
        for role, column in _columns(form):
            if not holds(rows, column):
                raise UserError(
                    f"{file}: no column '{column}', which the map names for {role}."
                    f"{did_you_mean(column, columns_of(rows))} Its columns are: "
                    f"{', '.join(columns_of(rows))}. Correct the map, or the file."
                )


def _columns(form: Form) -> Iterable[tuple[str, str]]:
    for role, columns in form.map.items():
        for column in columns if isinstance(columns, list) else [columns]:
            if isinstance(column, str):
                yield role, column
    if form.column and "expected" not in form.map:
        yield "expected", form.column
