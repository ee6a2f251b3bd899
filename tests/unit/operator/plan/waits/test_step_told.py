"""Tests all that is told of what a step of the canary waits for: whose doing it is, rates, the way out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode, Requests
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import Origin, TrafficStatus, WaitStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.situation import Seen

from tests.unit.operator.plan.build import MOVED, WITH_CANARY, at, engine, pod, route, spec
from tests.unit.operator.plan.waits.stepping import NONE_YET, STEP, UNREACHED, wait

BUSY = engine(Mode.SHADOW, requests=Requests(running_baseline=2, running_reuse=3))
TWO = pod("b"), pod("c")
SERVING = "kubectl describe pod says what keeps it from serving"
TELLS = "nothing need be done: it is told by the requests that come"
SENDERS = "look who sends to the pod itself, or whether the gateway knows of its labels"
GATEWAY = (
    "look whether the gateway follows the route, whether somebody else writes it, and who else sends to the "
    "canary's Service"
)


def platform(reason: str, message: str, way_out: str, rate: float | None = None) -> WaitStatus:
    return WaitStatus(
        origin=Origin.PLATFORM, reason=reason, message=message, way_out=way_out, requests_per_minute=rate
    )


def traffic(reason: str, message: str, rate: float, needed: float) -> WaitStatus:
    return WaitStatus(
        origin=Origin.TRAFFIC,
        reason=reason,
        message=message,
        way_out=TELLS,
        requests_per_minute=rate,
        requests_per_minute_needed=needed,
    )


@pytest.mark.parametrize(
    ("pods", "changes", "expected"),
    [
        (
            [pod("a", None, error="timeout", **MOVED), *TWO],
            {"traffic": NONE_YET},
            platform("PodsNotReady", "pod a can't be asked: timeout", SERVING),
        ),
        (
            [pod("a", None, error="timeout", **MOVED), pod("b"), pod("c", ready=False)],
            {"traffic": NONE_YET},
            platform("PodsNotReady", "pod a can't be asked: timeout", SERVING),
        ),
        (
            [pod("b"), pod("c", ready=False)],
            {"traffic": NONE_YET},
            platform("PodsNotReady", "pod c isn't ready; 0 of 1 pods can be exposed", SERVING),
        ),
        (
            TWO,
            {"traffic": NONE_YET},
            platform("PodsNotReady", "0 of 1 pods can be exposed", SERVING),
        ),
        (
            [],
            {"traffic": NONE_YET, "drained": False},  # 42 requests tell, within two minutes
            traffic("PodsDraining", "a: about 39 more requests show that none comes there", 0.3, 21.0),
        ),
        (
            [pod("a", **MOVED), pod("b", ready=False), pod("c", ready=False)],
            {"traffic": NONE_YET, "drained": False},  # eleven do where nobody else is ready
            traffic("PodsDraining", "a: about 8 more requests show that none comes there", 0.3, 5.5),
        ),
        (
            [],
            {"traffic": NONE_YET, "drained": False, "came": 42},
            traffic("PodsDraining", "a: about 1 more requests show that none comes there", 4.2, 21.0),
        ),
        (
            [],
            {"traffic": NONE_YET, "drained": False, "came": 125},
            traffic("PodsDraining", "a: about 1 more requests show that none comes there", 12.0, 21.0),
        ),
        (
            [],
            {"traffic": NONE_YET, "drained": False, "came": 126},
            platform(
                "PodsDraining", "a: requests still come there, past the baseline's Service", SENDERS, 13.0
            ),
        ),
        (
            [pod("a", BUSY, **MOVED), *TWO],
            {"traffic": NONE_YET, "drained": False, "came": 125},
            traffic("PodsDraining", "a: 5 requests that run there end first", 12.0, 21.0),
        ),
        (
            [pod("a", BUSY, **MOVED), *TWO],
            {"traffic": NONE_YET, "drained": False, "came": 126},
            platform(
                "PodsDraining", "a: requests still come there, past the baseline's Service", SENDERS, 13.0
            ),
        ),
        (
            [],
            {"step": UNREACHED, "traffic": TrafficStatus(desired=20, previous=5)},
            traffic("WeightNotSeen", "about 235 more requests tell whether weight 20 holds", 0.3, 120.0),
        ),
        (
            [],
            {
                "step": UNREACHED,
                "traffic": TrafficStatus(desired=20, previous=5),
                "seen": Seen(requests=200),
            },
            traffic("WeightNotSeen", "about 35 more requests tell whether weight 20 holds", 0.3, 120.0),
        ),
        (
            [],
            {
                "step": UNREACHED,
                "traffic": TrafficStatus(desired=20, previous=5),
                "seen": Seen(requests=500),
            },
            traffic("WeightNotSeen", "about 1 more requests tell whether weight 20 holds", 0.3, 120.0),
        ),
        (
            [],
            {"step": UNREACHED, "came": 709, "traffic": TrafficStatus(desired=20, previous=5)},
            traffic("WeightNotSeen", "about 235 more requests tell whether weight 20 holds", 71.0, 120.0),
        ),
        (
            [],
            {"step": UNREACHED, "came": 710, "traffic": TrafficStatus(desired=20, previous=5)},
            platform("WeightNotSeen", "weight 20 isn't seen, though 710 requests came", GATEWAY, 71.0),
        ),
        (
            [],
            {"step": UNREACHED, "seen": Seen(reached=Reached.NO, percent=3)},
            platform("WeightNotSeen", "requests don't come by weight 20, about 3 % was seen", GATEWAY, 0.3),
        ),
        (
            [],
            {"step": UNREACHED, "seen": Seen(reached=Reached.NO)},
            platform("WeightNotSeen", "requests don't come by weight 20", GATEWAY, 0.3),
        ),
        (
            [],
            {"step": UNREACHED, "route": route(*WITH_CANARY.backends, accepted_generation=4)},
            platform("RouteNotAccepted", "no gateway has accepted the route's generation", GATEWAY, 0.3),
        ),
        (
            [],
            {
                "spec": spec(strategy={"steps": [{"weight": 20, "minDuration": "10m"}]}),
                "step": replace(STEP, reached_at=at(-119)),  # 481 seconds are left
            },
            WaitStatus(
                origin=Origin.USER,
                reason="MinDuration",
                message="nothing but minDuration, which ends at 2026-01-01T00:08:01.000Z",
                expected="9m",
                way_out="shorten minDuration of step 1",
            ),
        ),
        ([], {"spec": spec(strategy={"steps": [{"weight": 20, "minDuration": "30s"}]})}, None),
        (
            [pod("a", None, baseline_label=False, canary_label=False), *TWO],
            {"traffic": NONE_YET, "drained": False},
            platform("PodsNotReady", "pod a can't be asked", SERVING),
        ),
        (
            [],
            {"traffic": NONE_YET},
            platform(
                "ReuseNotConfirmed",
                "the route: reuse isn't confirmed yet",
                "look at status.pods for what the engines say",
            ),
        ),
    ],
)
def test_all_that_is_told(
    pods: Sequence[EnginePod], changes: dict[str, Any], expected: WaitStatus | None
) -> None:
    assert wait(*pods, **changes) == expected


@pytest.mark.parametrize(("routed", "count"), [(True, 2), (False, 3)])
def test_only_with_a_route_a_pod_is_left_to_the_baseline(routed: bool, count: int) -> None:
    all_of_it = {"strategy": {"steps": [{"weight": 100}]}}
    changes: dict[str, Any] = (
        {"spec": spec(**all_of_it)} if routed else {"spec": spec(traffic={}, **all_of_it), "route": None}
    )
    found = wait(step=replace(UNREACHED, weight=100), traffic=NONE_YET, **changes)
    assert found == platform("PodsNotReady", f"1 of {count} pods can be exposed", SERVING)
