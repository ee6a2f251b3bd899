"""The control port's HTTP edge: who may call, how much is read, what a refusal looks like. All decisions are
engine_control.py's.

Invariants: nothing is answered, 404 included, without the token; a body over MAX_BODY is refused before it is
read, and one of unknown length as soon as it grows over it; every refusal is a contract.Refused.

A kill counts even where its body can't be read: whoever holds the token and posts there wants the baseline.
"""

import hmac
import json
import logging
from typing import TypeVar

from indexcache_core.contract import MAX_BODY, Desired, Kill, Refused
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.switch import Refusal, refuse

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)

STATUS = {
    "Unauthorized": 401,
    "NotFound": 404,
    "TooLarge": 413,
    "Invalid": 422,
    "DoesNotFit": 422,
    "Unsupported": 422,
    "OtherIncarnation": 409,
    "OldEpoch": 409,
    "EpochConflict": 409,
}


def app(control: EngineControl, token: str) -> ASGIApp:
    """Make the control port's ASGI application. `token` must not be empty: ValueError."""
    if not token:
        raise ValueError("the control token is empty; an empty token would let anybody in")

    async def state(request: Request) -> Response:
        return _json(control.state())

    async def flags(request: Request) -> Response:
        desired = _parse(Desired, await _body(request))
        answer = control.put(desired)
        logger.info("indexcache: epoch %d accepted, mode %s", answer.epoch, answer.mode)
        return _json(answer)

    async def kill(request: Request) -> Response:
        body = await _body(request)
        try:
            asked = _parse(Kill, body or b"{}")
        except Refusal as e:
            asked = Kill(reason=f"(the reason given could not be read: {e.refused.message})"[:512])
        answer = control.kill(asked)
        logger.warning("indexcache: killed: %s", asked.reason)
        return _json(answer)

    routes = [
        Route("/v1/state", state, methods=["GET"]),
        Route("/v1/flags", flags, methods=["PUT"]),
        Route("/v1/kill", kill, methods=["POST"]),
    ]
    inner = Starlette(routes=routes, exception_handlers={Refusal: _refused, HTTPException: _unknown})
    return _authorized(inner, token)


def _authorized(inner: ASGIApp, token: str) -> ASGIApp:
    expected = f"Bearer {token}".encode()

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, expected):
                refusal = refuse(
                    "Unauthorized",
                    "missing or wrong; send `Authorization: Bearer <token>` with this engine's token",
                    "token",
                )
                await _response(refusal.refused)(scope, receive, send)
                return
        await inner(scope, receive, send)

    return outer


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise refuse("TooLarge", f"{length[:20]} bytes; at most {MAX_BODY} are read", "body")
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MAX_BODY:
            raise refuse("TooLarge", f"more than {MAX_BODY} bytes; at most {MAX_BODY} are read", "body")
    return bytes(read)


def _parse(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as e:
        first = e.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        found = (
            ""
            if first["type"] in ("missing", "json_invalid")
            else f", found {json.dumps(first['input'], default=str)[:80]}"
        )
        raise refuse("Invalid", f"{where or 'body'}: {first['msg']}{found}", where or "body") from e


async def _refused(request: Request, e: Exception) -> Response:
    assert isinstance(e, Refusal)
    logger.warning("indexcache: refused %s: %s", request.url.path, e)
    return _response(e.refused)


async def _unknown(request: Request, e: Exception) -> Response:
    message = (
        f"{request.method} {request.url.path[:80]}; there are GET /v1/state, PUT /v1/flags and POST /v1/kill"
    )
    return _response(refuse("NotFound", message, "path").refused)


def _response(refused: Refused) -> Response:
    # The connection is closed, so that an unread body is not taken for the next request.
    return _json(refused, STATUS[refused.code], {"connection": "close"})


def _json(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, "application/json")
