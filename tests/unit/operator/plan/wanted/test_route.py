"""Tests how the user's rule is split, and what of it is the user's own."""

from typing import Any

import pytest
from indexcache_operator.api.status import RouteStatus
from indexcache_operator.model import Route
from indexcache_operator.plan.wanted import route as wanted_route

from tests.unit.operator.plan.build import (
    BASELINE,
    FOREIGN,
    KEPT,
    ORIGINAL,
    WITH_CANARY,
    case,
    route,
    snapshot,
    spec,
    status,
)


@pytest.mark.parametrize(
    ("changes", "kept", "expected"),
    [
        ({}, None, KEPT),
        (
            {"route": route(BASELINE)},
            KEPT,
            RouteStatus(name="users", rule="generate", original_backends=(BASELINE,)),
        ),
        ({"route": WITH_CANARY}, KEPT, KEPT),
        ({"route": WITH_CANARY}, None, None),
        ({"route": route(FOREIGN)}, KEPT, KEPT),
        ({"route": Route(found=False, backends=ORIGINAL)}, None, None),
        ({"route": None}, None, None),
        ({"spec": None}, None, None),
        ({"spec": spec(traffic={})}, None, None),
    ],
)
def test_the_users_backends_are_those_without_the_canary(
    changes: dict[str, Any], kept: RouteStatus | None, expected: RouteStatus | None
) -> None:
    assert wanted_route.adopt_route(case(snapshot(**changes), status(route=kept))).route == expected


def test_the_backends_for_a_weight() -> None:
    assert wanted_route.backends(case(snapshot(), status()), 20) is None
    assert wanted_route.backends(case(snapshot(), status(route=KEPT)), 0) == ORIGINAL
    out = wanted_route.backends(case(snapshot(), status(route=KEPT)), 20)
    assert out is not None
    assert [(b["name"], b["weight"]) for b in out] == [
        ("other", 100),
        ("chat-baseline", 160),
        ("chat-canary", 40),
    ]


def test_a_service_of_the_rollouts_namespace_is_the_baselines_and_one_of_another_is_not() -> None:
    here, elsewhere = (
        RouteStatus(
            name="users", rule="generate", original_backends=(FOREIGN, {**BASELINE, "namespace": namespace})
        )
        for namespace in (snapshot().observation.namespace, "elsewhere")
    )
    for kept, adopted in ((here, here), (elsewhere, None)):
        seen = snapshot(route=route(*kept.original_backends))
        assert wanted_route.adopt_route(case(seen, status())).route == adopted
    out = wanted_route.backends(case(snapshot(), status(route=here)), 20)
    assert out is not None
    assert [b["name"] for b in out] == ["other", "chat-baseline", "chat-canary"]
    assert wanted_route.backends(case(snapshot(), status(route=elsewhere)), 1) is None
    assert wanted_route.backends(case(snapshot(), status(route=elsewhere)), 0) == elsewhere.original_backends
