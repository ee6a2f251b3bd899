"""Asks one pair of probes of one pod: without reuse, then under it.

A pair counts only if the engine tells that the first side was computed all Full, and the other under reuse
but for a hundredth at most of the rows that could be; else both sides might have run all Full, and certify
nothing. And only if the engine lived on under flags of this revision, in mode `shadow` or `on`.

Who is to blame. The side without reuse goes first: if it fails, there is nothing to compare with, and the
other isn't asked. What fails after it under reuse alone is the pattern's: the result has no `reuse_logprob`.
A connection that is refused or breaks is nobody's fault. Silence is the pod's if the same prompt without
reuse isn't answered either right after, else the pattern's.
"""

import secrets
from dataclasses import replace

from indexcache_core.contract import Mode, State
from indexcache_core.probe_ids import ProbeRun, Side, sided

from indexcache_operator.engines import EngineError, Engines
from indexcache_operator.model import ProbeResult, RunProbes, Uncounted
from indexcache_operator.probing.completions import Completions, ProbeError, Silent, Tokens, Unanswered

REUSED = 0.99
"""Of the rows that could be, so many at least ran under reuse."""


async def ask(run: RunProbes, engines: Engines, completions: Completions, ip: str) -> ProbeResult:
    """Ask a pair and return what became of it."""
    result = ProbeResult(
        revision=run.revision, number=run.number, pod=run.pod, context_tokens=run.probe.context_tokens
    )
    nonce = secrets.token_hex(8)
    try:
        before = await engines.state(ip)
        model = await completions.model(ip)
        tokens = await completions.tokens(ip, model, run.probe)
        full = await completions.logprob(ip, model, tokens, Side.FULL, nonce)
    except ProbeError as error:
        return replace(result, uncounted=Uncounted.BASELINE_FAILED, message=str(error))
    except (Unanswered, EngineError) as error:
        return replace(result, uncounted=Uncounted.UNANSWERED, message=str(error))
    result = replace(result, context_tokens=len(tokens.prompt), full_logprob=full)
    try:
        result = await _under_reuse(result, completions, ip, model, tokens, nonce)
        after = await engines.state(ip)
    except (Unanswered, EngineError) as error:
        return replace(result, uncounted=Uncounted.UNANSWERED, message=str(error))
    result = replace(result, incarnation=after.incarnation, mode=after.mode)
    return replace(result, uncounted=_against(result, run.revision, before, after, nonce))


async def _under_reuse(
    result: ProbeResult, completions: Completions, ip: str, model: str, tokens: Tokens, nonce: str
) -> ProbeResult:
    """Return the result with the side of reuse. Raises Unanswered if that is nobody's fault."""
    try:
        found = await completions.logprob(ip, model, tokens, Side.REUSE, nonce)
    except ProbeError as error:
        return replace(result, message=str(error))
    except Silent as error:
        try:
            await completions.logprob(ip, model, tokens, Side.FULL, secrets.token_hex(8))
        except ProbeError as other:
            raise Unanswered(f"{error}; then without reuse: {other}") from other
        return replace(result, message=str(error))
    return replace(result, reuse_logprob=found)


def _against(result: ProbeResult, revision: str, before: State, after: State, nonce: str) -> Uncounted | None:
    """Return what speaks against counting a pair; None: nothing."""
    same = (before.incarnation, before.series_number) == (after.incarnation, after.series_number)
    able = all(
        state.mode in (Mode.SHADOW, Mode.ON) and state.identity.revision == revision
        for state in (before, after)
    )
    if not same or not able:
        return Uncounted.FLIPPED
    runs = {run.name: run for run in after.probe_runs or ()}
    full = runs.get(sided(nonce, Side.FULL))
    reuse = runs.get(sided(nonce, Side.REUSE))
    failed = result.reuse_logprob is None
    if full is None or (reuse is None and not failed):
        return Uncounted.UNTOLD
    if full.reused:
        return Uncounted.FULL_REUSED
    return None if _all_reused(reuse, failed=failed) else Uncounted.NOT_ALL_REUSED


def _all_reused(run: ProbeRun | None, *, failed: bool) -> bool:
    """Return whether a side ran under reuse, as far as it ran. One that failed may not have run at all."""
    if run is None or not run.rows:
        return failed
    return run.reused >= REUSED * run.rows
