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
        self._by_route: dict[tuple[str, str], dict[str, Claim]] = {}
        """The same, by namespace and route."""

    def note(self, raw: Object) -> None:
        """Take up a rollout as an event shows it, whatever its spec holds."""
        metadata = raw.get("metadata") or {}
        claim = _claim(raw)
        self.forget(metadata.get("uid", ""))
        if claim is not None:
            self._claims[metadata["uid"]] = claim
            self._by_route.setdefault(claim.rule[:2], {})[metadata["uid"]] = claim

    def forget(self, uid: str) -> None:
        """Take a rollout that is gone out."""
        claim = self._claims.pop(uid, None)
        if claim is None:
            return
        beside = self._by_route[claim.rule[:2]]
        del beside[uid]
        if not beside:
            del self._by_route[claim.rule[:2]]

    def of_route(self, namespace: str, name: str) -> tuple[str, ...]:
        """Return the uids of the rollouts that claim a rule of a route."""
        return tuple(self._by_route.get((namespace, name), ()))

    def other(self, rollout: Rollout) -> str | None:
        """Return the name of another rollout that has this one's rule; None where it has it itself, or asks
        for none.
        """
        return self.other_than(rollout.raw)

    def other_than(self, raw: Object) -> str | None:
        """Return the same of a rollout as an object of the API."""
        own, uid = _claim(raw), raw["metadata"]["uid"]
        if own is None:
            return None
        beside = self._by_route.get(own.rule[:2], {})
        rivals = {other: claim for other, claim in beside.items() if claim.rule == own.rule} | {uid: own}
        first = min(rivals, key=lambda uid: (not rivals[uid].holds, rivals[uid].created, uid))
        return None if first == uid else rivals[first].name


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
