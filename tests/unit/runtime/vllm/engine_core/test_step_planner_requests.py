"""Tests how requests are counted, and which opted out, are probes, or are prefilled again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import InFlight, Mode
from indexcache_core.probe_ids import probe_request_id
from indexcache_runtime.access import Credentials
from indexcache_runtime.vllm.carried import PLAN
from indexcache_runtime.vllm.engine_core.probe_requests import ProbeRequests

from tests.unit.runtime.vllm.engine_core.step_world import ONE, Core, K

OUT = SimpleNamespace(extra_args={"indexcache": "off"})


def test_a_request_that_opted_out_has_its_steps_run_all_full() -> None:
    core = Core()
    core.step(new={"out": {"sampling_params": OUT}, "r": {}})
    core.step({"r": 1})
    core.step({"r": 1, "out": 1})
    steps, requests = core.seen.steps, core.seen.requests
    assert (steps.reuse, steps.reuse_all_full) == (1, 2)
    assert (requests.admitted_reuse, requests.admitted_baseline, requests.opted_out) == (1, 1, 1)
    assert (requests.running_reuse, requests.running_baseline) == (1, 1)


def test_requests_are_counted_when_they_come_by_the_mode_and_their_prompt() -> None:
    core = Core(Mode.SHADOW)
    core.step(new={"a": {"num_prompt_tokens": 4 * K + 1}})
    core.put(Mode.ON)
    core.step({"a": 1, "b": 1}, new={"b": {"num_prompt_tokens": K}})
    requests = core.seen.requests
    assert (requests.admitted_baseline, requests.admitted_reuse, requests.touched_by_reuse) == (1, 1, 2)
    assert requests.contexts == (1, 0, 0, 1, 0, 0, 0, 0, 0)
    assert requests.running_reuse == 2
    core.step({"b": 1}, finished=["a"])
    assert (core.seen.requests.finished, core.seen.requests.running_reuse) == (1, 1)


def test_recent_requests_are_known_by_their_prompt_and_whether_they_decode() -> None:
    core = Core(Mode.SHADOW)
    core.step(new={"a": {"max_tokens": 2}, "b": {"max_tokens": 1}}, finished=[])
    core.step({"c": 1}, new={"c": {"num_prompt_tokens": 4 * K, "max_tokens": 1}})
    requests = core.seen.requests
    long, short = context_bucket(1000, K), context_bucket(4 * K, K)
    assert [i for i, weight in enumerate(requests.recent) if weight] == [short, long]
    assert requests.recent[short] == 1.0
    assert 1.9 < requests.recent[long] < 2.0
    assert [i for i, weight in enumerate(requests.recent_decoding) if weight] == [long]
    assert 0.9 < requests.recent_decoding[long] < 1.0


def test_a_probe_by_the_token_before_the_last_change_is_known(tmp_path: Path) -> None:
    core, file = Core(), tmp_path / "token"
    file.write_text("before")
    credentials = Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(file)})
    core.steps.probes = ProbeRequests(credentials, K)
    file.write_text("another")
    credentials.refresh()
    core.step(new={probe_request_id("before", "n"): {}, probe_request_id("another", "n"): {}})
    assert core.seen.requests.probes == 2


def test_a_request_with_the_name_of_one_that_ended_keeps_its_opt_out() -> None:
    """vLLM tells of the end of the first in the step that the second is new in."""
    core = Core(Mode.ON)
    core.step(new=ONE)
    (name,) = ONE
    params = SimpleNamespace(extra_args={"indexcache": "off"})
    core.step(new={name: {"sampling_params": params}}, finished=[name])
    assert (core.seen.requests.opted_out, core.seen.requests.finished) == (1, 1)
    before = core.seen.steps.reuse_all_full
    core.step({name: 1})
    assert core.seen.steps.reuse_all_full == before + 1


def test_a_request_with_the_name_of_one_that_ended_is_touched_by_reuse_again() -> None:
    core = Core(Mode.ON)
    core.step(new=ONE)
    (name,) = ONE
    core.step(new=ONE, finished=[name])
    assert name in core.steps._reused
    assert (core.seen.requests.finished, core.seen.requests.running_reuse) == (1, 1)


def test_a_probe_is_no_users_request() -> None:
    core = Core(Mode.SHADOW, sample_rows=64)
    name = probe_request_id("token", "n")
    output = core.step({name: 200, "r": 20}, new={name: {}, "r": {}})
    assert (core.seen.requests.probes, core.seen.requests.admitted_baseline) == (1, 1)
    assert {row.request for row in getattr(output, PLAN).rows} == {"r"}
    forged = Core(Mode.SHADOW)
    forged.step(new={probe_request_id("other", "n"): {}})
    assert forged.seen.requests.probes == 0


def test_hits_of_the_prefix_cache_are_counted_by_who_computed_them() -> None:
    core = Core()
    core.steps.record_hits("r", 0)
    core.steps.record_hits("r", 1)
    core.steps.record_hits("r", 40)
    core.steps.record_hits("other", 40)
    core.steps.record_hits("r", 40)
    assert (core.seen.cache.baseline_hits, core.seen.cache.reuse_hits) == (1 + 30 + 40 + 30, 20)
    assert core.hits == [("r", 0), ("r", 1), ("r", 40), ("other", 40), ("r", 40)]


RECOMPUTE: dict[str, Any] = {"in_flight": InFlight.RECOMPUTE}


@pytest.mark.parametrize(
    ("flags", "after", "recomputed"),
    [
        (RECOMPUTE, Mode.OFF, ["a"]),
        (RECOMPUTE, Mode.SHADOW, ["a"]),
        (RECOMPUTE, Mode.ON, []),
        ({}, Mode.OFF, []),
    ],
)
def test_where_reuse_ends_what_it_touched_is_prefilled_again_if_so_asked(
    flags: dict[str, Any], after: Any, recomputed: list[str]
) -> None:
    core = Core(Mode.ON, **flags)
    core.step(new={"a": {}, "gone": {}})
    core.step({"a": 1}, finished=["gone"])
    core.put(after, **flags, min_context_tokens=1)
    core.step({"b": 1}, new={"b": {}})
    core.step({"b": 1})
    assert core.preempted == recomputed
    assert core.seen.cache.recomputed_requests == len(recomputed)


def test_what_was_prefilled_again_is_touched_no_more() -> None:
    core = Core(Mode.ON, **RECOMPUTE)
    core.step(new=ONE)
    core.put(Mode.OFF)
    core.step({"r": 1})
    core.put(Mode.ON, **RECOMPUTE)
    core.step({})
    core.put(Mode.OFF)
    core.step({"r": 1})
    assert core.preempted == ["r"]


def test_what_shadow_computed_is_never_prefilled_again() -> None:
    core = Core(Mode.SHADOW, **RECOMPUTE)
    core.step(new=ONE)
    core.put(Mode.OFF)
    core.step({"r": 1})
    assert core.preempted == []


def test_what_waits_when_reuse_ends_is_prefilled_again_when_it_ends_the_next_time() -> None:
    core = Core(Mode.ON, **RECOMPUTE)
    core.step(new={"a": {}, "b": {}})
    waiting = core.running.pop()
    core.put(Mode.OFF)
    core.step({"a": 1})
    assert core.preempted == ["a"]
    core.running = [core.requests["a"], waiting]
    core.put(Mode.ON, **RECOMPUTE)
    core.step({})
    core.put(Mode.OFF)
    core.step({"a": 1})
    assert core.preempted == ["a", "b"]
