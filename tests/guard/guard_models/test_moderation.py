"""The moderation API's format against a scripted server (handmade answers)."""

import asyncio

import pytest
from support.moderation_server import ModerationApi, moderated, moderation_server
from support.scripted import picture, user

from vlmguard.guard.defense import Conversation
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import Checked, Exchange
from vlmguard.guard.guard_models.formats import guard_format
from vlmguard.guard.guard_models.moderation import read

KEY = "sk-handmade0123456789handmade"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def checked(api: ModerationApi, exchange: Exchange, patch: pytest.MonkeyPatch) -> Checked:
    patch.setenv("OPENAI_BASE_URL", api.address)
    return asyncio.run(guard_format("moderation").check(exchange))


def test_each_image_goes_with_the_text_and_the_worst_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Exchange(Conversation([user("How?", picture("red"), picture("blue"))]))
    answers = [(200, moderated(violence=0.1, sexual=0.2)), (200, moderated(violence=0.9))]
    with moderation_server(*answers) as api:
        found = checked(api, asked, monkeypatch)
    assert [[part["type"] for part in each["input"]] for each in api.requests] == [
        ["text", "image_url"],
        ["text", "image_url"],
    ]
    assert found.verdict.label == "unsafe"
    assert found.verdict.score == 0.9
    assert found.verdict.categories == ("violence",)
    assert len(found.stages) == 2
    assert found.failure == ""


def test_an_answer_is_sent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Exchange(Conversation([user("How?", picture())]), answer="So.")
    with moderation_server((200, moderated(hate=0.1))) as api:
        found = checked(api, asked, monkeypatch)
    assert [each["input"] for each in api.requests] == [[{"type": "text", "text": "So."}]]
    assert (found.verdict.label, found.verdict.score) == ("safe", 0.1)


def test_a_busy_api_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = (429, {"error": {"message": "slow down"}})
    with moderation_server(busy, (200, moderated(hate=0.1))) as api:
        found = checked(api, Exchange(Conversation([user("How?")])), monkeypatch)
    assert len(api.requests) == 2
    assert found.verdict.label == "safe"


def test_a_refused_request_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    with moderation_server((400, {"error": {"message": f"bad image, key {KEY}"}})) as api:
        found = checked(api, Exchange(Conversation([user("How?")])), monkeypatch)
    assert found.verdict.label is None
    assert found.failure == "failed_call"
    assert "bad image" in found.verdict.raw
    assert KEY not in found.verdict.raw


def test_a_wrong_key_stops_the_run_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        moderation_server((401, {"error": {"message": f"Incorrect API key: {KEY}"}})) as api,
        pytest.raises(UserError, match="OPENAI_API_KEY") as error,
    ):
        checked(api, Exchange(Conversation([user("How?")])), monkeypatch)
    assert KEY not in str(error.value)


def test_a_missing_key_is_found_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        asyncio.run(guard_format("moderation").ready())


@pytest.mark.parametrize("raw", ["", "{", "{}", '{"results": []}', '{"results": [{"flagged": 1}]}'])
def test_other_answers_are_no_verdict(raw: str) -> None:
    assert read(raw).label is None
