"""Asks the engines of a rollout, all at once, and says of each that gives no state why."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from indexcache_core.contract import State

from indexcache_operator.credentials import Control
from indexcache_operator.engines import EngineError, Engines, Silent
from indexcache_operator.objects import Object
from indexcache_operator.observe import pods


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Holds what came of asking one engine."""

    state: State | None = None
    error: str | None = None
    """Why there is no state; None, if there is none either: it is as it was when it was last asked."""
    silent: bool = False
    """Whether it gave no answer at all."""
    tag: str = ""
    """Of the state; empty without one, and from an engine that knows no tags."""

    @property
    def is_as_before(self) -> bool:
        """Return whether the engine is alive and nothing but time has passed."""
        return self.state is None and self.error is None


NOT_RUNNING = Answer(error="the pod does not run yet, or no longer")


async def ask(
    engines: Engines,
    guards: Mapping[str, Control],
    found: list[Object],
    known: Mapping[str, Answer],
) -> list[Answer]:
    """Return what the engines of pods say, in their order. `known`: by address, what was answered just now.
    An engine that gave no state then is asked again: it said `as before`, or was silent, as happens once.
    """

    async def one(pod: Object) -> Answer:
        ip = pods.askable(pod)
        if ip is None:
            return NOT_RUNNING
        answer = known.get(ip)
        return answer if answer is not None and answer.state else await again(engines, guards, ip)

    return list(await asyncio.gather(*(one(pod) for pod in found)))


async def again(engines: Engines, guards: Mapping[str, Control], ip: str, tag: str = "") -> Answer:
    """Return what one engine says; nothing more than that it is as before, where its state has this tag."""
    try:
        told = await engines.ask(ip, tag)
    except EngineError as error:
        if error.code == "Unauthorized":
            return Answer(
                error=f"401: the engine holds another control token; Secret {guards[ip].secret} isn't the "
                "operator's; delete it, and it is made again"
            )
        return Answer(error=str(error), silent=isinstance(error, Silent))
    return Answer(state=told.state, tag=told.tag)
