"""Settings of calls that change no answer."""

from typing import Final

__all__ = ["RESUMED", "TRANSPORT"]

RESUMED: Final = frozenset(
    {
        "max_retries",
        "timeout",
        "attempt_timeout",
        "stream_idle_timeout",
        "max_connections",
        "adaptive_connections",
        "batch",
        "cache",
        "cache_prompt",
    }
)
"""Those of `TRANSPORT` with other values of which Inspect goes on with a log."""

TRANSPORT: Final = RESUMED | {
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "extra_headers",
    "reasoning_summary",
}
"""The fields of Inspect's `GenerateConfig` that change no answer."""
