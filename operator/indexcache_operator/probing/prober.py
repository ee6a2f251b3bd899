"""Pairs of probes in the background: one at a time for each rollout, each handed over at the next look."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from indexcache_operator import metrics
from indexcache_operator.engines import Engines
from indexcache_operator.model import ProbeResult, RunProbes
from indexcache_operator.probing.completions import Completions
from indexcache_operator.probing.pair import ask

logger = logging.getLogger(__name__)


class Prober:
    """Runs probes of one rollout. `done` is called whenever there is something to hand over."""

    def __init__(self, who: str, done: Callable[[], None]) -> None:
        self._who = who
        self._done = done
        self._task: asyncio.Task[None] | None = None
        self._results: list[ProbeResult] = []

    def start(self, run: RunProbes, *, engines: Engines, completions: Completions, ip: str) -> None:
        """Begin a pair, unless one is under way, or one has ended that nobody took up yet."""
        if (self._task is None or self._task.done()) and not self._results:
            self._task = asyncio.create_task(self._run(run, engines, completions, ip))
            self._task.add_done_callback(self._ended)

    def take(self) -> tuple[ProbeResult, ...]:
        """Return the results since the last time."""
        taken, self._results = tuple(self._results), []
        return taken

    async def stop(self) -> None:
        """End a pair under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: probing ended by a fault: %r", self._who, error, exc_info=error)

    async def _run(self, run: RunProbes, engines: Engines, completions: Completions, ip: str) -> None:
        began = time.monotonic()
        result = replace(await ask(run, engines, completions, ip), seconds=time.monotonic() - began)
        self._results.append(result)
        outcome = "answered" if result.reuse_logprob is not None else "failed"
        metrics.PROBES.labels(result.uncounted.value if result.uncounted else outcome).inc()
        if result.message or result.uncounted:
            logger.warning(
                "%s: pair %d of probes, %d tokens on %s: %s: %s",
                self._who,
                run.number,
                result.context_tokens,
                run.pod,
                result.uncounted.value if result.uncounted else outcome,
                result.message or "no error",
            )
        self._done()
