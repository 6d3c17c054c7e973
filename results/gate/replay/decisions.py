"""What a guard decided about each recorded request, and the baseline of an earlier guard.

The baseline is a JSON file (compressed if its name ends in `.gz`), without anybody's words:

    {"format": "replay 1", "guard": {"name": "vlmguard", ...}, "requests": {"ID": {...}, ...}}
"""

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from vlmguard.guard.decision import Action
from vlmguard.guard.errors import MissingFile, UserError, first_fault
from vlmguard.guard.files import read_json
from vlmguard.guard.paths import missing
from vlmguard.guard.recordings import RecordedRequest
from vlmguard.results.formats.writing import write_files

__all__ = [
    "KINDS",
    "Decided",
    "GuardRun",
    "Kind",
    "read_baseline",
    "recorded_run",
    "write_baseline",
]

FORMAT: Final = "replay 1"

Kind = Literal["pass", "rewrite", "block", "failed", "skipped", "undecided"]
KINDS: Final[tuple[Kind, ...]] = ("pass", "rewrite", "block", "failed", "skipped", "undecided")
"""What became of a request: passed on unchanged, changed or blocked; the guard's output could not
be used; the guard had nothing to look at (a tool's turn); or no decision was made (a failed call, a
picture that is not there).
"""

Text = Annotated[str, Field(strict=True)]


@dataclass(frozen=True)
class Decided:
    """A decision about a recorded request.

    Attributes:
        digest: Identity of the request's content.
        action: What was done; empty without a decision.
        reason: Why, in one or two words, or why there is no decision.
        failure: Why the guard's output could not be used; empty if it could.
        skipped: Why the guard looked at nothing; empty if it looked.
        sent: Digest of what the target gets; empty if it gets nothing.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    digest: Text
    action: Action | Literal[""]
    reason: Text = ""
    failure: Text = ""
    skipped: Text = ""
    sent: Text = ""

    @property
    def kind(self) -> Kind:
        """What became of the request."""
        if not self.action:
            return "undecided"
        if self.skipped:
            return "skipped"
        # A guard that refuses has read the request: what follows is a decision.
        if self.failure and self.failure != "refused":
            return "failed"
        return "rewrite" if self.action == "regenerate" else self.action

    @property
    def unchanged(self) -> bool:
        """Whether the target gets the request as it came, decided or after a failure."""
        return self.action == "pass"


@dataclass(frozen=True)
class GuardRun:
    """A guard's decisions about recorded requests.

    Attributes:
        guard: What is known of the guard: name, version, template, options, models.
        decisions: The decisions by id of the request.
    """

    guard: dict[str, str]
    decisions: dict[str, Decided] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the guard in messages."""
        said = [self.guard["name"], *([self.guard["version"]] if self.guard["version"] else [])]
        told = [self.guard[each] for each in ("options", "models") if self.guard.get(each)]
        return " ".join(said) + (f" ({'; '.join(told)})" if told else "")


def recorded_run(requests: list[RecordedRequest]) -> GuardRun:
    """The decisions that were recorded with the requests.

    Several guards may have made them, one after another; their names are then joined.

    Args:
        requests: The recordings.
    """
    guards = Counter((each.defense, each.version, each.template) for each in requests)
    named = [f"{name} {version}".strip() for name, version, _ in guards]
    joined = " and ".join(dict.fromkeys(named))
    # Two templates of one version are two guards as well.
    told = f"{joined}, {len(guards)} guards" if len(guards) > 1 else joined
    return GuardRun(
        {"name": f"{told}, as recorded", "version": "", "template": ""},
        {
            each.id: Decided(
                digest=each.digest,
                action=each.decision.action,
                reason=each.decision.reason,
                failure=each.decision.failure,
                skipped=each.decision.skipped,
                sent=each.decision.sent,
            )
            for each in requests
        },
    )


def read_baseline(path: Path) -> GuardRun:
    """Read the decisions of an earlier guard.

    Raises:
        UserError: The file does not exist, is damaged, or is of another kind.
    """
    anew = "Delete it and write it anew with --update."
    if not path.exists():
        raise MissingFile(f"{missing(path)} Write a baseline with --update.")
    if path.is_dir():
        raise UserError(f"{path}: a folder; --baseline takes the file that --update writes.")
    document = read_json(path, anew)
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise UserError(f"{path}: not the baseline of a replay (format '{FORMAT}'). {anew}")
    try:
        guard = TypeAdapter(dict[str, Text]).validate_python(document.get("guard"))
        found = TypeAdapter(dict[str, Decided]).validate_python(document.get("requests"))
    except ValidationError as error:
        where, said = first_fault(error)
        raise UserError(f"{path}: broken baseline at {where} ({said}). {anew}") from error
    if not {"name", "version", "template"} <= guard.keys() or not found:
        raise UserError(f"{path}: broken baseline, without a guard or requests. {anew}")
    return GuardRun(guard, found)


def write_baseline(path: Path, run: GuardRun) -> None:
    """Write a baseline, the same bytes for the same decisions.

    Args:
        path: The file; compressed if its name ends in `.gz`.
        run: The decisions.

    Raises:
        UserError: It cannot be written; an existing file is left unchanged.
    """
    # One line a request, so that version control shows which decision changed.
    lines = [
        f"{json.dumps(name)}: {json.dumps({k: v for k, v in asdict(each).items() if v})}"
        for name, each in sorted(run.decisions.items())
    ]
    guard = json.dumps(run.guard, sort_keys=True)
    listed = ",\n".join(lines)
    content = f'{{"format": "{FORMAT}", "guard": {guard}, "requests": {{\n{listed}\n}}}}\n'
    data = content.encode()
    packed = gzip.compress(data, mtime=0) if path.suffix == ".gz" else data
    write_files(path.parent, {path.name: packed})
