"""Paired probes in the background: one run at a time for each rollout, its results handed over at the next
look.

A pair counts only if the canary's engine was in mode `on`, in one life and one epoch, before and after it,
and the baseline's reused nothing: a probe that straddles a flip measures neither side. A pair that fails is
reported in the log and left out.
"""

import asyncio
import logging
from collections.abc import Callable

from indexcache_core.contract import Mode, State

from indexcache_operator import metrics
from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.model import Probe, ProbeResult, RunProbes
from indexcache_operator.probing.completions import Completions, ProbeError

logger = logging.getLogger(__name__)


class Prober:
    """Runs probes of one rollout. `done` is called whenever there is something to hand over."""

    def __init__(self, who: str, done: Callable[[], None]) -> None:
        self._who = who
        self._done = done
        self._task: asyncio.Task[None] | None = None
        self._results: list[ProbeResult] = []

    def start(
        self, run: RunProbes, *, engines: Engines, completions: Completions, baseline_ip: str, canary_ip: str
    ) -> None:
        """Begin a run, unless one is under way."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(run, engines, completions, baseline_ip, canary_ip))
            self._task.add_done_callback(self._ended)

    def take(self) -> tuple[ProbeResult, ...]:
        """Return the results since the last time."""
        taken, self._results = tuple(self._results), []
        return taken

    async def stop(self) -> None:
        """End a run under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: probing ended by a fault: %r", self._who, error, exc_info=error)

    async def _run(
        self, run: RunProbes, engines: Engines, completions: Completions, baseline_ip: str, canary_ip: str
    ) -> None:
        for probe in run.probes:
            try:
                result = await ask(run, probe, engines, completions, baseline_ip, canary_ip)
                self._results.append(
                    result
                )  # not in one line with the await: `take` puts another list in place meanwhile
                metrics.PROBES.labels("answered").inc()
                self._done()
            except (ProbeError, EngineError) as error:
                metrics.PROBES.labels("failed").inc()
                logger.warning(
                    "%s: probe of %d tokens on %s: %s", self._who, probe.context_tokens, run.canary_pod, error
                )


async def ask(
    run: RunProbes, probe: Probe, engines: Engines, completions: Completions, baseline_ip: str, canary_ip: str
) -> ProbeResult:
    """Ask one pair. Raises ProbeError, EngineError."""
    before = await _pair(engines, baseline_ip, canary_ip)
    model = await completions.model(baseline_ip)
    tokens = await completions.tokens(baseline_ip, model, probe)
    try:
        async with asyncio.TaskGroup() as both:  # not `gather`, which lets the other go on after one failed
            baseline, canary = (
                both.create_task(completions.logprob(ip, model, tokens)) for ip in (baseline_ip, canary_ip)
            )
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    after = await _pair(engines, baseline_ip, canary_ip)
    _comparable(before[0], after[0], on=False, pod=run.baseline_pod)
    _comparable(before[1], after[1], on=True, pod=run.canary_pod)
    return ProbeResult(
        revision=run.revision,
        context_tokens=len(tokens.prompt),
        baseline_logprob=baseline.result(),
        canary_logprob=canary.result(),
        canary_pod=run.canary_pod,
        incarnation=after[1].incarnation,
    )


async def _pair(engines: Engines, baseline_ip: str, canary_ip: str) -> tuple[State, State]:
    baseline, canary = await asyncio.gather(engines.state(baseline_ip), engines.state(canary_ip))
    return baseline, canary


def _comparable(before: State, after: State, *, on: bool, pod: str) -> None:
    if (before.incarnation, before.series_number) != (after.incarnation, after.series_number):
        raise ProbeError(f"{pod}: the engine was restarted or given another pattern while it was asked")
    if any((state.mode is Mode.ON) is not on for state in (before, after)):
        raise ProbeError(
            f"{pod}: in mode {before.mode} and then {after.mode}; expected {'on' if on else 'no reuse'} "
            "throughout"
        )
