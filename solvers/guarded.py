"""Model API `guarded/`: a defense around any model, for any task.

    inspect eval inspect_evals/mmmu_multiple_choice --model guarded/ecso/openai/gpt-4o
    inspect eval any.py --model guarded/vlmguard/openai/gpt-4o --model-role rewriter=openai/gpt-4o

A task keeps its own solver: every call of the model passes through the defense, whether it comes
from `multiple_choice()`, a dialogue or an agent. After a tool's result there is nothing new of the
user's, so a defense lets that call pass. A turn that was blocked is left out of all later calls,
with our refusal: an agent that goes on ("please proceed") would have it answered otherwise. `-M`
takes the defense's own options (those of `-S` with its solver), and `model_args`, a mapping with
the arguments of the model inside:

    -M verdict=exact -M "model_args={responses_api: true}"

Secrets in `model_args` are logged as digests (a password in its `base_url` too).
The inner model and the roles count their own tokens, so `guarded/` counts none. The record of each
call is in the metadata of its answer, where `DefenseRecord.of` finds it: an answer that a task
throws away takes its record with it (its tokens are counted all the same). The model never sees the
metadata. Settings of the run reach the inner model; `--attempt-timeout` and `--max-connections`
hold for each of its calls and for the guarded call as a whole.

A stock scorer that asks a model, such as `model_graded_qa()`, asks the evaluated one where no
other is bound: it is then guarded too, and a rewriter would rewrite the judge's question. Bind
`--model-role grader=...`.
"""

import hashlib
import json
from collections.abc import Sequence
from copy import copy
from typing import Any, Final
from uuid import uuid4

from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    model_roles,
    modelapi,
)

# Inspect has no public names for the evaluated model and its settings, nor for the sample of a
# model call. ETA's seeds need its epoch.
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.model._model import active_model
from inspect_ai.solver._task_state import sample_state
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import message_limit, suspend_turn_limit

from vlmguard.guard.after_run import listen
from vlmguard.guard.defense import Conversation, Defense, Outcome, Target
from vlmguard.guard.errors import MissingFile, UserError, cause_of
from vlmguard.guard.guarded_names import PROVIDER, defense_of, guarded_name, made_defense
from vlmguard.guard.model_calls import TOLD_BY
from vlmguard.guard.model_secrets import make_model
from vlmguard.guard.option_content import content_of
from vlmguard.guard.record import CALL_KEY, METADATA_KEY, DefenseRecord
from vlmguard.guard.redaction import redact, redact_text, remember, restored
from vlmguard.guard.roles import Wrapper
from vlmguard.guard.text.outputs import GENERATED
from vlmguard.solvers.told import Told

__all__ = ["Guarded", "guarded"]

_IDENTITY: Final = "#guarded="


@modelapi(name=PROVIDER)
def guarded() -> type[ModelAPI]:
    """A defense around any model."""
    return Guarded


