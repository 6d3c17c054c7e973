"""Images as files: those inside Parquet files, and those that must be converted first."""

import base64
from collections import defaultdict
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vlmguard.guard.images.prepare import ImageError, PreparedImage, prepare_image
from vlmguard.guard.packed_images import image_file, read_parquet


@dataclass(frozen=True, slots=True)
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


def on_disk(files: Collection[Path]) -> dict[Path, PreparedImage | ImageError]:
    """Prepare images as `prepare_image` does, and keep none of them in memory.

    Args:
        files: The images.

    Returns:
        Each image, by its file or a converted copy below the user's cache folder; or its error.

    Raises:
        UserError: The cache folder cannot be written.
    """

    def attempt(path: Path) -> PreparedImage | ImageError:
        try:
            image = prepare_image(path)
        except ImageError as error:
            return error
        if not image.reference.startswith("data:"):
            return image
        content = base64.b64decode(image.reference.partition(",")[2])
        return replace(image, reference=str(image_file(content, path, 0)))

    # Threads help, since Pillow decodes outside the interpreter lock.
    with ThreadPoolExecutor() as pool:
        return dict(zip(files, pool.map(attempt, files), strict=True))
