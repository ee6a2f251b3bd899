"""Says what should be of pods, labels and route, and which actions that takes."""

from dataclasses import dataclass, field

from indexcache_operator.api.status import Backend
from indexcache_operator.model import PatchRoute, SetLabels
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Says what should be, for the parts that actions can move. Labels and route are set only as far as their
    order allows in this look.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    """Kind of flags by pod (flags.py); a pod not named is off."""
    labels: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """Baseline, canary."""
    backends: tuple[Backend, ...] | None = None
    """Of the user's rule; None leaves it alone."""


def label_actions(snapshot: Snapshot, targets: Targets) -> list[SetLabels]:
    """Return the labels that differ."""
    return [
        SetLabels(pod=p.name, baseline=targets.labels[p.name][0], canary=targets.labels[p.name][1])
        for p in snapshot.pods
        if p.name in targets.labels and targets.labels[p.name] != (p.baseline_label, p.canary_label)
    ]


def route_actions(situation: Situation, targets: Targets) -> list[PatchRoute]:
    """Return the change of the route if its backends differ and the rule is there."""
    route, kept = situation.snapshot.observation.route, situation.status.route
    if (
        targets.backends is None
        or route is None
        or not route.found
        or route.unread
        or route.rule_index is None
        or kept is None
    ):
        return []
    if tuple(route.backends) == tuple(targets.backends):
        return []
    return [
        PatchRoute(
            rule_index=route.rule_index,
            rule=kept.rule,
            backends=targets.backends,
            resource_version=route.resource_version,
        )
    ]
