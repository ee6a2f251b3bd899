"""Calls to engines' control ports, for observing and for acting. What an engine answers is checked against
the contract before anything believes it; every failure is an EngineError whose words say which pod and what
went wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from indexcache_core.bounds import KILL_REASON
from indexcache_core.contract import CONTROL_PORT, Desired, Kill, Refused, State
from pydantic import ValidationError

from indexcache_operator import limits
from indexcache_operator.http_calls import Call, CallError, answer

TIMEOUT_SECONDS = 1.0
"""A control port answers from memory. One that takes longer is as good as silent."""
MAX_ANSWER = 8 * 1024 * 1024  # bytes


class EngineError(Exception):
    """An engine that could not be asked, or said no. `refused` is what it said, if it did."""

    def __init__(self, message: str, refused: Refused | None = None) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, kw_only=True)
class Engines:
    """The control ports of one rollout's engines."""

    session: aiohttp.ClientSession
    tokens: Mapping[str, str]
    """By address, of those that can be asked."""
    port: int = CONTROL_PORT

    async def state(self, ip: str) -> State:
        """What an engine says of itself. EngineError."""
        return await self._call("GET", ip, "/v1/state", None)

    async def put(self, ip: str, desired: Desired) -> State:
        """Desired flags; the same again renews the permit. EngineError."""
        return await self._call("PUT", ip, "/v1/flags", desired.model_dump_json())

    async def kill(self, ip: str, reason: str) -> State:
        """To the baseline from the next step on. EngineError."""
        return await self._call("POST", ip, "/v1/kill", Kill(reason=reason[:KILL_REASON]).model_dump_json())

    async def _call(self, method: str, ip: str, path: str, body: str | None) -> State:
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
        return _read(str(call), found.status, found.body)


def _read(what: str, status: int, raw: bytes) -> State:
    try:
        if status == 200:
            return State.model_validate(limits.parse(raw))
        refused = Refused.model_validate(limits.parse(raw))
    except limits.TooMuch as error:
        raise EngineError(f"{what}: {status} with an answer outside the contract: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise EngineError(
            f"{what}: {status} with an answer outside the contract: {'.'.join(map(str, first['loc']))} "
            f"{first['msg']}"
        ) from None
    raise EngineError(f"{what}: {status} {refused.code}: {refused.message}", refused)
