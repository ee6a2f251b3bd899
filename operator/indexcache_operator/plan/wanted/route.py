"""Decides how the user's rule splits its traffic for a weight, and what of it is the user's own."""

from dataclasses import replace

from indexcache_operator.api.status import Backend, RouteStatus, Status
from indexcache_operator.plan.facts import weights
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import route_has_canary


def adopt_route(situation: Situation) -> Status:
    """Return the status with the user's backends as they are without the canary.

    A list that somebody put back meanwhile is the original now.
    """
    snapshot, status = situation.snapshot, situation.status
    route, spec = snapshot.observation.route, snapshot.observation.spec
    if (
        route is None
        or not route.found
        or route_has_canary(snapshot)
        or spec is None
        or spec.traffic.http_route is None
    ):
        return status
    if not weights.names(route.backends, snapshot.baseline_service, snapshot.observation.namespace):
        return status
    where = spec.traffic.http_route
    kept = RouteStatus(name=where.name, rule=where.rule, original_backends=tuple(route.backends))
    return replace(status, route=kept)


def backends(situation: Situation, weight: int) -> tuple[Backend, ...] | None:
    """Return the rule's backends for a weight; None without a route, or where what is kept of it has no
    baseline to split.
    """
    snapshot, route = situation.snapshot, situation.status.route
    if route is None:
        return None
    namespace = snapshot.observation.namespace
    if weight > 0 and not weights.names(route.original_backends, snapshot.baseline_service, namespace):
        return None  # written by an operator that took a Service of another namespace for the rollout's
    return weights.weighted(
        route.original_backends, snapshot.baseline_service, snapshot.canary_service, weight, namespace
    )
