"""OpenAI's moderation API: a free classifier of text and images.

Model: omni-moderation-latest, https://platform.openai.com/docs/guides/moderation

    OPENAI_API_KEY=... inspect eval ... -S adapter=moderation

It needs no model in a role. The key and, for another address, `OPENAI_BASE_URL` come from the
environment. A request takes one image; several are a request each, all with the text. Images count
for violence, self-harm and sexual content alone. An answer is sent alone, without image or request.

Label: the API's own flag. Score: the highest of all categories' scores, with which a threshold is
compared.

The form is confirmed by the types of the `openai` package (3.52.0) and the API's guide; it was
never run against the API here.

Azure's Content Safety API is not built: it needs a key that nobody here has, so nothing of it could
be tested.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmguard.guard.decision import Verdict
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import ROLE, Checked, Exchange, GuardModel, Side, worst
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.record import Stage
from vlmguard.guard.redaction import redact_text
from vlmguard.guard.text.reading import as_read
from vlmguard.guard.text.untrusted import well_formed

# Imported where it is used: 500 modules, which every start of Inspect would load with this one.
if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import ModerationMultiModalInputParam

__all__ = ["FAILED", "Moderation"]

FAILED: Final = "failed_call"
"""The failure of a call that the API refused, or did not answer after several attempts."""

ATTEMPTS: Final = 5


class _Result(BaseModel):
    """What we read of a result; the package's own types would drop categories they do not know."""

    model_config = ConfigDict(extra="ignore")

    flagged: bool
    categories: dict[str, bool | None]
    category_scores: dict[str, float | None] = Field(min_length=1)


class Moderation(GuardModel):
    """OpenAI's moderation API.

    Args:
        model: The API's name of the model.
    """

    name: ClassVar = "moderation"
    version: ClassVar = "2-A"
    sides: ClassVar = ("input", "output")
    images: ClassVar = "each"
    roles = ()
    scores = True

    def __init__(self, *, model: str = "omni-moderation-latest") -> None:
        self.model = model

    async def ready(self) -> None:
        """Check that there is a key.

        Raises:
            UserError: There is none.
        """
        await self._client().close()

    async def check(self, exchange: Exchange) -> Checked:
        """Send the request with each of its images, or the answer alone."""
        said = exchange.conversation.text if exchange.answer is None else exchange.answer
        said = as_read(said) or said
        text: list[ModerationMultiModalInputParam] = []
        if said.strip():
            text = [{"type": "text", "text": well_formed(said)}]
        images = dict.fromkeys(exchange.conversation.seen) if exchange.answer is None else {}
        parts = [[*text, _image(each)] for each in images] or [text]
        async with self._client() as client:
            return worst([await self._ask(client, each, exchange.side) for each in parts])

    async def _ask(
        self, client: "AsyncOpenAI", parts: Iterable["ModerationMultiModalInputParam"], side: Side
    ) -> Checked:
        import openai

        start = time.monotonic()
        try:
            response = await client.moderations.with_raw_response.create(
                input=parts, model=self.model
            )
            raw = response.text
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        ) as error:
            raise UserError(
                f"The moderation API refused the key, or knows no model {self.model} "
                f"({error.status_code}: {error.message[:300]}). Check OPENAI_API_KEY, "
                "OPENAI_BASE_URL and the option model."
            ) from error
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            said = redact_text(f"{type(error).__name__}: {error.message[:300]}")
            verdict = Verdict(raw=said, label=None)
            return Checked(verdict, (_stage(side, said, start),), FAILED)
        verdict = read(raw)
        failure = "" if verdict.parsed else "no_verdict"
        return Checked(verdict, (_stage(side, raw, start),), failure)

    @staticmethod
    def _client() -> "AsyncOpenAI":
        import openai

        try:
            return openai.AsyncOpenAI(max_retries=ATTEMPTS - 1)
        except openai.OpenAIError as error:
            raise UserError(
                "The format moderation asks OpenAI's API and needs its key. Set OPENAI_API_KEY."
            ) from error


def read(raw: str) -> Verdict:
    """Read the API's answer.

    Args:
        raw: Its JSON.

    Returns:
        The verdict; its label is None if the answer has not one result of the known form.
    """
    try:
        results = _Results.model_validate_json(raw).results
        scores = [each for each in results[0].category_scores.values() if each is not None]
        return Verdict(
            raw=raw,
            label="unsafe" if results[0].flagged else "safe",
            categories=tuple(name for name, flagged in results[0].categories.items() if flagged),
            score=max(scores, default=None),
        )
    except ValidationError:
        return Verdict(raw=raw, label=None)


class _Results(BaseModel):
    results: list[_Result] = Field(min_length=1, max_length=1)


def _image(reference: str) -> "ModerationMultiModalInputParam":
    remote = reference.startswith(("http://", "https://"))
    address = reference if remote else to_data_uri(reference)
    return {"type": "image_url", "image_url": {"url": address}}


def _stage(side: Side, output: str, start: float) -> Stage:
    """The call, without tokens: the API bills none."""
    figures: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost": 0.0}
    return Stage(
        name=f"guard_{side}",
        role=ROLE,
        output=output,
        seconds=time.monotonic() - start,
        **figures,
    )
