r"""Gates: a cheap check that says whether a request is rewritten at all (`-S gate=`).

`gate=role` asks the model in the role `gate`, in a format of guard models, whether the request is
unsafe. `gate=FILE` reads rules; the request is rewritten if any of them holds:

    - {name: tools, text: '\b(saw|drill|ladder)s?\b', image: true}
    - {name: doses, text: '\bhow (much|many)\b'}

All that a rule says must hold. `text` is a regular expression that is searched in the user's words,
those of earlier turns included, as they are written and as they look (a zero-width space in a word
hides nothing); `image` is whether there is an image.

What a gate cannot tell never passes: a verdict that cannot be read, a pattern that takes too long,
a request of which the guard model sees nothing. But it passes what it is blind to, and nobody looks
at that again: a text guard cannot see the image.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Self

from inspect_ai.model import ChatMessageUser
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from vlmguard.guard.cards import Calls
from vlmguard.guard.decision import Verdict
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import MissingFile, UserError
from vlmguard.guard.guard_models.asked import ROLE as GUARD
from vlmguard.guard.guard_models.asked import asking
from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.guard.option_content import files_digest
from vlmguard.guard.paths import user_path
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.roles import one_model
from vlmguard.guard.rule_files import read_rules
from vlmguard.guard.several_images import UNSUPPORTED
from vlmguard.guard.text.patterns import SECONDS, user_pattern
from vlmguard.guard.text.reading import as_read
from vlmguard.guard.text.untrusted import plain_spelling, well_formed

__all__ = ["ALARM", "ROLE", "Gate", "Opinion", "gate_of"]

ROLE: Final = "gate"
"""The role of the model that is asked, and the stage of its calls."""

ALARM: Final = "gate"
"""The key, in a record's notes, of whether a gate had the request rewritten; it is not there if the
gate could not tell."""

_FORM: Final = "custom"


@dataclass(frozen=True)
class Opinion:
    """What a gate says of a request.

    Attributes:
        rewrite: Whether it is to be rewritten.
        verdict: The guard model's verdict; None of a rule.
        failure: Why the gate could not tell (`gate_no_verdict`); empty if it could.
        why: The rule that holds, or why there was nothing to ask; empty otherwise.
    """

    rewrite: bool
    verdict: Verdict | None = None
    failure: str = ""
    why: str = ""


class Gate(ABC):
    """A cheap check of a request."""

    roles: tuple[str, ...] = ()
    """The roles that need a model."""
    calls: Calls = Calls(0, 0)
    """Its calls for one sample."""
    files: str = ""
    """Identity of the files that its options name, for the record; empty without any."""

    async def ready(self) -> None:
        """Find its model, before anything is paid for.

        Raises:
            UserError: It is missing or unsuitable.
        """
        return

    @abstractmethod
    async def check(self, conversation: Conversation, record: DefenseRecord) -> Opinion:
        """Check a request, and note the calls."""


def gate_of(gate: str | None, adapter: str | Mapping[str, Any] | None = None) -> Gate | None:
    """The gate of these options; None without one.

    Args:
        gate: `role`, or a YAML file of rules.
        adapter: For `role`: a format of guard models (default `custom`), or
            `{adapter: FORMAT, OPTION: VALUE}`.

    Raises:
        UserError: A file, a rule, a format or an option of it cannot be used.
    """
    if gate == "role":
        return _RoleGate(adapter or _FORM)
    if adapter is not None:
        raise UserError(
            f"-S gate_adapter={adapter} is the format of a model in the role gate: add -S "
            "gate=role, or leave it out."
        )
    return None if gate is None else _RuleGate(gate)


class _RoleGate(Gate):
    def __init__(self, adapter: str | Mapping[str, Any]) -> None:
        options = {} if isinstance(adapter, str) else dict(adapter)
        name = adapter if isinstance(adapter, str) else str(options.pop("adapter", _FORM))
        self.guard = guard_format(name, options)
        self.files = files_digest(options)
        if "input" not in self.guard.sides:
            raise UserError(f"-S gate_adapter={name}: this format checks no requests.")
        self.roles = tuple(ROLE if role == GUARD else role for role in self.guard.roles)
        asked = int(ROLE in self.roles)
        each = asked * (self.guard.images == "each")
        self.calls = Calls(asked, asked, further_images=each)

    async def ready(self) -> None:
        with self._asking():
            await self.guard.ready()

    async def check(self, conversation: Conversation, record: DefenseRecord) -> Opinion:
        exchange = Exchange(conversation)
        if reason := self.guard.skipped(exchange):
            return Opinion(rewrite=True, why=reason)
        with self._asking():
            checked = await self.guard.check(exchange)
        for stage in checked.stages:
            own = {"name": ROLE, "role": ROLE} if stage.role == GUARD else {}
            record.add_stage(stage.model_copy(update=own))
        verdict = checked.verdict
        if verdict.parsed:
            return Opinion(verdict.label == "unsafe", verdict)
        said = UNSUPPORTED if checked.failure == UNSUPPORTED else "no_verdict"
        return Opinion(rewrite=True, verdict=verdict, failure=f"gate_{said}")

    def _asking(self) -> AbstractContextManager[None]:
        # Some formats ask no model, but an API of their own or a checkpoint.
        if ROLE not in self.roles:
            return nullcontext()
        return asking(one_model(ROLE))


class _Rule(BaseModel):
    """A rule: all that it says must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", max_length=60)
    text: str | None = None
    image: bool | None = None
    _pattern: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.text is None and self.image is None:
            raise ValueError("it says neither `text` nor `image`")
        if self.text is not None:
            self._pattern = user_pattern("text", self.text)
        return self

    def holds(self, texts: list[str], image: bool, until: float) -> bool:
        """Whether it holds.

        Args:
            texts: The user's words, in one spelling or several.
            image: Whether there is an image.
            until: When to stop, in the seconds of `monotonic`.

        Raises:
            TimeoutError: There is no time left.
        """
        if self.image is not None and self.image != image:
            return False
        return self.text is None or any(
            self._pattern.search(each, timeout=max(until - monotonic(), 1e-6)) for each in texts
        )


class _RuleGate(Gate):
    def __init__(self, file: str) -> None:
        path = user_path(file)
        if not path.is_file():
            raise MissingFile(
                f"-S gate={file}: there is no such file. Write `role`, or name a YAML file of "
                "rules."
            )
        self.rules = read_rules(
            file,
            _Rule,
            "a gate is a list of rules, each with `text` (a regular expression), `image` (true or "
            "false) or both, and perhaps a `name`",
            lambda rule: (),
        )
        self.files = files_digest({"gate": file})

    async def check(self, conversation: Conversation, record: DefenseRecord) -> Opinion:
        turns = (turn for turn in conversation.request if isinstance(turn, ChatMessageUser))
        written = well_formed("\n".join(turn.text for turn in turns))
        texts = list(dict.fromkeys((written, as_read(written), plain_spelling(written))))
        until = monotonic() + SECONDS
        try:
            for number, rule in enumerate(self.rules, start=1):
                if rule.holds(texts, bool(conversation.seen), until):
                    return Opinion(rewrite=True, why=rule.name or f"rule {number}")
        except TimeoutError:
            return Opinion(rewrite=True, failure="gate_timeout")
        return Opinion(rewrite=False)
