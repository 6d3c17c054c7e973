"""Requests: a photo of 200 kB with a question, and random bodies in any spelling of JSON."""

import base64
import io
import json
import random
from functools import cache
from typing import Any

from PIL import Image

PHOTO_BYTES = 200_000
_QUESTION = "Where should I put the ladder to reach the window on the left, and is it safe?"


@cache
def photo() -> bytes:
    """A JPEG file of about 200 kB, 1024 x 768 pixels."""
    source = random.Random(0)
    coarse = Image.frombytes("RGB", (32, 24), source.randbytes(32 * 24 * 3))
    fine = Image.frombytes("RGB", (1024, 768), source.randbytes(1024 * 768 * 3))
    blocks = coarse.resize((1024, 768), Image.Resampling.BICUBIC)
    picture = Image.blend(blocks, fine, 0.22)
    for quality in range(95, 20, -1):
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=quality)
        if len(buffer.getvalue()) <= PHOTO_BYTES:
            break
    return buffer.getvalue()


def photo_request(number: int, model: str = "m", **fields: Any) -> bytes:
    """A chat request with the photo; no two have the same picture or text.

    Args:
        number: Number of the request.
        model: Name of the model.
        fields: Further fields of the body.
    """
    # Readers ignore what stands behind the end of a JPEG's picture.
    data = base64.b64encode(photo() + b"%012d" % number).decode()
    parts = [
        {"type": "text", "text": f"{_QUESTION} (view {number})"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
    ]
    body = {"model": model, "temperature": 0.5, **fields}
    return json.dumps({**body, "messages": [{"role": "user", "content": parts}]}).encode()


def small_request(number: int) -> bytes:
    """A chat request with a picture of a few pixels; no two have the same text."""
    image = {"type": "image_url", "image_url": {"url": _small(number % 4)}}
    parts = [image, {"type": "text", "text": f"{_QUESTION} (view {number})"}]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()


def random_request(number: int) -> bytes:
    """A valid chat request with fields, numbers, escapes and spaces of any kind."""
    source = random.Random(number)
    return _Writer(source).request().encode("utf-8", "strict")


class Written(str):
    """JSON text, for `in_any_spelling`: it goes in as it is."""


def in_any_spelling(value: Any, source: random.Random, fields: int = 0) -> bytes:
    """A value as JSON, in any order of keys, with any escapes and spaces.

    Args:
        value: The value; strings in it may be `Written`.
        source: Decides.
        fields: Objects get up to so many more members (`x_0`) with values of any kind.
    """
    return _Writer(source).spelled(value, fields).encode("utf-8", "strict")


class _Writer:
    """Writes JSON as somebody else's program might."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def request(self) -> str:
        count = self.source.randint(0, 4)
        turns = [self.turn(self.source.choice(["user", "assistant"])) for _ in range(count)]
        if self.source.random() < 0.3:
            turns.insert(0, self.turn("system"))
        turns.append(self.turn("user"))
        if self.source.random() < 0.1:
            turns += self.tool_turns()
        pairs = [("model", '"m"'), ("messages", self.array(turns))]
        pairs += [(f"x_{name}", self.value(3)) for name in range(self.source.randint(0, 5))]
        pairs += [("temperature", self.number())] if self.source.random() < 0.3 else []
        pairs += [("stream", "false")] if self.source.random() < 0.2 else []
        return self.space() + self.object(pairs) + self.space()

    def spelled(self, value: Any, fields: int) -> str:
        if isinstance(value, Written):
            return value
        if isinstance(value, str):
            return self.string_of(value)
        if isinstance(value, list):
            return self.array([self.spelled(each, fields) for each in value])
        if not isinstance(value, dict):
            return json.dumps(value)
        pairs = [(key, self.spelled(each, fields)) for key, each in value.items()]
        more = self.source.randint(0, fields)
        return self.object([*pairs, *((f"x_{name}", self.value(2)) for name in range(more))])

    def turn(self, role: str) -> str:
        content = self.string()
        if role == "user" and self.source.random() < 0.7:
            content = self.array([self.part() for _ in range(self.source.randint(1, 4))])
        pairs = [("role", f'"{role}"'), ("content", content)]
        pairs += [("name", self.string())] if self.source.random() < 0.2 else []
        pairs += [("x_turn", self.value(2))] if self.source.random() < 0.2 else []
        return self.object(pairs)

    def tool_turns(self) -> list[str]:
        call = [("id", '"call_1"'), ("type", '"function"')]
        function = [("name", '"look"'), ("arguments", self.string_of('{"at": 1.50}'))]
        call.append(("function", self.object(function)))
        asked = [("role", '"assistant"'), ("content", "null")]
        asked.append(("tool_calls", self.array([self.object(call)])))
        answered = [("role", '"tool"'), ("tool_call_id", '"call_1"'), ("content", self.string())]
        return [self.object(asked), self.object(answered)]

    def part(self) -> str:
        if self.source.random() < 0.5:
            return self.object([("type", '"text"'), ("text", self.string())])
        image = [("url", self.string_of(_small(self.source.randrange(4))))]
        image += [("detail", '"low"')] if self.source.random() < 0.3 else []
        return self.object([("type", '"image_url"'), ("image_url", self.object(image))])

    def value(self, depth: int) -> str:
        kind = self.source.randrange(7 if depth else 5)
        if kind == 5:
            return self.array([self.value(depth - 1) for _ in range(self.source.randint(0, 3))])
        if kind == 6:
            pairs = [(f"k{n}", self.value(depth - 1)) for n in range(self.source.randint(0, 3))]
            return self.object(pairs)
        return [self.string, self.number, lambda: "true", lambda: "false", lambda: "null"][kind]()

    def object(self, pairs: list[tuple[str, str]]) -> str:
        self.source.shuffle(pairs)
        each = [f"{self.string_of(k)}{self.space()}:{self.space()}{v}" for k, v in pairs]
        return "{" + self.space() + f"{self.space()},{self.space()}".join(each) + self.space() + "}"

    def array(self, values: list[str]) -> str:
        return "[" + self.space() + f"{self.space()},{self.space()}".join(values) + "]"

    def space(self) -> str:
        return self.source.choice(["", "", " ", "\n  ", "\t", "\r\n"])

    def number(self) -> str:
        whole = str(self.source.randrange(10 ** self.source.choice([1, 3, 25])))
        digits = f".{self.source.randrange(10**20):020}"
        fraction = self.source.choice(["", "", ".0", ".50", digits])
        exponent = self.source.choice(["", "", "e5", "E+03", "e-400", "E400"])
        return self.source.choice(["", "-"]) + whole + fraction + exponent

    def string(self) -> str:
        words = ["cat", "Wie geht's?", "日本語", "🙂", '"', "\\", "\n", "</prompt>", "\x00", "é"]
        return self.string_of(
            " ".join(self.source.choice(words) for _ in range(self.source.randint(0, 8)))
        )

    def string_of(self, text: str) -> str:
        """A string, each character in one of the ways that JSON has."""
        if self.source.random() < 0.5:
            return json.dumps(text, ensure_ascii=self.source.random() < 0.5)
        return '"' + "".join(map(self.character, text)) + '"'

    def character(self, one: str) -> str:
        if one == "/" and self.source.random() < 0.5:
            return "\\/"
        if self.source.random() < 0.05 and ord(one) < 0x10000:
            return f"\\u{ord(one):04{self.source.choice('xX')}}"
        return json.dumps(one, ensure_ascii=False)[1:-1]


@cache
def _small(number: int) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (60 * number, 90, 120)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


class Number(str):
    """A number as it is written: 1.0 is not 1.00."""


def exactly(body: bytes) -> Any:
    """What a body says, numbers as written, objects as lists of their members in order."""
    return json.loads(
        body, parse_int=Number, parse_float=Number, object_pairs_hook=lambda pairs: ["{", *pairs]
    )


def rewritten(body: bytes, text: str) -> Any:
    """What a body says (as of `exactly`), with another text of its last user message.

    The last one that says something counts. A text stands where the first one was, further ones are
    gone; behind images alone it comes last.
    """
    value = exactly(body)
    turns = _member(value, "messages")
    turn = [turn for turn in turns if _member(turn, "role") == "user" and _says(turn)][-1]
    content = _member(turn, "content")
    if isinstance(content, str):
        turn[:] = [("content", text) if pair[0] == "content" else pair for pair in turn]
        return value
    texts = [part for part in content if _member(part, "type") == "text"]
    content[:] = [part for part in content if not any(part is text for text in texts[1:])]
    if texts:
        first = texts[0]
        first[:] = [("text", text) if pair[0] == "text" else pair for pair in first]
    else:
        content.append(["{", ("type", "text"), ("text", text)])
    return value


def _says(turn: list[Any]) -> bool:
    content = _member(turn, "content")
    if isinstance(content, str):
        return bool(content.strip())
    return any(_member(part, "type") != "text" or _member(part, "text").strip() for part in content)


def _member(value: list[Any], name: str) -> Any:
    return next(pair[1] for pair in value[1:] if pair[0] == name)
