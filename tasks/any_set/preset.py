"""A set described as YAML: its files, what its columns mean, and what a user must know of it."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlmguard.guard.errors import UserError
from vlmguard.guard.yaml_files import read_yaml
from vlmguard.tasks.any_set.form import Form, read_form

__all__ = ["Part", "Preset", "Repository", "read_preset"]


class Part(Form):
    """A file of a set; what it does not say is said by the whole.

    Attributes:
        file: Its path; one with `*` names several, the shards of one table.
        image_dir: The folder of its pictures.
        each_row_gives: The samples of a row, by name, each with what differs; without them a row is
            one sample. They are a pair.
    """

    file: str = ""
    image_dir: str = ""
    each_row_gives: dict[str, Form] = Field(default_factory=dict)


class Repository(BaseModel):
    """A git repository with files of a set; see `cards.Git`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    paths: tuple[str, ...] = ()
    commit: str = ""


class Preset(Part):
    """A whole set; all but its files and its form is for people, tables and `vlmguard data`.

    Attributes:
        name: Its name; that of the YAML file.
        title: Its title.
        about: Paper, authors and address, and what nobody could confirm.
        license: Its license, with what is uncertain about it.
        noncommercial: Whether that forbids commercial use.
        gated: Whether the hub asks for a token and accepted terms.
        obtain: Where to get the files and where to put them.
        hub: Its dataset repository on the hub.
        hub_files: Patterns of the files needed from it.
        hub_commit: The commit that others have read.
        git: Its authors' repository.
        partner: The card with harmless requests beside its risky ones.
        layouts: Accepted layouts, for people.
        sha256: First 8 hex digits of the SHA-256 of known files.
        count: Number of its samples, if that is known.
        roots: Folders below the data folder, in the first of which its files are.
        parts: Its files, by name; or else `file` is the only one.
    """

    name: str = ""
    title: str = "Own set"
    about: str = ""
    license: str = ""
    noncommercial: bool = False
    gated: bool = False
    obtain: str = ""
    hub: str | None = None
    hub_files: tuple[str, ...] = ()
    hub_commit: str = ""
    git: Repository | None = None
    partner: str = ""
    layouts: tuple[str, ...] = ()
    sha256: dict[str, str] = Field(default_factory=dict)
    count: int | None = Field(default=None, gt=0)
    roots: tuple[str, ...] = ("",)
    parts: dict[str, Part] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_files(self) -> Self:
        if bool(self.file) == bool(self.parts):
            raise ValueError("either file or parts is needed: what is to be read?")
        if missing := [name for name, part in self.parts.items() if not part.file]:
            raise ValueError(f"parts.{missing[0]} has no file")
        return self

    def all_parts(self) -> dict[str, Part]:
        """Its parts, complete: what one does not say is taken from the whole."""
        if not self.parts:
            return {"": self}
        return {
            name: Part(
                **dict(part.over(self)),
                file=part.file,
                image_dir=part.image_dir or self.image_dir,
                each_row_gives=part.each_row_gives or self.each_row_gives,
            )
            for name, part in self.parts.items()
        }

    def forms(self) -> dict[tuple[str, str], Form]:
        """The form of each sample of a row, by part and by name (empty for the only one)."""
        return {
            (name, each): form.over(part)
            for name, part in self.all_parts().items()
            for each, form in (part.each_row_gives or {"": part}).items()
        }

    @property
    def has_turns(self) -> bool:
        """Whether its samples are dialogues."""
        return any("turns" in form.map for form in self.forms().values())

    def check_forms(self, where: str) -> None:
        """Refuse a set of which a form is not complete, see `Form.check_complete`.

        Args:
            where: Where it stands, for the message.

        Raises:
            UserError: Also if it has dialogues beside requests with earlier turns, which would be
                replayed too.
        """
        if self.has_turns and any("earlier" in form.map for form in self.forms().values()):
            raise UserError(
                f"{where}: turns of one part are replayed, and earlier ones of another stay as "
                "given. Make two sets of them."
            )
        for (part, each), form in self.forms().items():
            form.check_complete(": ".join(filter(None, [where, part, each])))


def read_preset(file: Path) -> Preset:
    """Read a preset, and check that it is complete.

    Args:
        file: The YAML.

    Raises:
        UserError: It cannot be read, or something in it is unknown, missing or wrong.
    """
    content: Any = read_yaml(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: no keys like file and map are found in it. Correct it.")
    preset = read_form(Preset, {**content, "name": file.stem}, str(file))
    preset.check_forms(str(file))
    return preset
