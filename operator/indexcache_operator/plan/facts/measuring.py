"""Tells whether engines go on measuring, by what they count themselves and by marks in the status: requests
under reuse that could be measured, and observations. No time, and nothing that is only remembered: an
operator that begins anew tells the same.

Counting begins anew with each life of an engine, each set of flags and each step. So what came since is a
step's own, and a newly exposed pod's.

A request could be measured if it was admitted under reuse with a prompt of a judged length. Engines count
both, but not both together, so the lesser is taken; and never more than steps under reuse, of which there are
none where others keep them all Full.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, repeat

from indexcache_core.contexts import CONTEXT_ENDS_IN_K, JUDGED
from indexcache_core.contract import Mode, State
from indexcache_core.evidence.freshness import requests_until

from indexcache_operator.api.status import MeasuredStatus, PodStatus, Status
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.snapshot import Snapshot, pod_status

OBSERVES = 2
"""The first contract whose engines tell observations: of others nothing is known."""
_ALL = 2**63


def note(snapshot: Snapshot, status: Status) -> Status:
    """Return the status with marks of all engines that measure for this try: new ones where counting begins,
    and where a window ends.
    """
    pods = {pod.name: pod for pod in snapshot.observation.pods}
    known = {kept.name for kept in status.pods}
    kept_pods = (*status.pods, *(PodStatus(name=name) for name in pods if name not in known))
    return replace(status, pods=tuple(_noted(snapshot, status, pods, kept) for kept in kept_pods))


def own(snapshot: Snapshot, status: Status) -> Mapping[str, tuple[int, ...]]:
    """Return the observations since counting began, by bucket of context length: of each engine that answers
    and measures for this try, by its pod.
    """
    return {
        pod.name: tuple(
            max(n - before, 0) for n, before in zip(_observed(state), _padded(mark.before), strict=False)
        )
        for pod, state, mark in _marked(snapshot, status)
    }


def stopped(snapshot: Snapshot, status: Status) -> tuple[str, int] | None:
    """Return an engine under reuse that doesn't measure any more, and the requests of its window; None where
    none is.
    """
    for name, came in unmeasured(snapshot, status):
        mark = pod_status(status, name).measured
        if mark is not None and came >= requests_until(mark.window):
            return name, came
    return None


def unmeasured(snapshot: Snapshot, status: Status) -> Iterator[tuple[str, int]]:
    """Yield the requests of each engine's window of which none was measured, with its pod."""
    for pod, state, mark in _marked(snapshot, status):
        if state.mode is Mode.ON and not _new(state, mark):
            yield pod.name, _came(snapshot, state, mark)


def unseen(snapshot: Snapshot, status: Status) -> list[str]:
    """Return the pods that serve whose engines weren't seen to measure since counting began."""
    seen = {
        pod.name
        for pod, state, mark in _marked(snapshot, status)
        if mark.window > 1 or _new(state, mark) or not _tells(state)
    }
    return [pod.name for pod in snapshot.ready if pod.name not in seen]


def _noted(snapshot: Snapshot, status: Status, pods: Mapping[str, EnginePod], kept: PodStatus) -> PodStatus:
    state = pods[kept.name].state if kept.name in pods else None
    if state is None or not _ours(state, status):
        return kept
    under, mark = _under(state, status), kept.measured
    if mark is None or mark.under != under:
        mark = _mark(snapshot, state, under, in_step=status.step is not None)
        return replace(kept, measured=mark)
    ended = state.mode is Mode.ON and _came(snapshot, state, mark) >= requests_until(mark.window)
    if not (ended and _new(state, mark)):
        return kept
    following = _mark(snapshot, state, under, in_step=False)
    return replace(kept, measured=replace(following, before=mark.before, window=mark.window + 1))


def _mark(snapshot: Snapshot, state: State, under: str, *, in_step: bool) -> MeasuredStatus:
    observed = _observed(state)
    return MeasuredStatus(
        under=under,
        before=observed if in_step else (),
        requests=state.requests.admitted_reuse,
        judged=_judged(snapshot, state),
        steps=state.steps.reuse,
        observations=sum(observed),
    )


def _marked(snapshot: Snapshot, status: Status) -> Iterator[tuple[EnginePod, State, MeasuredStatus]]:
    """Yield the engines that answer with the marks that speak of them as they are."""
    for pod in snapshot.pods:
        mark, state = pod_status(status, pod.name).measured, pod.state
        if mark is None or state is None or not _ours(state, status):
            continue
        if mark.under == _under(state, status):
            yield pod, state, mark


def _ours(state: State, status: Status) -> bool:
    """Return whether an engine measures for this try; one that tripped does not."""
    return state.mode in (Mode.ON, Mode.SHADOW) and state.identity.revision == status.revision


def _tells(state: State) -> bool:
    return state.contract >= OBSERVES


def _under(state: State, status: Status) -> str:
    step = status.step.index if status.step is not None and state.mode is Mode.ON else ""
    return f"{state.incarnation}/{state.epoch}/{step}"


def _observed(state: State) -> tuple[int, ...]:
    """Return how many observations there are in the stream of the engine's mode, by bucket; none of lengths
    that aren't judged.
    """
    counts = [0] * (len(CONTEXT_ENDS_IN_K) + 1)
    for series in state.observed:
        if series.site is None and series.mode is state.mode and series.context in JUDGED:
            counts[series.context] += max(series.recall.count, series.overlap.count)
    return tuple(counts)


def _padded(before: tuple[int, ...]) -> Iterator[int]:
    """Yield what a mark has of each bucket; where it has nothing, more than there can be."""
    return chain(before, repeat(_ALL))


def _new(state: State, mark: MeasuredStatus) -> bool:
    return sum(_observed(state)) != mark.observations


def _came(snapshot: Snapshot, state: State, mark: MeasuredStatus) -> int:
    """Return the requests since the window began that could be measured; 0 of an engine that tells no
    observations.
    """
    since = min(
        state.requests.admitted_reuse - mark.requests,
        _judged(snapshot, state) - mark.judged,
        state.steps.reuse - mark.steps,
    )
    return max(since, 0) if _tells(state) else 0


def _judged(snapshot: Snapshot, state: State) -> int:
    """Return how many requests were admitted of judged lengths that reuse reaches, and of which no step runs
    all Full for want of length, less those that opted out.
    """
    if not state.sites:
        return 0
    k, floor, told = (
        state.sites[0].k,
        snapshot.spec.index_cache.min_context_tokens,
        state.desired.reach_tokens,
    )
    tokens = reach.UNBOUNDED if told is None else told
    counted = [b for b in JUDGED if reach.within(b, tokens, k) and reach.end(b - 1, k) >= floor]
    return sum(state.requests.contexts[b] for b in counted) - state.requests.opted_out
