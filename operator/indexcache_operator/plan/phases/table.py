"""The table of phases: what each decides by, what it wants of pods and route, where it may lead, and how soon
to look again.

Beside these, what ends a try from outside (triggers.py) leads to FallingBack: a deletion from any phase, all
else from those in which engines have been told something.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.phases import canary, check, fallback, promote, shadow
from indexcache_operator.plan.wanted.targets import Targets


@dataclass(frozen=True, kw_only=True)
class Row:
    """Describes one phase."""

    decide: Callable[[Situation], Status]
    targets: Callable[[Situation], Targets]
    leads_to: frozenset[Phase]
    look_again: timedelta
    measures: bool = False
    """Whether evidence is collected."""


P = Phase
SECOND = timedelta(seconds=1)
TABLE: dict[Phase, Row] = {
    P.PENDING: Row(
        decide=check.decide,
        targets=check.targets,
        leads_to=frozenset({P.CHECKING, P.FAILED, P.SHADOWING}),
        look_again=timedelta(seconds=1),
    ),
    P.CHECKING: Row(
        decide=check.decide,
        targets=check.targets,
        leads_to=frozenset({P.SHADOWING, P.FAILED}),
        look_again=timedelta(seconds=2),
    ),
    P.FAILED: Row(
        decide=check.decide, targets=check.targets, leads_to=frozenset({P.CHECKING}), look_again=5 * SECOND
    ),
    P.SHADOWING: Row(
        decide=shadow.decide,
        targets=shadow.targets,
        leads_to=frozenset({P.CANARY, P.FALLING_BACK}),
        look_again=SECOND / 2,
        measures=True,
    ),
    P.CANARY: Row(
        decide=canary.decide,
        targets=canary.targets,
        leads_to=frozenset({P.PROMOTING, P.FALLING_BACK}),
        look_again=SECOND / 4,
        measures=True,
    ),
    P.PROMOTING: Row(
        decide=promote.decide,
        targets=promote.promoting_targets,
        leads_to=frozenset({P.PROMOTED, P.FALLING_BACK}),
        look_again=SECOND / 4,
        measures=True,
    ),
    P.PROMOTED: Row(
        decide=promote.watch,
        targets=promote.promoted_targets,
        leads_to=frozenset({P.FALLING_BACK}),
        look_again=SECOND,
        measures=True,
    ),
    P.FALLING_BACK: Row(
        decide=fallback.decide,
        targets=fallback.targets,
        leads_to=frozenset({P.FELL_BACK, P.CHECKING, P.FAILED}),
        look_again=SECOND / 4,
    ),
    P.FELL_BACK: Row(
        decide=fallback.rest,
        targets=check.targets,
        leads_to=frozenset({P.CHECKING, P.FAILED}),
        look_again=timedelta(seconds=5),
    ),
}
