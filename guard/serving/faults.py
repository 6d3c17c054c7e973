"""The errors of the server, as its clients see them."""

from dataclasses import dataclass, field
from typing import Any, Final

from vlmguard.guard.serving.ascii_json import AsciiJSON

__all__ = ["Fault", "guard_unavailable"]

_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


# Compared and hashed by identity, as exceptions are.
@dataclass(eq=False)
class Fault(Exception):
    """A request that is not answered.

    Attributes:
        status: The HTTP status.
        code: A word for programs (`remote_image`).
        message: A sentence for people, with the way out; nothing of a request's content.
        param: The field of the body at fault, if it is one.
        headers: Further headers of the response.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """OpenAI's type of the error."""
        return "invalid_request_error" if self.status < 500 else "server_error"

    def body(self) -> dict[str, Any]:
        """An error body as OpenAI's API writes it."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self, path: str) -> AsciiJSON:
        """The response, in the form that clients of a path read.

        Args:
            path: The path of the request.
        """
        anthropic = path.startswith("/v1/messages")
        body = self.anthropic_body() if anthropic else self.body()
        return AsciiJSON(body, self.status, headers=self.headers)

    def anthropic_body(self) -> dict[str, Any]:
        """An error body as Anthropic's API writes it."""
        other = "invalid_request_error" if self.status < 500 else "api_error"
        kind = _ANTHROPIC_TYPES.get(self.status, other)
        # The code is ours: their types alone do not tell a guard that cannot decide.
        error = {"type": kind, "message": self.message, "code": self.code}
        return {"type": "error", "error": error}


def guard_unavailable(reason: str) -> Fault:
    """The guard could not decide, and `--on-failure refuse` holds.

    503 and not 500: a gateway's own rule for an unreachable guard covers 503.

    Args:
        reason: Why, in a word of ours.
    """
    said = f"The guard could not decide ({reason}). Try again."
    return Fault(503, "guard_unavailable", said, headers={"retry-after": "1"})
