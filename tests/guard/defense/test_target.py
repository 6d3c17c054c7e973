"""Answers go the caller's way; a defense's own questions do not."""

from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from support.scripted import Scripted, user

from vlmguard.guard.defense import Target

CHECK = GenerateConfig(temperature=0.0, max_tokens=1024)


async def test_an_answer_has_the_settings_of_the_request_and_the_overrides() -> None:
    scripted = Scripted("ok")
    target = Target(scripted.model, config=GenerateConfig(temperature=0.7, max_tokens=99))
    assert target.tokens == 99
    await target([user("How?")])
    await target([user("How?")], GenerateConfig(max_tokens=1024))
    settings = [(call.config.temperature, call.config.max_tokens) for call in scripted.calls]
    assert settings == [(0.7, 99), (0.7, 1024)]
    assert target.tokens == 1024


async def test_the_callers_way_is_taken_for_answers_alone() -> None:
    scripted, asked = Scripted("ok"), list[list[ChatMessage]]()

    async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        asked.append(messages)
        return ModelOutput.from_content("m", "theirs")

    target = Target(scripted.model, answer)
    assert (await target([user("How?")])).completion == "theirs"
    assert (await target.ask([user("Safe?")], CHECK)).completion == "ok"
    assert [call.text for call in scripted.calls] == ["Safe?"]
    assert [messages[0].text for messages in asked] == ["How?"]


async def test_a_question_has_its_own_temperature_and_at_least_the_users_tokens() -> None:
    for given, tokens in ((256, 1024), (4096, 4096)):
        scripted = Scripted("ok")
        config = GenerateConfig(temperature=0.7, max_tokens=given)
        await Target(scripted.model, config=config).ask([user("Safe?")], CHECK)
        (call,) = scripted.calls
        assert (call.config.temperature, call.config.max_tokens) == (0.0, tokens)
