"""Engines that measure, built from little."""

from typing import Any

from indexcache_core.contract import Flags, Identity, Mode, Requests, Series, State, Work
from indexcache_core.evidence import detector
from indexcache_core.evidence.detector import Detector
from indexcache_core.histogram import of
from indexcache_operator.plan.evidence import counters
from indexcache_operator.plan.facts.memory import Memory, TestKey, TotalKey
from indexcache_operator.plan.facts.situation import Situation

from tests.unit.operator.plan.build import REVISION, case, engine, pod, snapshot

SLOT = 101
"""Of a look a hundred seconds after the try began."""
ALL: dict[str, Any] = {"overlap": {"min": 0.3}, "recall": {"min": 0.5, "perIndexerMin": 0.25}}


def series(
    recall: list[float],
    site: int | None = None,
    context: int = 3,
    mode: Any = Mode.SHADOW,
    overlap: list[float] | None = None,
    work: Work = Work.PREFILL,
) -> Series:
    return Series(
        site=site,
        context=context,
        work=work,
        mode=mode,
        overlap=of(recall if overlap is None else overlap),
        recall=of(recall),
    )


def measured(
    *found: Series,
    revision: str = REVISION,
    pattern: str = "FSFS",
    protected: tuple[int, ...] = (),
    **changes: Any,
) -> State:
    """Return an engine that measures for this try."""
    desired = Flags(mode=Mode.SHADOW, pattern=pattern, protected=protected)
    return engine(
        Mode.SHADOW,
        observed=found,
        identity=Identity(revision=revision),
        desired=desired,
        series_number=1,
        **changes,
    )


def look(
    *states: State | None, memory: Memory | None = None, names: str = "abc", **changes: Any
) -> Situation:
    """Return a look at engines that say this, by default with nothing remembered."""
    pods = [pod(name, state) for name, state in zip(names, states, strict=False)]
    return case(snapshot(*pods, **changes), memory=memory or Memory(key="try"))


def observe(*states: State | None, **changes: Any) -> Memory:
    """Return the memory after a look at engines that say this."""
    return counters.take_up(look(*states, **changes))[0]


def total(
    site: int | None = None,
    context: int = 3,
    measure: Any = "recall",
    mode: Any = Mode.SHADOW,
    work: Work = Work.PREFILL,
) -> TotalKey:
    return TotalKey(measure, site, context, work, mode)


def bet(values: list[float], m0: float = 0.5, slot: int = SLOT) -> Detector:
    """Return the first bet of a reader that has just begun."""
    return detector.resumed(of(values), m0, slot)


def judged_by(name: Any = "recall", site: int | None = None, context: int = 3) -> TestKey:
    """Return a test of prefill."""
    return TestKey(name, site, context, Work.PREFILL)


def recall_at(context: int, mode: Any = Mode.SHADOW) -> tuple[TestKey, Any]:
    return judged_by(context=context), mode


def padded(weights: dict[int, float]) -> tuple[float, ...]:
    """Return weights by bucket of context length, zero where there is none."""
    return tuple(weights.get(i, 0.0) for i in range(9))


def served(prefilled: dict[int, float], decoding: dict[int, float] | None = None, **changes: Any) -> State:
    """Return an engine that served users for this try: their weights by bucket of context length."""
    requests = Requests(
        recent=padded(prefilled), recent_decoding=padded(decoding or {}), recent_work=padded(prefilled)
    )
    return measured(requests=requests, **changes)
