"""Tests how both sides of a pair of probes are computed, in shadow and under reuse, and what is told."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from indexcache_core import bounds
from indexcache_core.contract import Indexer, Mode
from indexcache_core.probe_ids import ProbeRun, Side, probe_request_id, sided
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.behaviour import Behaviour, taint_class
from indexcache_runtime.vllm.carried import PLAN
from indexcache_runtime.vllm.engine_core.probe_requests import ProbeRequests, apart_class
from indexcache_runtime.vllm.engine_core.step_planner import WANTED

from tests.unit.runtime.vllm.engine_core.step_world import Core, K

FULL, REUSE = (f"cmpl-{probe_request_id('token', 'n', side)}-0-ab" for side in (Side.FULL, Side.REUSE))
PLAIN = probe_request_id("token", "n")


def runs(core: Core) -> dict[str, tuple[int, int]]:
    return {run.name: (run.rows, run.reused) for run in core.seen.probe_runs}


def plan(output: Any) -> Any:
    return getattr(output, PLAN, None)


def test_in_shadow_a_probe_alone_runs_under_reuse_and_nothing_is_measured() -> None:
    core = Core(Mode.SHADOW, sample_rows=64)
    output = core.step({REUSE: 200}, new={REUSE: {}})
    assert (plan(output).mode, plan(output).pattern, plan(output).apart) == (Mode.ON, "FSFS", True)
    assert not plan(output).rows
    assert not hasattr(output, WANTED)
    assert core.seen.steps.reuse_apart == 1
    assert (core.seen.steps.full, core.seen.steps.reuse) == (0, 0)
    assert runs(core) == {sided("n", Side.REUSE): (200, 200)}
    assert core.probes is not None
    assert core.tainted[-1] is None  # users' blocks are the baseline's


@pytest.mark.parametrize("beside", ["user", PLAIN, FULL])
def test_in_shadow_a_probe_beside_anybody_else_runs_all_full(beside: str) -> None:
    core = Core(Mode.SHADOW)
    output = core.step({REUSE: 200, beside: 1}, new={REUSE: {}, beside: {}})
    assert plan(output) is None
    assert runs(core)[sided("n", Side.REUSE)] == (200, 0)
    core.step({REUSE: 100})
    assert runs(core)[sided("n", Side.REUSE)] == (300, 100)


def test_two_probes_of_that_side_may_share_a_step() -> None:
    core, other = Core(Mode.SHADOW), probe_request_id("token", "m", Side.REUSE)
    assert plan(core.step(new={REUSE: {}, other: {}})).apart


@pytest.mark.parametrize("name", ["user", PLAIN, FULL, probe_request_id("another", "n", Side.REUSE)])
def test_in_shadow_nobody_else_ever_runs_under_reuse(name: str) -> None:
    core = Core(Mode.SHADOW)
    assert plan(core.step(new={name: {}})) is None


def test_under_a_pattern_without_shared_sites_or_under_the_floor_a_probe_runs_all_full() -> None:
    core = Core(Mode.SHADOW, pattern="FFFF")
    assert plan(core.step(new={REUSE: {}})) is None
    assert core.probes is None
    core = Core(Mode.SHADOW, min_context_tokens=1001)
    assert plan(core.step(new={REUSE: {}})) is None
    assert runs(core) == {sided("n", Side.REUSE): (0, 0)}


def test_just_at_the_floor_a_probe_runs_under_reuse() -> None:
    core = Core(Mode.SHADOW, min_context_tokens=1000)
    assert plan(core.step(new={REUSE: {}})).apart
    assert runs(core) == {sided("n", Side.REUSE): (10, 10)}


def test_who_was_a_probe_when_first_asked_stays_one_though_tokens_change() -> None:
    token = SimpleNamespace(tokens=("token",))
    probes = ProbeRequests(cast(Credentials, token), K)
    request = SimpleNamespace(request_id=REUSE)
    assert probes.side(request) is Side.REUSE
    token.tokens = ("another",)
    assert probes.side(request) is Side.REUSE
    assert probes.side(SimpleNamespace(request_id=REUSE)) is None


@pytest.mark.parametrize(
    ("name", "is_exempt"),
    [("user", False), ("user-icoff", True), (PLAIN, True), (FULL, True), (REUSE, True)],
)
def test_how_far_reuse_reaches_is_nothing_to_probes_and_to_who_opted_out(name: str, is_exempt: bool) -> None:
    probes = ProbeRequests(cast(Credentials, SimpleNamespace(tokens=("token",))), K)
    assert probes.exempt(SimpleNamespace(request_id=name, sampling_params=None)) is is_exempt


def test_what_probes_apart_compute_has_a_class_for_each_behaviour() -> None:
    shadow = Behaviour(Mode.SHADOW, "FSFS", 0, 0, 1)
    others = (
        replace(shadow, pattern="FSSS"),
        replace(shadow, min_context_tokens=9),
        replace(shadow, indexer=Indexer.FAST),
    )
    classes = {apart_class(behaviour) for behaviour in (shadow, *others)}
    assert len(classes) == 4
    assert apart_class(shadow) == "probe-" + taint_class("FSFS", 0, Indexer.NATIVE)
    assert apart_class(replace(shadow, mode=Mode.ON)) is None


@pytest.mark.parametrize("mode", [Mode.OFF, "killed"])
def test_at_the_baseline_a_probe_runs_all_full_and_that_is_told(mode: Any) -> None:
    core = Core(Mode.SHADOW if mode == "killed" else mode)
    if mode == "killed":
        core.control.kill_now()
    assert plan(core.step(new={REUSE: {}})) is None
    assert runs(core) == {sided("n", Side.REUSE): (10, 0)}


def test_in_mode_on_the_full_side_runs_all_full_and_the_other_as_users_do() -> None:
    core = Core(Mode.ON)
    assert plan(core.step(new={FULL: {}, "user": {}})) is None
    assert not plan(core.step({"user": 1, REUSE: 20}, new={REUSE: {}})).apart
    assert runs(core) == {sided("n", Side.FULL): (10, 0), sided("n", Side.REUSE): (20, 20)}
    requests = core.seen.requests
    assert (requests.probes, requests.opted_out, requests.admitted_reuse) == (2, 0, 1)
    assert FULL not in core.steps._reused


def test_beside_a_request_that_opted_out_a_probe_is_no_longer_all_under_reuse() -> None:
    core = Core(Mode.ON)
    core.step({REUSE: 100}, new={REUSE: {}})
    core.step({REUSE: 100, "x-icoff": 1}, new={"x-icoff": {}})
    assert runs(core) == {sided("n", Side.REUSE): (200, 100)}


def test_rows_that_choose_all_tokens_are_none() -> None:
    core = Core(Mode.ON)
    core.step({REUSE: K + 5}, new={REUSE: {"num_computed_tokens": K + 5}})
    assert runs(core) == {sided("n", Side.REUSE): (5, 5)}


def test_the_requests_of_one_side_are_counted_together() -> None:
    core = Core(Mode.ON)
    second = REUSE + "cd"
    core.step({REUSE: 100}, new={REUSE: {}})
    core.step({second: 3}, new={second: {}}, finished=[REUSE])
    assert runs(core) == {sided("n", Side.REUSE): (103, 103)}


def test_the_last_sides_are_told_and_no_more_than_may_travel() -> None:
    core = Core(Mode.ON)
    assert core.seen.probe_runs == ()
    names = [f"{i:02}" for i in range(bounds.PROBE_RUNS + 3)]
    for nonce in [*names, "x" * 100]:
        core.step(new={probe_request_id("token", nonce, Side.REUSE): {}})
    told = core.seen.probe_runs
    assert len(told) == bounds.PROBE_RUNS
    assert told[0] == ProbeRun(name=sided("04", Side.REUSE), rows=10, reused=10)
    assert len(told[-1].name) == bounds.PROBE_NAME


def test_a_probe_of_no_side_is_computed_as_users_are_and_not_told_of() -> None:
    core = Core(Mode.ON)
    assert plan(core.step(new={PLAIN: {}})).mode is Mode.ON
    assert core.seen.probe_runs == ()
