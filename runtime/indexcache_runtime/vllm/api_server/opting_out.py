"""Opting out of reuse, at the API server's edge: what a request says is checked where vLLM checks requests
(engine_core/opted_out.py reads it).

A bad value in `vllm_xargs` is answered with 400 by vLLM itself: it is raised as vLLM's own error from
`SamplingParams.verify`, which every request passes once before it goes to the engine core. The header is
checked by a middleware, which answers as vLLM does.

Traps: beam search makes sampling parameters of its own and drops `vllm_xargs`; the header reaches it. The
Responses API names its requests without X-Request-Id, so there the header is refused.
"""

import functools
import json
import logging
import uuid
from typing import Any

from indexcache_runtime import optout
from indexcache_runtime.vllm.api_server.headers import App, Message, Receive, Send

logger = logging.getLogger(__name__)

NAMED_BY_HEADER = "/completions"
"""End of the paths whose requests vLLM names by X-Request-Id."""
_REQUEST_ID = b"x-request-id"


def check_requests() -> None:
    """Have vLLM refuse values that say nothing. Called once a process."""
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import SamplingParams

    verify = getattr(SamplingParams, "verify", None)
    if verify is None:
        logger.warning(
            "indexcache: this vLLM has no SamplingParams.verify; any value of vllm_xargs.%s opts a request "
            "out",
            optout.KEY,
        )
        return

    @functools.wraps(verify)
    def verified(self: Any, *args: Any, **kwargs: Any) -> Any:
        wrong = optout.problem(self.extra_args)
        if wrong is not None:
            raise VLLMValidationError(wrong, parameter=f"vllm_xargs.{optout.KEY}")
        return verify(self, *args, **kwargs)

    SamplingParams.verify = verified


class OptOut:
    """Makes the header a mark in X-Request-Id, as ASGI middleware."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"] if scope["type"] == "http" else []
        value = next((v for name, v in headers if name == optout.HEADER.encode()), None)
        if value is None:
            await self._app(scope, receive, send)
            return
        wrong = optout.header_problem(value.decode("latin-1"))
        if wrong is None and not scope["path"].endswith(NAMED_BY_HEADER):
            wrong = (
                f"{optout.HEADER}: not known to {scope['path'][:80]}; put "
                f'{{"{optout.KEY}": "{optout.OFF}"}} into vllm_xargs instead'
            )
        if wrong is not None:
            await _refuse(send, wrong)
            return
        given = next((v for name, v in headers if name == _REQUEST_ID), uuid.uuid4().hex.encode())
        others = [(name, v) for name, v in headers if name != _REQUEST_ID]
        marked = optout.marked(given.decode("latin-1")).encode("latin-1")
        await self._app({**scope, "headers": [*others, (_REQUEST_ID, marked)]}, receive, send)


async def _refuse(send: Send, message: str) -> None:
    error = {"message": message, "type": "BadRequestError", "param": optout.HEADER, "code": 400}
    body = json.dumps({"error": error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
