"""Holds what a scenario shows, in figures."""

from dataclasses import dataclass, field

from indexcache_testbed.load.answers import Tally
from indexcache_testbed.scenario.evidence import Measured


@dataclass
class Outcome:
    """The end of one scenario. Times are seconds; what does not apply is None."""

    letter: str
    title: str
    pattern: str
    ended: str = ""
    """Phase and reason at the end."""
    phases: list[tuple[str, float]] = field(default_factory=list)
    """Each phase with the time spent in it, in order."""
    measured: Measured | None = None
    stable: Tally | None = None
    """Answers of engines that were not reusing."""
    canary: Tally | None = None
    """Answers of engines that were."""
    failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    breach_to_off: float | None = None
    """From the moment at which the trigger could be seen to the first look at which no engine was reusing."""
    breach_to_zero: float | None = None
    """The same, to no canary backend left in the route and its removal accepted."""
    admitted_under_reuse: int | None = None
    """Requests admitted under reuse during the scenario, by the engines' own count."""
    admitted_after: int | None = None
    """Of those, admitted after all engines were back at the baseline: must be 0."""
    in_flight: int | None = None
    """Requests that were running under reuse at the moment of the fallback."""
    trigger: str = ""
    """What the times are measured from."""
    notes: list[str] = field(default_factory=list)


def phase_times(seen: list[tuple[float, str]], end: float) -> list[tuple[str, float]]:
    """Return the time in each phase, from the moments at which the rollout was seen in it (merged while it
    stays the same).
    """
    out: list[tuple[str, float]] = []
    for (at, phase), (until, _) in zip(seen, [*seen[1:], (end, "")], strict=True):
        if out and out[-1][0] == phase:
            out[-1] = (phase, out[-1][1] + until - at)
        elif phase:
            out.append((phase, until - at))
    return out
