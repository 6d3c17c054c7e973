"""An upstream that answers chat completions and the Responses API."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from support.serving import Answers


class TwoAPIs(Answers):
    """As `Answers`, with `/v1/responses`."""

    async def _other(self, request: Request) -> Response:
        if request.url.path != "/v1/responses":
            return await super()._other(request)
        self.bodies.append(await request.body())
        part = {"type": "output_text", "text": self.text, "annotations": []}
        message = {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
        answer = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": "m",
            "output": [message],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        }
        return JSONResponse(answer)
