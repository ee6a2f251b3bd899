"""Changing a route on a real API server: one rule alone, and only as it was looked at."""

from datetime import timedelta
from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.act import route
from indexcache_operator.act.status import StatusWriter
from indexcache_operator.api import stored
from indexcache_operator.api.spec import HttpRoute
from indexcache_operator.kube import Conflict
from indexcache_operator.model import PatchRoute, Route

from tests.cluster.act_world import World


async def _route(world: World) -> Route:
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "chat"},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": [
                {"name": "other", "backendRefs": [{"name": "x", "port": 1}]},
                {
                    "name": "generate",
                    "timeouts": {"request": "1m30s"},
                    "backendRefs": [{"name": "r-baseline", "port": 8000}],
                },
            ],
        },
    }
    await world.kube.create(names.object_path(*names.HTTP_ROUTES, world.namespace), body)
    found = (await world.look()).observation.route
    assert found is not None
    return found


def _patch(found: Route, *backends: dict[str, Any], rule: str = "generate") -> PatchRoute:
    assert found.rule_index is not None
    return PatchRoute(
        rule_index=found.rule_index, rule=rule, backends=backends, resource_version=found.resource_version
    )


async def test_a_route_is_changed_in_one_rule_alone(world: World) -> None:
    found = await _route(world)
    assert (found.rule_index, found.request_timeout, found.accepted_generation) == (
        1,
        timedelta(seconds=90),
        None,
    )
    weighted = [{**found.backends[0], "weight": 75}, {**found.backends[0], "name": "r-canary", "weight": 25}]
    await route.patch(world.kube, world.namespace, "chat", _patch(found, *weighted))
    after = (await world.look()).observation.route
    assert after is not None
    assert list(after.backends) == weighted
    raw = await world.kube.get(names.object_path(*names.HTTP_ROUTES, world.namespace, "chat"))
    assert raw["spec"]["rules"][0]["backendRefs"][0]["name"] == "x"
    await route.patch(world.kube, world.namespace, "chat", _patch(after, *found.backends))
    restored = (await world.look()).observation.route
    assert restored is not None
    assert restored.backends == found.backends


async def test_a_route_that_somebody_wrote_since_is_not_changed(world: World) -> None:
    found = await _route(world)
    await world.kube.patch(
        names.object_path(*names.HTTP_ROUTES, world.namespace, "chat"),
        {"metadata": {"labels": {"by": "other"}}},
    )
    with pytest.raises(Conflict):
        await route.patch(world.kube, world.namespace, "chat", _patch(found, *found.backends))


async def test_a_rule_of_another_name_is_not_changed(world: World) -> None:
    found = await _route(world)
    with pytest.raises(Conflict):
        await route.patch(world.kube, world.namespace, "chat", _patch(found, *found.backends, rule="moved"))


async def test_a_changed_route_is_found_by_the_status(world: World) -> None:
    await _route(world)
    await world.kube.patch(
        names.rollouts_path(world.namespace, "r"),
        {"spec": {"traffic": {"httpRoute": {"name": "new", "rule": "a"}}}},
    )
    look = await world.look()
    assert look.observation.route is not None
    assert look.observation.route.problem is not None
    assert "found no HTTPRoute new" in look.observation.route.problem
    kept = stored.read({"route": {"name": "chat", "rule": "generate", "originalBackends": []}})
    await StatusWriter().write(world.kube, look.rollout.raw, kept)
    look = await world.look()
    assert look.route == HttpRoute(name="chat", rule="generate")
    assert look.observation.route is not None
    assert look.observation.route.found
