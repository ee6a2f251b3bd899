"""The operator crashes before every single action of a rollout, and wherever hypothesis likes: what may never
happen never does.

A crash loses the memory and all that the plan hadn't done yet. After it a new operator sees nothing but what
is there.
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from indexcache_core.contract import Mode, Reason
from indexcache_operator.api.status import FallbackStatus, Phase

from tests.unit.operator.plan.held import safe, turned
from tests.unit.operator.plan.world import World, bad, good
from tests.unit.operator.plan.world_parts import spec


def actions(make: World, end: Phase) -> int:
    make.until(end, check=safe)
    return len(make.done)


def test_every_crash_point_of_a_good_rollout_ends_promoted() -> None:
    for point in range(actions(World(recall=good), Phase.PROMOTED)):
        world = World(recall=good)
        world.crash_at = point
        world.until(Phase.PROMOTED, Phase.FELL_BACK, check=safe)
        assert world.status.phase is Phase.PROMOTED, f"crash before action {point}: {world.status.message}"
        assert world.backends == world.original
        assert all(p.baseline for p in world.pods.values())


def test_every_crash_point_of_a_fallback_ends_at_the_baseline() -> None:
    for point in range(actions(turned(World()), Phase.FELL_BACK)):
        world = turned(World())
        world.crash_at = point
        world.until(Phase.FELL_BACK, check=safe)
        admitted = world.reuse_admitted
        for _ in range(6):
            world.snapshot(safe)
        assert world.reuse_admitted == admitted, f"crash before action {point}"
        assert world.backends == world.original
        assert world.modes() == {Mode.OFF}
        assert not any(p.canary for p in world.pods.values())
        assert [r.reason for r in world.status.rejected] == ["RecallBelowThreshold"]


FAULTS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(
            [
                *(
                    "crash",
                    "away",
                    "kill",
                    "restart",
                    "unreachable",
                    "reachable",
                    "alert-old",
                    "pause",
                    "go",
                    "cut",
                    "uncut",
                    "drift",
                ),
                *("busy", "idle", "breaker"),
            ]
        ),
        st.integers(0, 2),
    ),
    max_size=10,
)


@given(FAULTS, st.integers(0, 3))
@example([(3, "away", 0), (6, "crash", 0), (6, "cut", 0), (6, "restart", 0), (1, "crash", 0)], 0)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_a_rollout_ends_and_no_reuse_is_admitted_afterwards(
    faults: list[tuple[int, str, int]], seed: int
) -> None:
    """And no request fails, and none meets reuse past the canary's Service.

    Left out is what no plan can help: that a pod dies with what it serves, or while a gateway that is cut
    off, or has no operator, still sends to it. A pod that is lost with both there is in test_plan_faults.py.
    """
    world = World(recall=good, seed=seed)
    world.snapshot()  # a gateway cut off before it knew of any engine could send nobody anywhere
    for looks, fault, which in faults:
        for _ in range(looks):
            world.snapshot()
        pods = sorted(world.pods.values(), key=lambda p: p.name)
        pod = pods[which % len(pods)] if pods else None
        match fault:
            case "crash":
                world.crash_at = which
            case "away":
                for _ in range(12):
                    world.pass_time()
                world.memory = None
            case "kill" if pod:
                pod.switch.kill("by hand")
            case "breaker" if pod and pod.switch.mode is Mode.ON:
                pod.switch.trip(Reason.BREAKER, "by itself")
            case "restart" if pod:
                world.born += 1
                pod.switch = type(pod.switch)(incarnation=f"life-{world.born}", domains=("d",) * 4)
                pod.series, pod.admitted_baseline, pod.admitted_reuse, pod.recent = {}, 0, 0, [0] * 9
            case "unreachable" if pod:
                pod.reachable = False
            case "reachable":
                for p in pods:
                    p.reachable = True
            case "alert-old":
                old = FallbackStatus(cause="Alert", since=datetime(2026, 1, 1, tzinfo=UTC), revision="old")
                if world.status.fallback is None:
                    world.write(replace(world.status, fallback=old))
            case "pause":
                world.spec = spec(paused=True)
            case "go":
                world.spec = spec()
            case "cut":
                world.cut_off = True
            case "uncut":
                world.cut_off = False
            case "drift":
                world.recall = bad
            case "busy" if pod:
                pod.busy = True
            case "idle":
                for p in pods:
                    world.end_prefill(p)
    world.cut_off, world.spec = False, spec()
    for p in world.pods.values():
        p.reachable = True
        world.end_prefill(p)
    world.until(Phase.PROMOTED, Phase.FELL_BACK, looks=3000)  # a try may be held on the way
    if world.status.phase is Phase.PROMOTED and world.recall is bad:
        world.until(Phase.FELL_BACK)
    assert world.failed_requests == 0
    assert world.strays == 0
    assert world.backends == world.original
    if world.status.phase is Phase.FELL_BACK:
        world.failed_requests = 0
        admitted = world.reuse_admitted
        for _ in range(10):
            world.snapshot(safe)
        assert world.reuse_admitted == admitted
        assert world.modes() == {Mode.OFF}


@pytest.mark.parametrize("end", [Phase.PROMOTED, Phase.FELL_BACK])
def test_a_crash_in_every_second_look_only_slows_things_down(end: Phase) -> None:
    world = World(recall=good) if end is Phase.PROMOTED else turned(World())
    for snapshot in range(600):
        if snapshot % 2:
            world.crash_at = snapshot % 5
        world.snapshot(safe)
        if world.status.phase is end:
            break
    assert world.status.phase is end