class Guarded(ModelAPI, Wrapper):
    """A model behind a defense.

    Args:
        model_name: `DEFENSE/PROVIDER/MODEL`.
        base_url: For the inner model.
        api_key: For the inner model.
        config: The model's settings.
        model_args: Arguments of the inner model. Their secrets are replaced by digests in place,
            since Inspect logs this very mapping.
        **options: Options of the defense.

    Raises:
        UserError: No such defense, option or model; or a secret that Inspect would log.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008
        model_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        listen()
        _check_address(self._url)
        given = {"base_url": self._url, "api_key": api_key, "model_args": restored(model_args)}
        name = guarded_name(f"{PROVIDER}/{model_name}", {**options, **given})
        assert name is not None
        remember(name.model_args)
        self.card = defense_of(name).card
        self._made: Defense | MissingFile
        try:
            self._made = made_defense(name)
        except MissingFile as error:
            # Scores of a log need none of its defense's files; a run stops at its first call.
            self._made = error
        # Inspect puts the system message of the settings into the input of this model.
        inside = config.model_copy(update={"system_message": None})
        self.inner = _inner(name.model, inside, name.model_args)
        if model_args:
            model_args.update(redact(model_args))
        self._options = {key: content_of(value) for key, value in options.items()}

    @property
    def defense(self) -> Defense:
        """The defense.

        Raises:
            MissingFile: A file that an option names is not there.
        """
        if isinstance(self._made, MissingFile):
            raise MissingFile(self._made.text)
        return self._made

    def check(self) -> None:
        """Refuse a missing file, and a role whose model asks this role in turn."""
        _ = self.defense
        _check_circle(self, ())

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer behind the defense."""
        self.defense.check_choices(config.num_choices)
        self.check()
        asked = config.model_copy(update={"system_message": None})

        async def answer(messages: list[ChatMessage], more: GenerateConfig) -> ModelOutput:
            told.before_answer()
            return await self.inner.generate(messages, tools, tool_choice, asked.merge(more))

        target = Target(self._asked(), answer)
        target.tokens, target.temperature = config.max_tokens, config.temperature
        conversation = _conversation(input)
        record = self.defense.new_record(conversation)
        told = Told(record)
        try:
            # The user's limits count this call, and not those that the defense makes of it.
            with suspend_turn_limit(), message_limit(None):
                outcome = await self.defense.run(conversation, target, record)
        except Exception as error:
            _tell(conversation, record, {"error": redact_text(str(cause_of(error)))})
            raise
        told.afterwards(outcome)
        _tell(conversation, record, _done(outcome))
        return _with_record(outcome.output, record)

    def _asked(self) -> Model:
        """The inner model for questions of the defense's own: with the settings of the task.

        Inspect gives them to the evaluated model alone, and so to these questions of a solver.
        """
        evaluated = active_model()
        if evaluated is None or evaluated.api is not self:
            return self.inner
        # The message is in the input, and the limit of an answer is not that of a check.
        apart = {"system_message": None, "max_tokens": None}
        asked = copy(self.inner)
        asked.config = asked.config.merge(active_generate_config().model_copy(update=apart))
        return asked

    # Inspect's cache knows neither options nor roles of a model, but its base URL.
    @property
    def base_url(self) -> str | None:
        """The inner model's base URL, with what the answers depend on behind a `#`."""
        return f"{self._url or ''}{_IDENTITY}{self._identity()}"

    @base_url.setter
    def base_url(self, url: str | None) -> None:
        self._url = (url or "").partition(_IDENTITY)[0] or None

    def connection_key(self) -> str:
        """A pool of its own: a guarded call waits for the pools of its models."""
        return f"{self.model_name}:{id(self)}"

    def max_connections(self) -> int:
        return self.inner.api.max_connections()

    def max_tokens(self) -> int | None:
        return self.inner.api.max_tokens()

    def max_tokens_for_config(self, config: GenerateConfig) -> int | None:
        return self.inner.api.max_tokens_for_config(config)

    def canonical_name(self) -> str:
        return self.inner.api.canonical_name()

    def service_model_name(self) -> str:
        return self.inner.api.service_model_name()

    def input_tokens_name(self) -> str:
        return self.inner.api.input_tokens_name()

    def model_family(self) -> str:
        return self.inner.api.model_family()

    async def count_tokens(
        self, input: str | list[ChatMessage], config: GenerateConfig | None = None
    ) -> int:
        return await self.inner.api.count_tokens(input, config)

    async def tokenize(self, text: str) -> list[int]:
        return await self.inner.api.tokenize(text)

    async def compact(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        config: GenerateConfig,
        instructions: str | None = None,
    ) -> tuple[list[ChatMessage], ModelUsage | None]:
        compacted, _ = await self.inner.compact(_heard(input), tools, instructions)
        return compacted, None

    def tools_required(self) -> bool:
        return self.inner.api.tools_required()

    def supports_remote_mcp(self) -> bool:
        return self.inner.api.supports_remote_mcp()

    def disable_computer_screenshot_truncation(self) -> bool:
        return self.inner.api.disable_computer_screenshot_truncation()

    def compact_reasoning_history(self) -> bool:
        return self.inner.api.compact_reasoning_history()

    # What else a provider wants to have changed in the messages, the inner model changes itself:
    # a tool's image that became a user turn before would be taken for the user's request.
    def tool_result_images(self) -> bool:
        return True

    def tool_result_documents(self) -> bool:
        return True

    async def aclose(self) -> None:
        await self.inner.api.aclose()

    def _identity(self) -> str:
        """Digest of what the answers depend on, besides the call."""
        _check_circle(self, ())
        card, roles = self.card, model_roles()
        parts = [
            card.name,
            card.version,
            self._options,
            _described(self.inner),
            [_described(roles.get(role.name)) for role in card.roles],
        ]
        if isinstance(self._made, Defense) and self._made.content:
            parts.append(self._made.content)
        return hashlib.sha256(json.dumps(redact(parts), default=repr).encode()).hexdigest()[:16]


