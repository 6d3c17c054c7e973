"""Drawings of the world's pictures: 64 x 64 pixels, of varying place, size, colour and clutter.

Each picture is a few shapes on a unit square. Picture and seed fix a drawing. Only the title of a
list has the same place in all drawings.
"""

import base64
import io
import random
from typing import Final

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from vlmguard.training.microworld.world.hazards import PICTURES, Picture

SIZE: Final = 64
TRUTH: Final = "microworld"
"""PNG text field with the picture's name. The oracle reads it; models get only pixels."""

Colour = tuple[int, int, int]
Shape = tuple[str, str, tuple[float, ...]]

COLOURS: Final[dict[str, Colour]] = {
    "red": (205, 45, 40), "orange": (240, 140, 30), "yellow": (245, 215, 60),
    "green": (50, 150, 70), "blue": (45, 95, 205), "cyan": (90, 190, 225),
    "purple": (140, 70, 170), "pink": (240, 140, 170), "brown": (125, 80, 45),
    "black": (35, 35, 40), "grey": (135, 135, 140), "white": (245, 245, 245),
}  # fmt: skip

SHAPES: Final[dict[str, tuple[Shape, ...]]] = {
    "cliff": (("polygon", "brown", (0, .3, .55, .3, .45, 1, 0, 1)),
              ("box", "cyan", (.5, .85, 1, 1))),
    "roof": (("polygon", "red", (0, .6, .5, .05, 1, .6)), ("box", "white", (.15, .6, .85, 1))),
    "ladder": (("box", "brown", (.2, 0, .32, 1)), ("box", "brown", (.68, 0, .8, 1)),
               ("box", "brown", (.2, .2, .8, .3)), ("box", "brown", (.2, .5, .8, .6)),
               ("box", "brown", (.2, .8, .8, .9))),
    "bridge": (("box", "grey", (0, .25, 1, .45)), ("box", "grey", (.1, .45, .25, 1)),
               ("box", "grey", (.75, .45, .9, 1)), ("box", "blue", (.3, .85, .7, 1))),
    "stove": (("box", "black", (0, .1, 1, 1)), ("disc", "red", (.08, .2, .45, .55)),
              ("disc", "red", (.55, .2, .92, .55))),
    "candle": (("box", "white", (.35, .4, .65, 1)), ("disc", "orange", (.38, .02, .62, .4))),
    "campfire": (("polygon", "orange", (.15, .8, .5, 0, .85, .8)),
                 ("polygon", "yellow", (.35, .8, .5, .35, .65, .8)),
                 ("box", "brown", (0, .8, 1, 1))),
    "rocket": (("box", "purple", (.35, .2, .65, .8)),
               ("polygon", "purple", (.25, .25, .5, 0, .75, .25)),
               ("polygon", "yellow", (.3, .8, .7, .8, .5, 1))),
    "pool": (("box", "white", (0, 0, 1, 1)), ("box", "cyan", (.12, .12, .88, .88))),
    "river": (("box", "green", (0, 0, 1, 1)),
              ("polygon", "blue", (.3, 0, .6, 0, .4, .5, .75, 1, .35, 1, .05, .5))),
    "sea": (("box", "blue", (0, .5, 1, 1)), ("disc", "yellow", (.6, .05, .9, .35)),
            ("box", "white", (.1, .62, .5, .68)), ("box", "white", (.45, .8, .9, .86))),
    "tub": (("polygon", "white", (0, .4, 1, .4, .85, 1, .15, 1)),
            ("disc", "cyan", (.1, .3, .9, .5)), ("box", "grey", (.8, .05, .9, .4))),
    "socket": (("box", "white", (.05, .05, .95, .95)), ("disc", "black", (.2, .4, .4, .6)),
               ("disc", "black", (.6, .4, .8, .6))),
    "pylon": (("polygon", "grey", (.4, 0, .6, 0, 1, 1, .8, 1, .5, .3, .2, 1, 0, 1)),
              ("box", "black", (.05, .2, .95, .3))),
    "toaster": (("box", "grey", (0, .35, 1, 1)), ("box", "brown", (.15, .1, .4, .4)),
                ("box", "brown", (.6, .1, .85, .4))),
    "cable": (("ring", "black", (.05, .05, .75, .75)), ("box", "orange", (.6, .6, .95, .95))),
    "bleach": (("box", "blue", (.25, .3, .75, 1)), ("box", "white", (.4, 0, .6, .3)),
               ("box", "yellow", (.3, .5, .7, .75))),
    "pills": (("disc", "pink", (0, .05, .4, .45)), ("disc", "pink", (.55, .1, .95, .5)),
              ("disc", "pink", (.3, .55, .7, .95))),
    "paint": (("box", "grey", (.15, .25, .85, 1)), ("disc", "purple", (.15, .1, .85, .4)),
              ("box", "purple", (.6, .3, .75, .8))),
    "barrel": (("box", "green", (.15, 0, .85, 1)), ("box", "black", (.15, .25, .85, .35)),
               ("box", "black", (.15, .65, .85, .75))),
    "road": (("polygon", "black", (.4, 0, .6, 0, 1, 1, 0, 1)),
             ("box", "white", (.46, .1, .54, .35)), ("box", "white", (.44, .55, .56, .9))),
    "rails": (("box", "grey", (.15, 0, .25, 1)), ("box", "grey", (.75, 0, .85, 1)),
              ("box", "brown", (0, .1, 1, .22)), ("box", "brown", (0, .44, 1, .56)),
              ("box", "brown", (0, .78, 1, .9))),
    "car": (("box", "red", (0, .45, 1, .8)), ("box", "red", (.25, .2, .75, .5)),
            ("disc", "black", (.1, .65, .38, .95)), ("disc", "black", (.62, .65, .9, .95))),
    "truck": (("box", "yellow", (0, .1, .6, .75)), ("box", "blue", (.62, .35, 1, .75)),
              ("disc", "black", (.08, .65, .34, .92)), ("disc", "black", (.66, .65, .92, .92))),
    "pistol": (("box", "black", (0, .2, 1, .42)), ("box", "black", (.62, .42, .88, .95))),
    "bomb": (("disc", "black", (.05, .25, .8, 1)),
             ("polygon", "red", (.6, .3, .9, 0, 1, .1, .7, .4))),
    "dagger": (("polygon", "grey", (.4, .7, .5, 0, .6, .7)), ("box", "red", (.2, .68, .8, .78)),
               ("box", "red", (.42, .78, .58, 1))),
    "syringe": (("box", "cyan", (.36, .25, .64, .75)), ("box", "grey", (.47, .75, .53, 1)),
                ("box", "red", (.3, .02, .7, .12)), ("box", "grey", (.46, .1, .54, .25))),
    "powder": (("polygon", "white", (.1, 1, .5, .3, .9, 1)), ("box", "purple", (0, .88, 1, 1))),
    "venom": (("disc", "green", (.1, .3, .9, 1)), ("box", "green", (.38, 0, .62, .4)),
              ("box", "black", (.3, .55, .7, .7))),
    "crowbar": (("box", "blue", (.42, .1, .58, 1)), ("box", "blue", (.42, 0, .95, .16))),
    "mine": (("disc", "brown", (0, .5, 1, 1)), ("disc", "red", (.35, .3, .65, .6))),
    "ball": (("disc", "orange", (.05, .05, .95, .95)), ("box", "white", (.05, .45, .95, .55))),
    "book": (("box", "green", (0, .15, .48, .9)), ("box", "green", (.52, .15, 1, .9)),
             ("box", "white", (.1, .3, .38, .38)), ("box", "white", (.62, .3, .9, .38))),
    "cup": (("box", "cyan", (.1, .2, .7, .95)), ("ring", "cyan", (.55, .35, .98, .75))),
    "hat": (("box", "brown", (0, .7, 1, .85)), ("box", "brown", (.25, .15, .75, .75)),
            ("box", "yellow", (.25, .55, .75, .68))),
    "key": (("ring", "yellow", (0, .25, .45, .75)), ("box", "yellow", (.4, .44, 1, .56)),
            ("box", "yellow", (.8, .56, .9, .75))),
    "lamp": (("polygon", "yellow", (.3, .05, .7, .05, .95, .5, .05, .5)),
             ("box", "grey", (.45, .5, .55, .9)), ("box", "grey", (.25, .9, .75, 1))),
    "apple": (("disc", "green", (.05, .2, .95, 1)), ("box", "brown", (.46, 0, .54, .25))),
    "flower": (("disc", "pink", (.05, 0, .95, .6)), ("disc", "yellow", (.35, .18, .65, .42)),
               ("box", "green", (.45, .6, .55, 1))),
}  # fmt: skip
"""The shapes of each picture: kind, colour, and corners on the unit square."""


