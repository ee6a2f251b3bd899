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
from indexcache_operator.http_calls import Answer, Call, CallError, NoAnswer, answer
from indexcache_operator.mandate import UNBOUND, Mandate

TIMEOUT_SECONDS = 1.0
"""A control port answers from memory. One that takes longer is as good as silent."""
MAX_ANSWER = 8 * 1024 * 1024  # bytes
MAX_TAG = 256
"""Characters of a tag that is believed."""
NOT_MODIFIED = 304


class EngineError(Exception):
    """An engine that could not be asked, or said no. `code` is its refusal's, if it did."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Silent(EngineError):
    """An engine that gave no answer: busy, hung or gone."""


class _Refused(BaseModel):
    """Reads a refusal of any contract: an engine of another release may have codes of its own."""

    model_config = ConfigDict(extra="ignore")

    code: str
    message: str


_BODY = TypeAdapter[object](object)
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Told:
    """Holds what an engine said when it was asked for its state."""

    state: State | None
    """None: it is alive, and its state is the one of the tag that it was asked about, but that time has
    passed.
    """
    tag: str
    """Of the state, by which it can be asked about again; empty from an engine that knows no tags. It names
    the incarnation, so it is of no other life.
    """


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
        what, found = await self._call("GET", ip, "/v1/state", None)
        return _state(what, found.body)

    async def ask(self, ip: str, known: str = "") -> Told:
        """Return what an engine says of itself, and the state's tag. `known`: the tag of a state that it may
        still be in; then it says no more than that it is.

        Raises EngineError; so it does for an engine that says `as before` without being asked, or of another
        tag.
        """
        headers = {"If-None-Match": known} if known else {}
        what, found = await self._call("GET", ip, "/v1/state", None, headers)
        if found.status == NOT_MODIFIED:
            return Told(state=None, tag=known)
        state = _state(what, found.body)
        own = len(found.tag) <= MAX_TAG and found.tag.startswith(f'"{state.incarnation}-')
        return Told(state=state, tag=found.tag if own else "")

    async def put(self, ip: str, desired: Desired, contract: int) -> State:
        """Put desired flags, in the contract that the engine speaks; the same again renews the permit.

        Raises EngineError, NotLeading.
        """
        self.mandate.left()
        body = _BODY.dump_json(SPOKEN.body(desired, contract)).decode()
        what, found = await self._call("PUT", ip, "/v1/flags", body)
        return _state(what, found.body)

    async def kill(self, ip: str, reason: str) -> None:
        """Send an engine to the baseline from the next step on, whatever contract it speaks.

        Raises EngineError.
        """
        await self._call("POST", ip, "/v1/kill", Kill(reason=reason[:KILL_REASON]).model_dump_json())

    async def _call(
        self, method: str, ip: str, path: str, body: str | None, headers: Mapping[str, str] = NO_HEADERS
    ) -> tuple[str, Answer]:
        """Return which call it was, and an answer that was no refusal: a whole one, or that nothing has
        changed if that was asked.
        """
        if ip not in self.tokens:
            raise EngineError(f"{method} {ip}{path}: the control token of this engine isn't known")
        call = Call(
            method=method,
            host=ip,
            port=self.port,
            path=path,
            headers={"Authorization": f"Bearer {self.tokens[ip]}", **headers},
            body=body,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            max_answer=MAX_ANSWER,
        )
        try:
            found = await answer(self.session, call)
        except NoAnswer as error:
            raise Silent(str(error)) from error
        except CallError as error:
            raise EngineError(str(error)) from error
        known = headers.get("If-None-Match")
        if found.status == NOT_MODIFIED and (known is None or found.tag != known):
            about = f"of state {known}" if known else "of none"
            raise EngineError(
                f"{call}: 304 of state {found.tag[:MAX_TAG] or '(no tag)'}, where it was asked {about}"
            )
        if found.status not in (200, NOT_MODIFIED):
            raise _refusal(f"{call}: {found.status}", found.body)
        return str(call), found


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
