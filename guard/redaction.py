"""Removes secrets from settings and messages. Both become text only through this module.

Settings get a short digest in place of a secret, so that two runs that differ only in a key stay
distinct. Messages get a fixed mark. A secret is recognised by its name (`api_key`, `hub_token`, any
header), by its place (the password and the query of an address), by its shape (`sk-...`), and by
its value if this process knows it, from its environment or from a configuration (`remember`).
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

__all__ = [
    "HIDDEN",
    "is_secret",
    "known_digest",
    "redact",
    "redact_text",
    "remember",
    "restored",
]

HIDDEN: Final = "[secret]"
"""The mark for a secret in a message."""

_MARKED: Final = re.compile(r"\[secret\]|secret-[0-9a-f]{8}")
_WORD_ENDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NAMES: Final = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secret|secrets|credential|credentials|authorization"
    r"|auth|cookie|cookies|bearer|jwt|apikey|connection_string)$"
    r"|(?:^|_)(?:api|access|secret|private|subscription|account|auth|signing|shared|client|service"
    r"|session|master|admin|license|openai|azure|anthropic|google|gemini|hf|groq|mistral|together"
    r"|aws|cohere|xai|deepseek|openrouter)_keys?(?:_id)?$"
    r"|(?:^|_)(?:api|auth|access|hub|hf)_tokens$"
)
# A tokenizer's tokens (`eos_token`) are not secrets.
_TOKEN: Final = re.compile(
    r"(?:^|_)(?<!eos_)(?<!bos_)(?<!pad_)(?<!unk_)(?<!sep_)(?<!cls_)(?<!mask_)(?<!image_)"
    r"(?<!img_)(?<!video_)(?<!audio_)(?<!stop_)(?<!start_)(?<!end_)(?<!special_)(?<!per_)token$"
)
_HEADERS: Final = re.compile(r"(?:^|_)headers$")
# Headers that describe the content, not the sender.
_PLAIN_HEADERS: Final = {
    *("accept", "content_type", "user_agent", "anthropic_version", "anthropic_beta"),
}
_ENVIRONMENT: Final = re.compile(
    r"(?:^|_)(?:key|apikey|token|secret|password|passwd|pwd|credentials?|auth)$", re.IGNORECASE
)

# Messages may be of any length, so no pattern has an unbounded repeat next to another repeat:
# matching stays linear.
_USER: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)([^\s/?#'\"<>]{1,300})@")
_QUERY: Final = re.compile(r"([?&;])([A-Za-z][\w.-]{0,60})=([^&;\s'\"#<>]+)")
_IN_QUERIES: Final = {"key", "sig", "signature", "code", "x_amz_signature", "x_amz_credential"}
_ASSIGNED: Final = re.compile(
    r"(?<![\w.-])([A-Za-z][\w.-]{0,60})(['\"]?\s{0,3}[:=]\s{0,3})"
    r"((?:Bearer|Basic|Token)\s{1,3})?(\"[^\"]*\"|'[^']*'|[^\s,;{}()\[\]'\"]+)"
)
_SCHEME: Final = re.compile(r"\b(Bearer|Basic)(\s{1,3})((?=\S{0,300}\d)[\w.~+/=-]{4,})")
_SHAPES: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-(?=[\w*.-]{0,300}[0-9A-Z*])[\w*-]{6,}|hf_[A-Za-z0-9]{8,}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|AKIA[0-9A-Z]{12,}"
    r"|AIza[\w-]{20,}|xox[abpr]-[\w-]{10,}|gsk_\w{16,}|xai-\w{16,}|nvapi-[\w-]{16,}|r8_\w{16,}"
    r"|(?<![-_])eyJ[\w-]{8,4000}\.[\w-]{8,8000}\.[\w-]{0,2000})"
)
# A server's message about a key that it refuses.
_ECHOED: Final = re.compile(
    r"\b((?:api|access)[ _-]?key|(?:access|auth|bearer)[ _-]?token|password|credentials?|secret)"
    r"\b(?!-)"
    r"([^\n:='\"`,;(){}\[\]]{0,24}(?:[:=]\s{0,3}['\"`]?|\s['\"`]))([^\s'\"`,]+)",
    re.IGNORECASE,
)
_NO_SECRETS: Final = {"none", "null", "true", "false", ""}

_remembered: set[str] = set()
# What stood in the place of a digest, as far as this process knows it.
_originals: dict[str, Any] = {}


def redact(value: Any, name: str = "") -> Any:
    """Settings without secrets, each replaced by a digest.

    Args:
        value: JSON-like settings, nested to any depth.
        name: Their name; all values of `...headers` are secret.

    Returns:
        A copy; redacting it again changes nothing. Other objects stay as they are.
    """
    if isinstance(value, dict):
        return {key: _redacted(str(key), each, name) for key, each in value.items()}
    if isinstance(value, str | list | tuple) and _HEADERS.search(_plain(name)):
        return _marked(value)
    if isinstance(value, list | tuple):
        return [redact(each, name) for each in value]
    return _without(value, _marked) if isinstance(value, str) else value


def redact_text(text: str) -> str:
    """A message (an error, a line of output) with `[secret]` in place of each secret."""
    return _without(text, lambda _: HIDDEN) if text else text


def known_digest() -> str:
    """Whether two processes hide the same secrets: the same short digest, which tells none of them.

    What was made of a text without secrets is as good for both only then.
    """
    return _digest("\0".join(_known()))


def restored(value: Any) -> Any:
    """Settings that this process redacted, as they were before; others unchanged."""
    if isinstance(value, dict):
        return {name: restored(each) for name, each in value.items()}
    if isinstance(value, list):
        return [restored(each) for each in value]
    if not isinstance(value, str):
        return value
    if value in _originals:
        return _originals[value]
    return _MARKED.sub(lambda found: str(_originals.get(found[0], found[0])), value)


def remember(settings: Any) -> None:
    """Hide the secrets of these settings (a model's arguments, usually) in all later messages."""
    _remembered.update(each for each in _secrets_in(settings, "", False) if len(each) >= 6)


def is_secret(name: str) -> bool:
    """Whether a setting of this name is a secret: `api_key`, `hubToken`, `X-Api-Key`."""
    plain = _plain(name)
    return bool(_NAMES.search(plain) or _TOKEN.search(plain))


def _redacted(name: str, value: Any, parent: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return _marked(value) if _is_hidden(name, parent) else redact(value, name)


def _is_hidden(name: str, parent: str) -> bool:
    """Whether the value of a name in headers, a query or other settings is secret."""
    plain, above = _plain(name), _plain(parent)
    if _HEADERS.search(above):
        return plain not in _PLAIN_HEADERS
    return is_secret(name) or (above.endswith("query") and plain in _IN_QUERIES)


def _marked(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    if _MARKED.fullmatch(text):
        return text
    mark = f"secret-{_digest(text)}"
    _originals[mark] = value
    return mark


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    # Slow and short: enough to tell two secrets apart, but of little use for guessing one.
    content = text.encode(errors="replace")
    return hashlib.pbkdf2_hmac("sha256", content, b"vlmguard", 20_000, dklen=4).hex()


def _plain(name: str) -> str:
    return _WORD_ENDS.sub("_", name).strip("_").lower()


def _without(text: str, mark: Callable[[str], str]) -> str:
    def assigned(found: re.Match[str]) -> str:
        value = found[4].strip("'\"")
        quote = found[4][0] if found[4][0] in "'\"" else ""
        # `'api_key': Input should be ...` is about the setting and holds no value.
        prose = found[2][0] in "'\"" and not quote and not value[:1].isdigit()
        if not is_secret(found[1]) or prose or _hidden(value):
            return found[0]
        return f"{found[1]}{found[2]}{quote}{mark((found[3] or '') + value)}{quote}"

    def queried(found: re.Match[str]) -> str:
        secret = is_secret(found[2]) or _plain(found[2]) in _IN_QUERIES
        return f"{found[1]}{found[2]}={_once(found[3], mark)}" if secret else found[0]

    for known in _known():
        text = text.replace(known, mark(known))
    text = _USER.sub(lambda found: f"{found[1]}{_once(found[2], mark)}@", text)
    text = _QUERY.sub(queried, text)
    text = _SHAPES.sub(lambda found: mark(found[0]), text)
    text = _SCHEME.sub(lambda found: f"{found[1]}{found[2]}{_once(found[3], mark)}", text)
    text = _ASSIGNED.sub(assigned, text)
    return _ECHOED.sub(lambda found: f"{found[1]}{found[2]}{_once(found[3], mark)}", text)


def _once(text: str, mark: Callable[[str], str]) -> str:
    return text if _hidden(text) else mark(text)


def _hidden(text: str) -> bool:
    return text.lower() in _NO_SECRETS or _MARKED.search(text) is not None


def _known() -> list[str]:
    """Secrets whose text this process knows, long ones first: one may be part of another."""
    found = set()
    for name, value in os.environ.items():
        if _ENVIRONMENT.search(name):
            found.add(value.strip())
        elif "://" in value:
            found.update(_secrets_in(value, "", False))
    # A value that a configuration calls a secret is one, even if it looks like a common word.
    said = {each for each in _remembered if len(each) >= 8 or _telling(each)}
    return sorted({*filter(_telling, found), *said}, key=len, reverse=True)


def _telling(text: str) -> bool:
    """Whether a text looks like a secret: to hide a key `ollama` would hide names of models."""
    long = len(text) >= 16 or (len(text) >= 6 and any(each.isdigit() for each in text))
    return long and not text.startswith(("/", "~", "."))


def _secrets_in(value: Any, name: str, secret: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            hidden = _is_hidden(str(key), name)
            yield from _secrets_in(each, str(key), secret or hidden)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _secrets_in(each, name, secret)
    elif secret and not isinstance(value, bool) and value is not None:
        text = str(value)
        yield text
        # `Bearer KEY`: a server may echo the key alone.
        yield from text.split()[1:]
    elif isinstance(value, str):
        for found in _USER.finditer(value):
            yield found[2].partition(":")[2] or found[2]
        for found in _QUERY.finditer(value):
            if is_secret(found[2]) or _plain(found[2]) in _IN_QUERIES:
                yield found[3]
