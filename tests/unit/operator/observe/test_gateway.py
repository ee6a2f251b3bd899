"""HTTPRoutes as they come from gateways."""

from datetime import timedelta
from typing import Any

import pytest
from indexcache_operator.api.spec import HttpRoute
from indexcache_operator.observe import gateway

WANTED = HttpRoute(name="chat", rule="generate")


def within(seconds: float | None) -> timedelta | None:
    """Return a timeout of so many seconds; None for none."""
    return None if seconds is None else timedelta(seconds=seconds)


def route(*rules: dict[str, Any], parents: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"name": "chat", "generation": 4, "resourceVersion": "77"},
        "spec": {"rules": list(rules) or [{"name": "generate", "backendRefs": [{"name": "a"}]}]},
        "status": {"parents": parents or []},
    }


def parent(accepted: str = "True", resolved: str = "True", seen: int = 4) -> dict[str, Any]:
    conditions = [("Accepted", accepted, seen), ("ResolvedRefs", resolved, seen)]
    return {"conditions": [{"type": t, "status": s, "observedGeneration": g} for t, s, g in conditions]}


def test_finds_the_rule_by_its_name() -> None:
    found = gateway.read(
        route({"name": "x"}, {"name": "generate", "backendRefs": [{"name": "a", "weight": 3}]}), WANTED, "n"
    )
    assert (found.found, found.rule_index, found.backends) == (True, 1, ({"name": "a", "weight": 3},))
    assert (found.generation, found.resource_version) == (4, "77")


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        (None, "spec.traffic.httpRoute.name", ["no HTTPRoute chat", "namespace n", "create"]),
        (route({"name": "x"}, {}), "spec.traffic.httpRoute.rule", ["found rules x", "named generate"]),
        (
            route({"name": "generate"}, {"name": "generate"}),
            "spec.traffic.httpRoute.rule",
            ["generate, generate"],
        ),
    ],
)
def test_says_what_is_missing(raw: dict[str, Any] | None, field: str, words: list[str]) -> None:
    found = gateway.read(raw, WANTED, "n")
    assert not found.found
    assert found.problem is not None
    assert found.problem.startswith(field)
    for word in words:
        assert word in found.problem


@pytest.mark.parametrize(
    ("parents", "generation"),
    [
        ([], None),
        ([parent()], 4),
        ([parent(), parent(seen=3)], 3),
        ([parent(), parent(accepted="False")], None),
        ([parent(resolved="False")], None),
        ([{"conditions": []}], None),
    ],
)
def test_a_generation_counts_when_every_parent_took_it(
    parents: list[dict[str, Any]], generation: int | None
) -> None:
    assert gateway.read(route(parents=parents), WANTED, "n").accepted_generation == generation


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("15s", 15.0), ("1m30s", 90.0), ("500ms", 0.5), ("2h", 7200.0), ("0s", None)],
)
def test_reads_the_request_timeout(text: str | None, seconds: float | None) -> None:
    rule: dict[str, Any] = (
        {"name": "generate"} if text is None else {"name": "generate", "timeouts": {"request": text}}
    )
    assert gateway.read(route(rule), WANTED, "n").request_timeout == within(seconds)


ENVOY, OTHER = (
    {"controllerName": name}
    for name in ("gateway.envoyproxy.io/gatewayclass-controller", "example.com/gateway")
)


@pytest.mark.parametrize(
    ("timeouts", "parents", "seconds"),
    [
        ({}, [ENVOY], 15.0),
        ({}, [OTHER, ENVOY], 15.0),
        ({}, [OTHER], None),
        ({"backendRequest": "60s"}, [ENVOY], 60.0),
        ({"request": "60s"}, [ENVOY], 60.0),
        ({"request": "60s", "backendRequest": "20s"}, [ENVOY], 20.0),
        ({"request": "0s"}, [ENVOY], None),
        ({"request": "0s", "backendRequest": "20s"}, [ENVOY], 20.0),
    ],
)
def test_without_a_timeout_the_gateways_default_holds_where_it_is_known(
    timeouts: dict[str, str], parents: list[dict[str, Any]], seconds: float | None
) -> None:
    found = gateway.read(route({"name": "generate", "timeouts": timeouts}, parents=parents), WANTED, "n")
    assert found.request_timeout == within(seconds)
