"""Decides which rollout has which rule of which HTTPRoute: two that split one rule would undo each other's
weights for ever.

Whoever has changed the route has it; before that, the rollout that was made first. Every rollout's events
tell this: nothing is asked for it.
"""

from dataclasses import dataclass

from indexcache_operator.model import Rollout
from indexcache_operator.objects import Object

Rule = tuple[str, str, str]
"""Namespace, route, rule."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claim of one rollout to a rule."""

    name: str
    rule: Rule
    holds: bool
    """Whether it has changed the route, by its status."""
    created: str
    """As the API server wrote it: texts of one form and one zone, so their order is that of time."""


class Claims:
    """The claims of all rollouts, by uid."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}

    def note(self, raw: Object) -> None:
        """Take up a rollout as an event shows it, whatever its spec holds."""
        metadata = raw.get("metadata") or {}
        claim = _claim(raw)
        if claim is None:
            self.forget(metadata.get("uid", ""))
        else:
            self._claims[metadata["uid"]] = claim

    def forget(self, uid: str) -> None:
        """Take a rollout that is gone out."""
        self._claims.pop(uid, None)

    def other(self, rollout: Rollout) -> str | None:
        """Return the name of another rollout that has this one's rule; None where it has it itself, or asks
        for none.
        """
        own = _claim(rollout.raw)
        if own is None:
            return None
        rivals = {uid: claim for uid, claim in self._claims.items() if claim.rule == own.rule} | {
            rollout.uid: own
        }
        first = min(rivals, key=lambda uid: (not rivals[uid].holds, rivals[uid].created, uid))
        return None if first == rollout.uid else rivals[first].name


def _claim(raw: Object) -> Claim | None:
    """Return what a rollout claims: the rule that it has changed, by its status, else the one that its spec
    names.
    """
    metadata, spec, status = (_map(raw.get(part)) for part in ("metadata", "spec", "status"))
    kept, asked = _map(status.get("route")), _map(_map(spec.get("traffic")).get("httpRoute"))
    route = kept or asked
    names = [metadata.get("namespace"), route.get("name"), route.get("rule")]
    if not all(isinstance(name, str) and name for name in names):
        return None
    return Claim(
        name=str(metadata.get("name")),
        rule=(str(names[0]), str(names[1]), str(names[2])),
        holds=bool(kept),
        created=str(metadata.get("creationTimestamp", "")),
    )


def _map(value: object) -> Object:
    return value if isinstance(value, dict) else {}
