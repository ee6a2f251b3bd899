"""Tests what every decision asks of a look."""

from dataclasses import replace
from datetime import timedelta

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import PodStatus
from indexcache_operator.model import EnginePod, Route
from indexcache_operator.plan.facts.snapshot import (
    PERMIT_MARGIN,
    may_be_on,
    pod_status,
    route_accepted,
    route_has_canary,
    wants_on,
)

from tests.unit.operator.plan.build import (
    KEPT,
    NOW,
    REVISION,
    WITH_CANARY,
    at,
    engine,
    pod,
    route,
    snapshot,
    spec,
    status,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("off", False), ("shadow-1a", False), ("on-canary-1a", True), ("on-promoted-1a", True)],
)
def test_which_flags_turn_reuse_on(name: str, expected: bool) -> None:
    assert wants_on(name) is expected


def test_pods_on_their_way_out_are_none_and_only_ready_ones_serve() -> None:
    seen = snapshot(pod("a"), pod("b", ready=False), pod("c", deleting=True))
    assert [p.name for p in seen.pods] == ["a", "b"]
    assert [p.name for p in seen.ready] == ["a"]


def test_a_look_without_a_spec_says_so() -> None:
    seen = snapshot(spec=None, spec_problem="engine: missing")
    assert (seen.wanted_revision, seen.routed) == ("", False)
    with pytest.raises(ValueError, match="engine: missing"):
        _ = seen.spec


def test_a_look_with_one() -> None:
    seen = snapshot()
    assert (seen.now, seen.wanted_revision, seen.spec, seen.routed) == (NOW, REVISION, spec(), True)
    assert (seen.baseline_service, seen.canary_service) == ("chat-baseline", "chat-canary")
    assert not snapshot(spec=spec(traffic={})).routed
    assert seen.since(at(-3)) == timedelta(seconds=3)
    assert seen.since(at(5)) == seen.since(None) == timedelta()


@pytest.mark.parametrize(
    ("state", "permit", "since", "expected"),
    [
        (engine(Mode.ON), 0.0, 0.0, True),
        (engine(Mode.SHADOW), 60.0, 0.0, False),
        (None, 60.0, 60.0 + PERMIT_MARGIN.total_seconds(), True),
        (None, 60.0, 60.1 + PERMIT_MARGIN.total_seconds(), False),
        (None, 0.0, 0.0, False),
        (None, 0.5, 0.0, True),
    ],
)
def test_reuse_may_run_where_an_engine_says_so_or_is_silent_within_its_permit(
    state: object, permit: float, since: float, expected: bool
) -> None:
    kept = PodStatus(name="a", permit=timedelta(seconds=permit))
    silent: EnginePod = pod("a", state)  # type: ignore[arg-type]
    assert may_be_on(silent, kept, timedelta(seconds=since)) is expected


def test_a_pod_that_nothing_is_kept_of_was_told_nothing() -> None:
    kept = PodStatus(name="a", epoch=7)
    assert pod_status(status(pods=(PodStatus(name="b"), kept)), "a") == kept
    assert pod_status(status(), "a") == PodStatus(name="a")


@pytest.mark.parametrize(
    ("seen", "canary", "accepted"),
    [
        (None, False, False),
        (route(), False, True),
        (WITH_CANARY, True, True),
        (route(accepted_generation=4), False, False),
        (route(accepted_generation=6), False, True),
        (route(accepted_generation=None), False, False),
        (Route(found=False, generation=5, accepted_generation=5), False, False),
    ],
)
def test_what_is_said_of_a_route(seen: Route | None, canary: bool, accepted: bool) -> None:
    at_it = snapshot(route=seen)
    assert (route_has_canary(at_it), route_accepted(at_it)) == (canary, accepted)


def test_a_route_that_was_never_read_may_name_the_canary_once_a_weight_was_given() -> None:
    unread = Route(found=True, unread=True)
    assert route_has_canary(snapshot(route=unread, status=status(route=KEPT)))
    assert not route_has_canary(snapshot(route=unread, status=status()))
    assert not route_accepted(snapshot(route=unread))
    seen_before = replace(route(), accepted_generation=None, unread=True)
    assert route_has_canary(snapshot(route=seen_before, status=status(route=KEPT)))  # may be written since
    assert not route_has_canary(snapshot(route=seen_before, status=status()))
