"""JailGuard's mutators of images.

The authors' operators, with their ranges (https://github.com/shiningrain/JailGuard, commit
0a8bd79); theirs are torchvision's, with the same results up to the rounding of a blur. Cropping and
colour jitter are left out.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageOps

__all__ = ["PICTURE_MUTATORS", "PictureMutator"]

PictureMutator = Callable[[Image.Image, Random], Image.Image]
"""Makes a new picture of one of mode RGB, with a generator of its own."""


def policy(picture: Image.Image, rng: Random) -> Image.Image:
    """One of rotation, blur and posterise, with the authors' probabilities."""
    (mutate,) = rng.choices((rotation, blur, posterise), weights=(0.34, 0.45, 0.21))
    return mutate(picture, rng)


def rotation(picture: Image.Image, rng: Random) -> Image.Image:
    """Turn it by up to 180 degrees, of which small ones are more likely; corners are black."""
    return picture.rotate(rng.uniform(0.0, rng.uniform(0.1, 180.0)))


def blur(picture: Image.Image, rng: Random) -> Image.Image:
    """Gaussian blur of 0.1 to 2 pixels, over 1, 3, 5 or 7 pixels in each direction."""
    from scipy.ndimage import gaussian_filter1d

    rows, columns = (rng.randint(0, 3) for _ in range(2))
    sigma = rng.uniform(0.1, 2.0)
    pixels = np.asarray(picture, dtype=np.float32)
    for axis, radius in enumerate((rows, columns)):
        pixels = gaussian_filter1d(pixels, sigma, axis=axis, mode="mirror", radius=radius)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def posterise(picture: Image.Image, rng: Random) -> Image.Image:
    """Keep one or two bits a channel, or, in half of the cases, the picture."""
    return ImageOps.posterize(picture, rng.randint(1, 2)) if rng.random() < 0.5 else picture


def flip(picture: Image.Image, rng: Random) -> Image.Image:
    """Mirror it left to right, in somewhat more than half of the cases."""
    return ImageOps.mirror(picture) if rng.random() < rng.uniform(0.1, 1.0) else picture


def vertical_flip(picture: Image.Image, rng: Random) -> Image.Image:
    """Put it upside down, as often."""
    return ImageOps.flip(picture) if rng.random() < rng.uniform(0.1, 1.0) else picture


def grey(picture: Image.Image, rng: Random) -> Image.Image:
    """Take its colours away, as often."""
    return picture.convert("L").convert("RGB") if rng.uniform(0.1, 1.0) >= 0.5 else picture


def solarise(picture: Image.Image, rng: Random) -> Image.Image:
    """Invert all values from a threshold of 1 to 200 on, or, in half of the cases, nothing."""
    return ImageOps.solarize(picture, rng.randint(1, 200)) if rng.random() < 0.5 else picture


def mask(picture: Image.Image, rng: Random) -> Image.Image:
    """Cover a part with black: 30 % of each side, at most 200 pixels."""
    masked = picture.copy()
    width, height = (min(200, round(0.3 * side)) for side in picture.size)
    left = rng.randint(0, picture.width - width - 1)
    top = rng.randint(0, picture.height - height - 1)
    ImageDraw.Draw(masked).rectangle((left, top, left + width, top + height), fill="black")
    return masked


PICTURE_MUTATORS: Final[Mapping[str, PictureMutator]] = {
    "policy": policy,
    "rotation": rotation,
    "blur": blur,
    "posterise": posterise,
    "flip": flip,
    "vertical_flip": vertical_flip,
    "grey": grey,
    "solarise": solarise,
    "mask": mask,
}
"""By name (`-S mutator`)."""
