"""Recorded traffic: what `vlmguard serve --record` writes, and what reads it.

A folder with the files of one process each:

- `requests-*.jsonl`: requests about one picture, as rows that the synthesis reads. They have no
  answers and no label: whether they were harmful, nobody has said.
- `others-*.jsonl`: all other requests in the same form, which are no rows: without a picture or a
  text, of several pictures, with earlier turns, or what the guard did not look at.
- `images/`: each picture once, named by the digest of its bytes.

Pictures stand in messages by the path of their file. What is not a picture of bytes (an address
that was not fetched, a document) is left out, and only its kind is kept.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from inspect_ai.model import ChatMessage
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from vlmguard.guard.data_records import parse_records
from vlmguard.guard.decision import Action, Decision, Verdict
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import MissingFile, UserError
from vlmguard.guard.files import parse_json, read_bytes, read_text
from vlmguard.guard.messages import image_parts, images_of
from vlmguard.guard.paths import existing, inside
from vlmguard.guard.redaction import HIDDEN, is_secret, redact_text
from vlmguard.guard.text.untrusted import well_formed

__all__ = [
    "FORMAT",
    "IMAGES",
    "LEFT_OUT",
    "OTHERS",
    "ROWS",
    "Plain",
    "RecordedDecision",
    "RecordedRequest",
    "Recordings",
    "read_recordings",
]

FORMAT: Final = 1
ROWS: Final = "requests"
OTHERS: Final = "others"
IMAGES: Final = "images"
LEFT_OUT: Final = "left-out:"
"""What stands in the place of content that is not kept."""

_MESSAGES: Final = TypeAdapter(list[ChatMessage])
_DATA: Final = {"document": "document", "audio": "audio", "video": "video"}
"""The field with the content of a part, by the part's type."""
_STRUCTURE: Final = {"role", "type", "image", "detail", "tool_call_id", "id", *_DATA.values()}
"""Fields that hold nobody's words."""
_NOT_KEPT: Final = {"id", "metadata", "model", "source"}
_MIME: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


class RecordedDecision(BaseModel):
    """What a guard decided about a request.

    Attributes:
        action: What was done; in shadow mode, what would have been.
        reason: Why, in one or two words.
        hazard: What could go wrong, in the guard's words.
        failure: Why the guard's output could not be used; empty if it could.
        skipped: Why the guard looked at nothing; empty if it looked.
        request: Text of the last user turn as the target gets it; empty if it is blocked.
        sent: Digest of all that the target gets; empty if it gets nothing.
        verdict: The guard's verdict, if it gave one.
    """

    action: Action
    reason: str = ""
    hazard: str = ""
    failure: str = ""
    skipped: str = ""
    request: str = ""
    sent: str = ""
    verdict: Verdict | None = None


class RecordedRequest(BaseModel):
    """A line of a recording.

    Attributes:
        format: Version of this form.
        id: The request's id, unique in a folder.
        time: When it came, in UTC to the second.
        image: File of the picture of a row for the synthesis; None if it is no row.
        image_id: Identity of that picture.
        prompt: Text of the last user turn.
        messages: The conversation, see `Plain`.
        elsewhere: Names of turns that a server keeps, and nobody here has.
        decision: What the guard decided.
        answer: The answer without the guard, in shadow mode; else None.
        shadow: Whether the guard changed nothing.
        defense: Name of the defense.
        version: Its version.
        template: Hash of its templates.
        benign: Whether somebody who looked said that it is harmless; None if nobody did.
    """

    model_config = ConfigDict(extra="ignore")

    format: Literal[1]
    id: Annotated[str, Field(min_length=1)]
    time: str
    image: str | None = None
    image_id: str | None = None
    prompt: str
    messages: list[dict[str, Any]]
    elsewhere: list[str] = Field(default_factory=list)
    decision: RecordedDecision
    answer: str | None = None
    shadow: bool = False
    defense: str
    version: str = ""
    template: str = ""
    benign: bool | None = None

    @property
    def digest(self) -> str:
        """Identity of the conversation: 12 hex digits."""
        return _digest(self.messages)

    @property
    def cluster(self) -> str:
        """What the request is about: its last picture, or else the conversation itself."""
        files = images_of(_MESSAGES.validate_python(self.messages))
        return files[-1] if files else self.digest

    def conversation(self, folder: Path) -> tuple[Conversation, dict[str, str]]:
        """The conversation as the guard got it.

        Args:
            folder: The folder of the recording.

        Returns:
            The conversation, and the file of each picture in it by its data URI.

        Raises:
            MissingFile: A picture is not there, or was not recorded.
        """
        messages = _MESSAGES.validate_python(self.messages)
        pictures: dict[str, str] = {}
        for part in image_parts(messages):
            file = part.image
            part.image = _data_uri(folder, file, f"request {self.id}")
            pictures[part.image] = file
        made = Conversation(messages, f"Request {self.id}", elsewhere=tuple(self.elsewhere))
        return made, pictures


