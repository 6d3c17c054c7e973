"""Where the files and pictures of a set are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlmguard.guard.data_source import MissingFile, Source
from vlmguard.tasks.any_set.preset import Part, Preset

__all__ = ["Places"]


@dataclass(frozen=True)
class Places:
    """Where the files of a set are.

    Attributes:
        source: Its data.
        preset: Its description.
        root: The folder to which its paths are relative.
    """

    source: Source
    preset: Preset
    root: Path

    @classmethod
    def of(cls, source: Source, preset: Preset) -> "Places":
        for below in preset.roots:
            root = source.root / below
            if any(_glob(root, part.file) for part in preset.all_parts().values()):
                return cls(source, preset, root)
        return cls(source, preset, source.root / preset.roots[0])

    def parts(self) -> Mapping[str, Part]:
        """The parts that are to be read."""
        parts = self.preset.all_parts()
        there = {name: part for name, part in parts.items() if _glob(self.root, part.file)}
        return there if there and self.source.partial else parts

    def files(self, part: Part) -> list[Path]:
        """The files of a part; see `Part.file`."""
        if found := _glob(self.root, part.file):
            return found
        source = self.source
        places = " or ".join(str(Path(below) / part.file) for below in self.preset.roots)
        raise MissingFile(
            f"{source.card.title}: {places} not found in {source.root}. {source.card.obtain}",
            source.on_hub,
        )

    def image(self, part: Part, name: str) -> Path:
        return self.root / part.image_dir / name

    def relative(self, path: Path) -> str:
        """The name of a picture: its path below the data folder, or that of a picture in a file."""
        root = self.source.root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _glob(root: Path, file: str) -> list[Path]:
    path = root / file
    if path.is_file():
        return [path]
    return sorted(path.parent.glob(path.name)) if "*" in path.name else []
