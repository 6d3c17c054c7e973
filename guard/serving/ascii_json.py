"""A response of JSON in ASCII: a request may hold half characters, which no UTF-8 has."""

from typing import Any

from starlette.responses import JSONResponse

from vlmguard.guard.serving.json_text import quoted

__all__ = ["AsciiJSON"]


class AsciiJSON(JSONResponse):
    """JSON, in which all but ASCII is escaped."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return quoted(content).encode("ascii")
