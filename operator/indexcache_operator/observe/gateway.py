"""The user's HTTPRoute, as far as it concerns a rollout. Pure.

A route's status is no proof of what its data plane does (a gateway cut off from its proxies goes on reporting
success): `accepted_generation` is one of two conditions for a weight to count as reached, the engines' own
request counters are the other.
"""

from datetime import timedelta

from pydantic import ValidationError

from indexcache_operator.api import times
from indexcache_operator.api.spec import HttpRoute
from indexcache_operator.model import Rollout, Route
from indexcache_operator.objects import Object

DEFAULT_TIMEOUTS = {"gateway.envoyproxy.io/gatewayclass-controller": timedelta(seconds=15)}
"""After which a gateway ends a request where the rule says nothing, by its controller. Of others no bound is
known.
"""


def where(rollout: Rollout) -> HttpRoute | None:
    """Return which rule of which route: the one that was changed, by the status, so that it is found again
    whatever the spec says since.

    None where the spec names none, and where the status holds what is no name of a route.
    """
    changed = rollout.status.route
    if changed is None:
        return rollout.spec.traffic.http_route if rollout.spec else None
    try:
        return HttpRoute(name=changed.name, rule=changed.rule)
    except ValidationError:
        return None


def nowhere(rollout: Rollout) -> Route | None:
    """Return, where `where` finds nothing, why: None if no route is asked for.

    An operator without this check may have written such a name down. No request is made of it: it could lead
    to somebody else's route.
    """
    if rollout.status.route is None:
        return None
    name, rule = rollout.status.route.name[:64], rollout.status.route.rule[:64]
    return Route(
        found=False,
        problem=f"status.route: found {name!r}, rule {rule!r}; expected the names of an HTTPRoute in "
        "namespace "
        f"{rollout.namespace} and of its rule; restore that route's backends by hand",
    )


def read(raw: Object | None, wanted: HttpRoute, namespace: str) -> Route:
    """Return that rule of the route, found only if it is there once; `raw` None: there is no such route."""
    if raw is None:
        return Route(
            found=False,
            problem=f"spec.traffic.httpRoute.name: found no HTTPRoute {wanted.name} in namespace "
            f"{namespace}; expected one; "
            "create it, or name the one there is",
        )
    metadata, rules = raw["metadata"], (raw.get("spec") or {}).get("rules") or []
    places = [i for i, rule in enumerate(rules) if rule.get("name") == wanted.rule]
    common = {"generation": metadata.get("generation", 0), "resource_version": metadata["resourceVersion"]}
    if len(places) != 1:
        given = ", ".join(rule["name"] for rule in rules if rule.get("name")) or "none that has a name"
        return Route(
            found=False,
            problem=f"spec.traffic.httpRoute.rule: found rules {given} in HTTPRoute {wanted.name}; expected "
            f"one named {wanted.rule}; "
            "name a rule of it so",
            **common,
        )
    rule, parents = rules[places[0]], (raw.get("status") or {}).get("parents") or []
    return Route(
        found=True,
        rule_index=places[0],
        backends=tuple(rule.get("backendRefs") or ()),
        accepted_generation=_accepted(parents),
        request_timeout=_timeout(rule.get("timeouts") or {}, parents),
        **common,
    )


def _accepted(parents: list[Object]) -> int | None:
    """Return the highest generation that every parent has accepted with all references resolved; None while
    one has not, or there is none.
    """
    seen = []
    for parent in parents:
        conditions = {c["type"]: c for c in parent.get("conditions") or []}
        needed = [conditions.get("Accepted"), conditions.get("ResolvedRefs")]
        if any(c is None or c["status"] != "True" for c in needed):
            return None
        seen.append(min(c.get("observedGeneration", 0) for c in needed if c))
    return min(seen, default=None)


def _timeout(timeouts: Object, parents: list[Object]) -> timedelta | None:
    """Find after which time a request ends: the shortest of the rule's timeouts, of which zero means none at
    all.

    Where the rule says nothing, its gateways' known defaults hold.
    """
    if given := [times.parse(timeouts[name]) for name in ("request", "backendRequest") if name in timeouts]:
        return min(filter(None, given), default=None)
    known = (DEFAULT_TIMEOUTS.get(parent.get("controllerName", "")) for parent in parents)
    return min((timeout for timeout in known if timeout is not None), default=None)