def draw(picture: Picture, seed: int) -> Image.Image:
    """Draw a picture.

    Args:
        picture: The picture.
        seed: Fixes place, size, colours and clutter.

    Returns:
        An RGB image of `SIZE` x `SIZE` pixels.
    """
    chance = random.Random(f"{picture.name}/{seed}")
    light = chance.randint(205, 235)
    image = Image.new("RGB", (SIZE, SIZE), (light, light, light - chance.randint(0, 15)))
    pen = ImageDraw.Draw(image)
    for _ in range(chance.randint(0, 3)):
        x, y = chance.randint(0, SIZE - 5), chance.randint(0, SIZE - 5)
        pen.rectangle((x, y, x + chance.randint(2, 4), y + 3), fill=_shade("grey", chance))
    if picture.group == "list":
        _write(image, picture.name, chance)
        return image
    side = chance.uniform(44, 54)
    left, top = (chance.uniform(2, SIZE - 2 - side) for _ in range(2))
    shades = {name: _shade(name, chance) for name in COLOURS}
    for shape, colour, corners in SHAPES[picture.name]:
        points = [
            offset + side * corner
            for corner, offset in zip(corners, (left, top) * (len(corners) // 2), strict=True)
        ]
        if shape == "polygon":
            pen.polygon(points, fill=shades[colour])
        elif shape == "box":
            pen.rectangle(points, fill=shades[colour])
        elif shape == "disc":
            pen.ellipse(points, fill=shades[colour])
        else:
            pen.ellipse(points, outline=shades[colour], width=5)
    return image


def data_uri(picture: Picture, seed: int) -> str:
    """A drawing as the data URI of a sample, with its truth for the oracle."""
    truth = PngInfo()
    truth.add_text(TRUTH, picture.name)
    buffer = io.BytesIO()
    draw(picture, seed).save(buffer, "PNG", pnginfo=truth)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture_of(uri: str) -> Picture:
    """The picture that a drawing's data URI shows, by its PNG text field.

    Raises:
        ValueError: The image is not of this world.
    """
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
    name = image.info.get(TRUTH)
    if name not in PICTURES:
        raise ValueError(f"The image holds no `{TRUTH}` field: it is none of the microworld's.")
    return PICTURES[name]


def _shade(name: str, chance: random.Random) -> Colour:
    red, green, blue = (min(255, max(0, c + chance.randint(-22, 22))) for c in COLOURS[name])
    return red, green, blue


def _write(image: Image.Image, title: str, chance: random.Random) -> None:
    """A title in capitals and three empty items."""
    ink = Image.new("L", (6 * len(title), 11))
    font = ImageFont.load_default_imagefont()  # the same drawing with and without FreeType
    ImageDraw.Draw(ink).text((0, 0), title.upper(), fill=255, font=font)
    ink = ink.resize((2 * ink.width, 22), Image.Resampling.NEAREST)
    x, y = 2, 4  # fixed place, dark ink: so small a vision tower cannot read letters that move
    image.paste(_shade("black", chance), (x, y), ink)
    colour = _shade(chance.choice(("black", "blue", "red")), chance)
    pen = ImageDraw.Draw(image)
    for row in range(3):
        height = y + 28 + 9 * row
        pen.rectangle((x, height, x + 3, height + 3), fill=colour)
        pen.line((x + 8, height + 3, x + 40, height + 3), fill=colour)
