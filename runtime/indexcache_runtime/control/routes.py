"""Decides what the control port answers: who may call, what a body must be, what a refusal looks like. Knows
no socket and no HTTP parser (peer.py does); all decisions on reuse are engine_control.py's.

Invariants: without the token nothing is answered, 404 included, but that it is missing or that a request
can't be read; a body over MAX_BODY is refused before it is read, and one of unknown length as soon as it
grows over it; every refusal is a contract.Refused.

A kill acts on its request line and the token (`kill`), whatever its body: whoever holds the token and posts
there wants the baseline. The body, if it can be read, adds the reason.
"""

import json
import logging
from dataclasses import dataclass
from typing import TypeVar

from indexcache_core.contract import MAX_BODY, Desired, Kill, Refused
from pydantic import BaseModel, ValidationError

from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.switch import CallRefused, refuse

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
NOT_MODIFIED = 304
STATE, FLAGS, KILL = ("GET", "/v1/state"), ("PUT", "/v1/flags"), ("POST", "/v1/kill")


@dataclass(frozen=True)
class Answer:
    """An answer: a status and JSON, or nothing where the peer knows the state."""

    status: int
    body: bytes
    tag: str = ""
    """What tells this state from others, if it is one."""
    close: bool = False
    """Whether the connection ends with it: so it is after each refusal, or an unread body would be taken for
    the next request."""


@dataclass(frozen=True)
class Call:
    """A call of a peer that showed the token."""

    method: str
    path: str
    length: str = ""
    """The body's length as its header declares it; empty if it doesn't."""
    kill: int | None = None
    """Of a kill that was acted on, its number."""
    known: str = ""
    """The tag of the state that the peer has; empty if it has none."""

    @property
    def is_kill(self) -> bool:
        """Return whether this is a kill."""
        return (self.method, self.path) == KILL


class Routes:
    """Answers the calls to one engine's control port."""

    def __init__(self, control: EngineControl, credentials: Credentials) -> None:
        self._control, self._credentials = control, credentials

    def admits(self, authorization: bytes) -> bool:
        """Return whether the value of an Authorization header, any bytes, shows the token."""
        return self._credentials.admits(authorization)

    def kill(self) -> int:
        """Take the engine to the baseline from the next step on, before anything is known of the reason.
        Returns the kill's number, for `Call.kill`."""
        number = self._control.kill_now()
        logger.warning("indexcache: killed")
        return number

    def unauthorized(self) -> Answer:
        """Return what a stranger hears."""
        return _refusal(
            refuse(
                "Unauthorized",
                "missing or wrong; send `Authorization: Bearer <token>` with this engine's token",
                "token",
            )
        )

    def unreadable(self, call: Call | None, status: int, why: str) -> Answer:
        """Return the answer to a request that is no HTTP, or whose body ended early or came too slowly.

        Args:
            call: What was known of it; None where not even the headers could be read.
            status: For the answer, unless it is a kill's.
            why: Which it was, and what to do.
        """
        if call is not None and call.kill is not None:
            return self._name(call.kill, why, close=True)
        return _refusal(refuse("Invalid", why, "body" if call else "request"), status)

    def head_too_large(self, most: str) -> Answer:
        """Return the answer to a request whose headers are more than is read. `most`: the limits."""
        return _refusal(refuse("TooLarge", f"headers: more than {most}; send fewer", "request"), 431)

    def before_body(self, call: Call) -> Answer | None:
        """Return the answer to a call that needs no look at its body; None if the body is to be read."""
        if (call.method, call.path) not in (STATE, FLAGS, KILL):
            message = (
                f"{call.method} {call.path[:80]}; there are GET /v1/state, PUT /v1/flags and POST /v1/kill"
            )
            return _refusal(refuse("NotFound", message, "path"))
        if call.length and (
            not call.length.isdecimal() or len(call.length) > 20 or int(call.length) > MAX_BODY
        ):
            return self.too_large(call, f"{call.length[:20]} bytes")
        return None

    def too_large(self, call: Call, found: str) -> Answer:
        """Return the answer to a call with a larger body than is read."""
        refusal = refuse("TooLarge", f"{found}; at most {MAX_BODY} are read", "body")
        return (
            self._name(call.kill, refusal.refused.message, close=True)
            if call.kill is not None
            else self._refused(call, refusal)
        )

    def answer(self, call: Call, body: bytes) -> Answer:
        """Return the answer to a call with its whole body."""
        try:
            if call.kill is not None:
                return self._kill(call.kill, body)
            if (call.method, call.path) == FLAGS:
                accepted = self._control.put(_parse(Desired, body))
                logger.info("indexcache: epoch %d accepted, mode %s", accepted.epoch, accepted.mode)
                return _json(accepted)
            return self._state(call.known)
        except CallRefused as e:
            return self._refused(call, e)

    def _state(self, known: str) -> Answer:
        """Answer with the state; with nothing but its tag where the peer has it but for its ages."""
        state, tag = self._control.told(known)
        if state is None:
            return Answer(NOT_MODIFIED, b"", tag)
        return Answer(200, state.model_dump_json().encode(), tag)

    def _kill(self, number: int, body: bytes) -> Answer:
        try:
            asked = _parse(Kill, body or b"{}")
        except CallRefused as e:
            return self._name(number, e.refused.message)
        logger.warning("indexcache: reason of the kill: %s", asked.reason)
        return _json(self._control.name_kill(number, asked))

    def _name(self, number: int, why: str, *, close: bool = False) -> Answer:
        """Answer a kill whose reason can't be told."""
        asked = Kill(reason=f"(the reason given could not be read: {why})"[:512])
        logger.warning("indexcache: reason of the kill: %s", asked.reason)
        return _json(self._control.name_kill(number, asked), close=close)

    def _refused(self, call: Call, refusal: CallRefused) -> Answer:
        logger.warning("indexcache: refused %s: %s", call.path, refusal)
        return _refusal(refusal)


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


def _refusal(refusal: CallRefused, status: int | None = None) -> Answer:
    refused: Refused = refusal.refused
    return _json(refused, STATUS[refused.code] if status is None else status, close=True)


def _json(model: BaseModel, status: int = 200, *, close: bool = False) -> Answer:
    return Answer(status, model.model_dump_json().encode(), close=close)
