"""The table of phases: what each decides by, what it wants of pods and route, where it may lead, and how soon
to look again.

Beside these, what ends a try from outside (triggers.py) leads to FallingBack: a deletion from any phase, an
intent from Checking too, all else from those in which engines have been told something. The diagram in
docs/architecture.md is made of this table.
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
    leads_to: dict[Phase, str]
    """The other phases that `decide` may lead to, each with what it takes."""
    look_again: timedelta
    measures: bool = False
    """Whether evidence is collected."""


P = Phase
SECOND = timedelta(seconds=1)
TABLE: dict[Phase, Row] = {
    P.PENDING: Row(
        decide=check.decide,
        targets=check.targets,
        leads_to={
            P.CHECKING: "something is still missing",
            P.SHADOWING: "possible, and everything is there",
            P.FAILED: "not possible",
        },
        look_again=timedelta(seconds=1),
    ),
    P.CHECKING: Row(
        decide=check.decide,
        targets=check.targets,
        leads_to={
            P.SHADOWING: "possible, and everything is there",
            P.FAILED: "not possible, or still missing after a while",
        },
        look_again=timedelta(seconds=2),
    ),
    P.FAILED: Row(
        decide=check.decide,
        targets=check.targets,
        leads_to={
            P.CHECKING: "its last reason is gone, or another spec",
            P.SHADOWING: "another spec, and everything is there",
        },
        look_again=5 * SECOND,
    ),
    P.SHADOWING: Row(
        decide=shadow.decide,
        targets=shadow.targets,
        leads_to={
            P.CANARY: "certified in shadow, enough requests, not held",
        },
        look_again=SECOND / 2,
        measures=True,
    ),
    P.CANARY: Row(
        decide=canary.decide,
        targets=canary.targets,
        leads_to={
            P.PROMOTING: "last step certified under reuse",
            P.FALLING_BACK: "progressDeadline: held",
        },
        look_again=SECOND / 4,
        measures=True,
    ),
    P.PROMOTING: Row(
        decide=promote.decide,
        targets=promote.promoting_targets,
        leads_to={P.PROMOTED: "reuse on everywhere, route restored"},
        look_again=SECOND / 4,
        measures=True,
    ),
    P.PROMOTED: Row(
        decide=promote.watch,
        targets=promote.promoted_targets,
        leads_to={},
        look_again=SECOND,
        measures=True,
    ),
    P.FALLING_BACK: Row(
        decide=fallback.decide,
        targets=fallback.targets,
        leads_to={
            P.FELL_BACK: "all at the baseline, rejected or killed",
            P.SHADOWING: "all at the baseline, held",
            P.CHECKING: "all at the baseline, superseded",
            P.FAILED: "all at the baseline, the spec can't be read",
        },
        look_again=SECOND / 4,
    ),
    P.FELL_BACK: Row(
        decide=fallback.rest,
        targets=check.targets,
        leads_to={P.CHECKING: "another spec, a retry, or a kill taken back"},
        look_again=timedelta(seconds=5),
    ),
}


def followers(phase: Phase) -> frozenset[Phase]:
    """Return the phases that may come after one look at this phase."""
    return frozenset({phase, P.FALLING_BACK, *TABLE[phase].leads_to})
