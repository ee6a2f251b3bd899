"""Calls to engines' control ports, for observing and for acting. What an engine answers is checked against
its contract before anything believes it; every failure is an EngineError whose words say which pod and what
went wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from indexcache_core.bounds import KILL_REASON
from indexcache_core.contract import CONTROL_PORT, Desired, Kill, State
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from indexcache_operator import limits
from indexcache_operator.contracts import SPOKEN, NotSpoken
from indexcache_operator.http_calls import Call, CallError, answer
from indexcache_operator.mandate import UNBOUND, Mandate

TIMEOUT_SECONDS = 1.0
"""A control port answers from memory. One that takes longer is as good as silent."""
MAX_ANSWER = 8 * 1024 * 1024  # bytes


class EngineError(Exception):
    """An engine that could not be asked, or said no. `code` is its refusal's, if it did."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class _Refused(BaseModel):
    """Reads a refusal of any contract: an engine of another release may have codes of its own."""

    model_config = ConfigDict(extra="ignore")

    code: str
    message: str


_BODY = TypeAdapter[object](object)


@dataclass(frozen=True, kw_only=True)
class Engines:
    """The control ports of one rollout's engines."""

    session: aiohttp.ClientSession
    tokens: Mapping[str, str]
    """By address, of those that can be asked."""
    port: int = CONTROL_PORT
    mandate: Mandate = UNBOUND
    """Under which flags are put. A kill needs none: it can do no harm that would have to be kept from
    anybody.
    """

    async def state(self, ip: str) -> State:
        """Return what an engine says of itself. Raises EngineError."""
        return _state(*await self._call("GET", ip, "/v1/state", None))

    async def put(self, ip: str, desired: Desired, contract: int) -> State:
        """Put desired flags, in the contract that the engine speaks; the same again renews the permit.

        Raises EngineError, NotLeading.
        """
        self.mandate.left()
        body = _BODY.dump_json(SPOKEN.body(desired, contract)).decode()
        return _state(*await self._call("PUT", ip, "/v1/flags", body))

    async def kill(self, ip: str, reason: str) -> None:
        """Send an engine to the baseline from the next step on, whatever contract it speaks.

        Raises EngineError.
        """
        await self._call("POST", ip, "/v1/kill", Kill(reason=reason[:KILL_REASON]).model_dump_json())

    async def _call(self, method: str, ip: str, path: str, body: str | None) -> tuple[str, bytes]:
        """Return which call it was, and the body of an answer that was no refusal."""
        if ip not in self.tokens:
            raise EngineError(f"{method} {ip}{path}: the control token of this engine isn't known")
        call = Call(
            method=method,
            host=ip,
            port=self.port,
            path=path,
            headers={"Authorization": f"Bearer {self.tokens[ip]}"},
            body=body,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            max_answer=MAX_ANSWER,
        )
        try:
            found = await answer(self.session, call)
        except CallError as error:
            raise EngineError(str(error)) from error
        if found.status != 200:
            raise _refusal(f"{call}: {found.status}", found.body)
        return str(call), found.body


def _state(what: str, raw: bytes) -> State:
    try:
        return SPOKEN.read(limits.parse(raw))
    except (limits.TooMuch, NotSpoken, ValidationError) as error:
        raise EngineError(f"{what}: an answer outside the contract: {_words(error)}") from None


def _refusal(what: str, raw: bytes) -> EngineError:
    try:
        refused = _Refused.model_validate(limits.parse(raw))
    except (limits.TooMuch, ValidationError) as error:
        return EngineError(f"{what} with an answer outside the contract: {_words(error)}")
    return EngineError(f"{what} {refused.code}: {refused.message}", refused.code)


def _words(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))} {first['msg']}"