def _inner(name: str, config: GenerateConfig, arguments: dict[str, Any]) -> Model:
    try:
        return make_model(name, arguments, config)
    except (TypeError, ValueError) as error:
        raise UserError(f"the model inside guarded/, {name}: {error}") from error


def _check_circle(api: ModelAPI, asked: tuple[str, ...]) -> None:
    """Refuse roles that lead back to themselves.

    Args:
        api: A model.
        asked: The roles that lead to it.

    Raises:
        UserError: A defense would ask a model behind the same defense, without end.
    """
    while isinstance(api, Guarded):
        for role in api.card.roles:
            bound = model_roles().get(role.name)
            for model in bound if isinstance(bound, list) else [bound] if bound else []:
                if role.name in asked:
                    raise UserError(
                        f"the role {role.name} leads back to itself: its model, {model}, is behind "
                        f"a defense that asks this role. Bind it to a model without this defense."
                    )
                _check_circle(model.api, (*asked, role.name))
        api = api.inner.api


def _check_address(url: str | None) -> None:
    """Refuse an address with a secret: Inspect logs `--model-base-url`, and nothing can prevent it.

    Raises:
        UserError: It holds a password, or a secret in its query.
    """
    if url != redact(url):
        remember({"base_url": url})
        raise UserError(
            f"the base URL {url} holds a secret, which Inspect would put into the log. Give it as "
            '-M "model_args={base_url: ...}", which is logged without the secret.'
        )


def _conversation(messages: Sequence[ChatMessage]) -> Conversation:
    heard = _heard(messages)
    state = sample_state()
    if state is None:
        return Conversation(heard)
    return Conversation(heard, f"Sample {state.sample_id}", state.epoch)


def _heard(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """What the model inside and the defense see: no records, and no turn that was blocked.

    From a blocked user turn up to our refusal all is left out. A refusal that stands last is no
    prefill: its turn waits for an answer again, and for the defense.
    """
    heard: list[ChatMessage] = []
    for place, message in enumerate(messages):
        if not _is_refusal(message):
            heard.append(message)
        elif any(not _is_refusal(later) for later in messages[place + 1 :]):
            users = [n for n, each in enumerate(heard) if isinstance(each, ChatMessageUser)]
            heard = heard[: users[-1]] if users else heard
    return _without_records(heard)


def _is_refusal(message: ChatMessage) -> bool:
    noted = (message.metadata or {}).get(METADATA_KEY)
    return noted is not None and DefenseRecord.model_validate(noted).action == "block"


def _without_records(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages as a task without a defense has them."""
    return [
        message.model_copy(
            update={
                "metadata": {
                    key: value
                    for key, value in message.metadata.items()
                    if key not in (METADATA_KEY, CALL_KEY)
                }
                or None
            }
        )
        if message.metadata and METADATA_KEY in message.metadata
        else message
        for message in messages
    ]


def _with_record(output: ModelOutput, record: DefenseRecord) -> ModelOutput:
    """The output with the record in each of its messages, and without tokens counted before."""
    noted = {METADATA_KEY: record.dumped(), CALL_KEY: uuid4().hex}
    choices = [
        choice.model_copy(
            update={
                "message": choice.message.model_copy(
                    update={"metadata": {**(choice.message.metadata or {}), **noted}}
                )
            }
        )
        for choice in output.choices
    ]
    billed = output.usage is not None or output.response_id is not None
    metadata = {**(output.metadata or {}), GENERATED: True} if billed else output.metadata
    update = {"choices": choices, "usage": None, "metadata": metadata}
    return output.model_copy(update=update)


def _done(outcome: Outcome) -> dict[str, Any]:
    decision = outcome.decision
    return {"action": decision.action, "reason": decision.reason, "after": decision.request}


def _tell(conversation: Conversation, record: DefenseRecord, what: dict[str, Any]) -> None:
    """Say in the transcript what was done."""
    before = conversation.text.encode("utf-8", "backslashreplace")
    event = {
        "defense": record.defense,
        **what,
        "skipped": record.skipped,
        "failure": record.failure or "",
        "before": hashlib.sha256(before).hexdigest(),
    }
    transcript().info(event, source=TOLD_BY)


def _described(bound: Model | list[Model] | None) -> list[Any]:
    """What tells a model, or the models of a role, from others."""
    models = bound if isinstance(bound, list) else [bound] if bound else []
    return [
        [
            str(model),
            model.config.model_dump(exclude_none=True),
            redact(model.api.base_url),
            redact(model.model_args),
        ]
        for model in models
    ]
