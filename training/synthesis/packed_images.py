"""Images inside Parquet files, taken out only for rows that are drawn."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlmguard.guard.packed_images import image_file, read_parquet


@dataclass(frozen=True)
class PackedImage:
    """An image inside a Parquet file, in its column `image`.

    Attributes:
        file: The Parquet file.
        row: Number of the row, from 0.
    """

    file: Path
    row: int


def unpack(images: Iterable[PackedImage]) -> dict[PackedImage, Path]:
    """Write packed images to separate files, below the user's cache folder.

    Args:
        images: The images; each Parquet file is read once.

    Returns:
        The file of each image. For a row without an image, the path does not exist.

    Raises:
        UserError: A file cannot be read.
    """
    wanted: dict[Path, set[int]] = defaultdict(set)
    for image in images:
        wanted[image.file].add(image.row)
    return {
        PackedImage(file, number): image_file(row["image"], file, number)
        for file, numbers in wanted.items()
        for number, row in enumerate(read_parquet(file, ["image"]))
        if number in numbers
    }
