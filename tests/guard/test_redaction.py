"""Secrets are removed from settings and messages, and no other text is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmguard.guard.errors import UserError
from vlmguard.guard.redaction import is_secret, redact, redact_text, remember

SETTINGS = {
    "api_key": "SECRET1",
    "base_url": "http://user:SECRET2@host:9/v1?token=SECRET3&version=7",
    "default_headers": {"Authorization": "Bearer SECRET4", "X-Custom": "SECRET5", "Accept": "x/y"},
    "extra_body": {"top_k": 5, "list": [{"hubToken": "SECRET6"}]},
    "headers": [["Authorization", "SECRET7"]],
    "password": 1234567,
    "command": "--api-key=SECRET8 --n 3",
    "auth": ["user", "SECRET9"],
    "default_query": {"code": "SECRET10", "version": "7"},
    "extra_headers": "X-Key: SECRET11",
    "max_tokens": 4,
    "eos_token": "<end>",
    "token": True,
    "credentials": None,
}


def test_no_secret_is_left_in_settings_and_all_else_is() -> None:
    redacted = redact(SETTINGS)

    assert "SECRET" not in str(redacted)
    assert "1234567" not in str(redacted)
    assert redacted["default_headers"]["Accept"] == "x/y"
    assert redacted["extra_body"]["top_k"] == 5
    assert "version=7" in redacted["base_url"]
    assert "host:9" in redacted["base_url"]
    kept = {name: SETTINGS[name] for name in ("max_tokens", "eos_token", "token", "credentials")}
    assert kept.items() <= redacted.items()
    assert redact(redacted) == redacted


def test_a_digest_tells_two_secrets_apart() -> None:
    one, other = redact({"api_key": "one"}), redact({"api_key": "other"})

    assert one != other
    assert one == redact({"api_key": "one"})


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apiKey", "API-KEY", "OPENAI_API_KEY", "x-api-key", "aws_secret_access_key"),
        *("aws_access_key_id", "aws_session_token", "hub_token", "token", "authToken", "password"),
        *("Authorization", "Cookie", "client_secret", "private_key", "credentials", "hf_token"),
        *("Ocp-Apim-Subscription-Key", "connection_string", "auth"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "tokens", "eos_token", "pad_token", "image_token", "leak_key", "keywords"),
        *("tokenizer", "author", "passes", "key_frames", "judge", "temperature", "authority"),
    ],
)
def test_names_of_other_settings(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    [
        "Error code: 401 - Incorrect API key provided: SECRET. You can find yours at ...",
        "Error code: 401 - {'error': {'message': 'Invalid API key: SECRET'}}",
        "API key 'SECRET' is not valid",
        "wrong password: SECRET",
        "sk-SECRET1234 was refused",
        "sk-pr*****SECRET was refused",
        "{'Authorization': 'Bearer SECRET', \"X-Api-Key\": \"SECRET\"}",
        "Authorization: Bearer SECRET",
        "Bearer SECRET1 is unknown",
        "get http://user:SECRET@host/v1 failed",
        "get http://SECRET@host/v1 failed",
        "get https://host/v1?key=SECRET&n=1 failed",
        "get https://host/f?X-Amz-Signature=SECRET failed",
        "hub_token=SECRET, n=1",
        'api_key: "SECRET with blanks"',
        "hf_SECRETSECRET has expired",
        "AKIASECRETSECRETX is unknown",
        "eyJSECRETSECRET.SECRETSECRET.SECRET expired",
    ],
)
def test_no_secret_is_left_in_a_message(text: str) -> None:
    assert "SECRET" not in redact_text(text)
    assert "SECRET" not in str(UserError(text))
    assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "field 'api_key': Input should be a string",
        "max_tokens=1024, eos_token='<e>', temperature=0.5",
        "Set HF_TOKEN (or run `hf auth login`).",
        "a risk-assessment of the task-force1 at desk-12345678",
        "Basic questions about bearer tokens",
        "https://example.org/@user/page?n=1#top",
        "siuo: default_headers=Authorization:secret-1a2b3c4d, temperature=0.5",
        "api_key=None",
    ],
)
def test_a_message_without_secrets_stays(text: str) -> None:
    assert redact_text(text) == text


def test_known_values_are_hidden_whatever_they_look_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "plain-key-7")
    monkeypatch.setenv("SOME_BASE_URL", "http://user:pass-word-8@host/v1?token=tok-9999")
    monkeypatch.setenv("LOCAL_API_KEY", "ollama")
    remember({"model_args": {"default_headers": {"X": "Token header-value-1"}}})

    text = redact_text("plain-key-7, pass-word-8, tok-9999 and header-value-1 for ollama/llama")

    assert text == "[secret], [secret], [secret] and [secret] for ollama/llama"


def test_what_a_configuration_calls_a_secret_is_hidden_however_plain() -> None:
    remember({"api_key": "longpassphrase", "headers": {"Authorization": "Basic dXNlcjpwYXNz"}})

    text = redact_text("longpassphrase and dXNlcjpwYXNz")

    assert text == "[secret] and [secret]"


@settings(max_examples=25)
@given(st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_redacting_twice_is_redacting_once(value: object) -> None:
    once = redact({"api_key": value, "other": value})

    assert redact(once) == once


@pytest.mark.parametrize(
    "bad", ["a.a", "sk-", "Bearer ", "api key ", "?a=", '"', "http://a", " =", "-eyJaaaaaaaa"]
)
def test_time_is_linear(bad: str) -> None:
    def seconds(length: int) -> float:
        text = (bad * length)[:length]
        return min(_timed(text) for _ in range(3))

    assert seconds(40_000) / max(seconds(10_000), 1e-4) < 8


def _timed(text: str) -> float:
    start = time.process_time()
    redact_text(text)
    return time.process_time() - start