@dataclass(frozen=True)
class Recordings:
    """What a folder of recordings holds.

    Attributes:
        requests: All requests, in the order of the files' names.
        torn: The files whose last line was cut off, each with what is lost.
    """

    requests: list[RecordedRequest]
    torn: list[str]


def read_recordings(folder: Path) -> Recordings:
    """Read all recordings of a folder.

    Raises:
        UserError: There are none, a line is no recording, or two requests have the same id.
    """
    existing(folder, "folder", "Name the one that `vlmguard serve --record` wrote to.")
    files = [file for kind in (ROWS, OTHERS) for file in sorted(folder.glob(f"{kind}-*.jsonl"))]
    if not files:
        raise UserError(
            f"{folder}: no recordings ({ROWS}-*.jsonl, {OTHERS}-*.jsonl) are here. Name the folder "
            f"that `vlmguard serve --record` wrote to."
        )
    requests: list[RecordedRequest] = []
    torn: list[str] = []
    for file in files:
        lines, cut = _lines(file)
        requests += parse_records(lines, RecordedRequest, file, strict=False)
        torn += cut
    places = [request.id for request in requests]
    if len({*places}) < len(places):
        twice = next(each for each in places if places.count(each) > 1)
        raise UserError(f"{folder}: the request {twice} occurs twice. Remove one of the lines.")
    if not requests:
        raise UserError(f"{folder}: its recordings hold no whole line.")
    return Recordings(requests, torn)


class Plain:
    """Brings a request into the form of a recording: without ids, metadata, secrets and bytes.

    Args:
        pictures: Path of the file of each picture, by its data URI; others are left out.
    """

    def __init__(self, pictures: Mapping[str, str]) -> None:
        self._pictures = pictures
        # A request stands in it several times, and to look for secrets takes time.
        self._texts: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A text without secrets, and as files can hold it."""
        if text not in self._texts:
            self._texts[text] = redact_text(well_formed(text))
        return self._texts[text]

    def messages(self, messages: Sequence[ChatMessage]) -> list[Any]:
        """Messages, each as JSON."""
        return [self._message(message) for message in messages]

    def decision(self, decision: Decision, skipped: str) -> RecordedDecision:
        """A decision about a request, before any answer.

        Args:
            decision: The decision.
            skipped: Why the guard looked at nothing.
        """
        verdict = decision.verdict
        return RecordedDecision(
            action=decision.action,
            reason=self.text(decision.reason),
            hazard=self.text(decision.hazard),
            failure=decision.failure,
            skipped=skipped,
            request=self.text(decision.request),
            sent=_digest(self.messages(decision.messages)) if decision.messages else "",
            verdict=verdict and verdict.model_copy(update={"raw": self.text(verdict.raw)}),
        )

    def _message(self, message: ChatMessage) -> dict[str, Any]:
        dumped: dict[str, Any] = message.model_dump(exclude_none=True, exclude=_NOT_KEPT)
        parts = dumped.get("content")
        for part in parts if isinstance(parts, list) else []:
            kind = part.get("type")
            if kind == "image":
                part["image"] = self._pictures.get(part["image"], f"{LEFT_OUT}{kind}")
            elif kind in _DATA:
                part[_DATA[kind]] = f"{LEFT_OUT}{kind}"
        hidden: dict[str, Any] = self._hidden(dumped, "")
        return hidden

    def _hidden(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: self._hidden(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self._hidden(each, name) for each in value]
        if not isinstance(value, str) or name in _STRUCTURE:
            return value
        return HIDDEN if is_secret(name) else self.text(value)


def _data_uri(folder: Path, file: str, record: str) -> str:
    if file.startswith(LEFT_OUT):
        raise MissingFile(f"{record}: one of its pictures was not recorded.")
    path = inside(folder, file, record)
    mime = _MIME.get(path.suffix, "application/octet-stream")
    return f"data:{mime};base64,{base64.b64encode(read_bytes(path)).decode()}"


def _digest(messages: list[Any]) -> str:
    # Of what is said alone: a plain text and one part of it are the same to a model.
    said = [[each["role"], _said(each.get("content")), each.get("tool_calls")] for each in messages]
    text = json.dumps(said, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def _said(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _lines(file: Path) -> tuple[list[tuple[str, Any]], list[str]]:
    """Name and content of each whole line, and what was cut off at the end."""
    found: list[tuple[str, Any]] = []
    # Every line ends with a line break, so what stands behind the last one was cut off.
    *whole, rest = read_text(file).split("\n")
    for number, line in enumerate(whole, start=1):
        if line.strip():
            found.append((f"line {number}", parse_json(line, f"{file}: line {number}")))
    cut = f"{file}: line {len(whole) + 1} was cut off after {len(rest)} characters"
    return found, [cut] if rest else []
