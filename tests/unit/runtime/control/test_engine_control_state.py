"""Tests what of an engine's parts reaches who schedules its steps, and who reads its state."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import (
    Breaker,
    Desired,
    DeviceUse,
    Flags,
    InFlight,
    Mode,
    Reason,
    Site,
    StepTime,
    Thresholds,
)
from indexcache_runtime.control.behaviour import BASELINE, Behaviour, taint_class
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.engine import Capabilities, Measured, Parts, Row, StepPlan
from indexcache_runtime.measuring.timed_prefills import PREFILL_TOKENS

SITES = tuple(Site(index=i, layer=i, domain="tokens", k=64) for i in range(4))
CAPABLE = Capabilities("m", SITES)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def desired(c: EngineControl, mode: Mode, epoch: int = 1, **more: Any) -> Desired:
    """Return what puts an engine into a mode, with flags that differ from what flags begin with."""
    flags = {"pattern": "FSFS", "min_context_tokens": 70, "sample_rows": 3, "reach_tokens": 900}
    return Desired(
        incarnation=c.incarnation,
        epoch=epoch,
        permit_seconds=5.0,
        flags=Flags(mode=mode, in_flight=InFlight.RECOMPUTE, **{**flags, **more.pop("flags", {})}),
        **more,
    )


def test_it_tells_whose_engine_it_is() -> None:
    c = EngineControl(CAPABLE, engine_version="v", runtime_version="r", checkpoint="c")
    state = c.state()
    assert (state.engine_version, state.runtime_version, state.checkpoint) == ("v", "r", "c")
    assert (state.architecture, state.sites, c.sites) == ("m", SITES, SITES)
    state = EngineControl(CAPABLE).state()
    assert (state.engine_version, state.runtime_version, state.checkpoint) == ("", "", "")


@pytest.mark.parametrize(
    ("capabilities", "k", "reasons"),
    [
        (CAPABLE, 64, ()),
        (replace(CAPABLE, reasons=("too old",)), 64, ("too old",)),
        (Capabilities("m", reasons=("too old",)), 0, ("too old",)),
        (
            Capabilities("m"),
            0,
            ("model: no indexers found; reuse needs a model with DeepSeek Sparse Attention",),
        ),
    ],
)
def test_an_engine_is_supported_with_indexers_and_without_a_reason_against_it(
    capabilities: Capabilities, k: int, reasons: tuple[str, ...]
) -> None:
    c = EngineControl(capabilities)
    assert (c.k, c.state().reasons, c.state().supported) == (k, reasons, not reasons)


def test_before_anything_is_put_the_engine_is_at_the_baseline() -> None:
    assert EngineControl(CAPABLE).behaviour() is BASELINE


@pytest.mark.parametrize(("mode", "reach"), [(Mode.SHADOW, None), (Mode.ON, 900)])
def test_a_step_is_told_all_flags_and_the_reach_where_there_is_reuse(mode: Mode, reach: int | None) -> None:
    c = EngineControl(CAPABLE)
    c.put(desired(c, mode))
    assert c.behaviour() == Behaviour(
        mode=mode,
        pattern="FSFS",
        min_context_tokens=70,
        sample_rows=3,
        series=1,
        taint=taint_class("FSFS", 70, c.behaviour().indexer) if mode is Mode.ON else None,
        in_flight=InFlight.RECOMPUTE,
        reach_tokens=reach,
    )


def test_who_schedules_steps_is_told_which_are_graphed_and_whether_any_can_be_timed() -> None:
    c = EngineControl(replace(CAPABLE, graphed_tokens=PREFILL_TOKENS, timed=True, replayed_tokens=8))
    assert c.budget().graphed_tokens == PREFILL_TOKENS
    assert c.replayed_tokens == 8
    timed = c.timed_prefills()
    assert (timed.graphed_tokens, timed.timed) == (PREFILL_TOKENS, True)
    assert not EngineControl(CAPABLE).timed_prefills().timed


def test_how_long_a_step_ran_by_itself() -> None:
    clock = Clock()
    c = EngineControl(CAPABLE, clock=clock)
    c.started()
    clock.now = 0.5
    assert c.ended() == 0.5
    clock.now = 2.0
    c.started()
    clock.now = 3.0
    c.started()
    clock.now = 5.0
    assert c.ended() == 3.0
    clock.now = 6.0
    assert c.ended() == 1.0  # it waited for the one before
    clock.now = 9.0
    assert c.ended() == 0.0  # of a step that nobody said had started


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
def test_what_workers_tell_of_their_device(mode: Mode) -> None:
    c, use = EngineControl(CAPABLE), DeviceUse(graphs=7)
    plan = StepPlan(mode, "FSFS", 1)
    c.measured(plan, Measured(parts=Parts(indexer=1.0, attention=2.0, rest=3.0), device=use))
    state, took = c.state(), StepTime(steps=1, indexer_seconds=1.0, attention_seconds=2.0, rest_seconds=3.0)
    assert state.device == use
    expected = (StepTime(), took) if mode is Mode.ON else (took, StepTime())
    assert (state.prefill_full, state.prefill_reuse) == expected


def test_what_the_ledger_counts_is_told() -> None:
    c = EngineControl(CAPABLE)
    with c.ledger() as ledger:
        ledger.probe_log.add("a", 5, reused=True)
        ledger.full, ledger.baseline_hits, ledger.finished = 2, 3, 4
        told = ledger.requests(), ledger.steps(), ledger.cache(), ledger.probe_log.runs()
    state = c.state()
    assert (state.requests, state.steps, state.cache, state.probe_runs) == told
    assert (state.steps.full, state.cache.baseline_hits, state.requests.finished) == (2, 3, 4)
    assert [run.name for run in told[3]] == ["a"]


def test_a_breaker_is_asked_by_the_clock_and_names_the_indexer_and_its_layer() -> None:
    clock = Clock()
    c = EngineControl(CAPABLE, clock=clock)
    breaker = Breaker(alpha=0.01, guardrails=("recall_per_indexer",))
    asked = desired(c, Mode.ON, thresholds=Thresholds(recall_per_indexer=0.5), breaker=breaker)
    plan = StepPlan(Mode.ON, "FSFS", 1, tuple(Row(f"r{i}", 200) for i in range(32)))
    while c.put(asked).supported and c.behaviour().mode is Mode.ON:
        assert [test.guardrail for test in c.state().breaker] == ["recall_per_indexer"]
        assert clock.now < 100
        c.measured(plan, Measured(recall={1: [0.05] * 32}, overlap={1: [0.05] * 32}))
        c.requests_ended(row.request for row in plan.rows)
        clock.now += 2.0
    state = c.state()
    assert (state.supported, state.mode, state.reason) == (True, Mode.TRIPPED, Reason.BREAKER)
    assert "indexer 1 (layer 1)" in state.message


def test_until_its_reason_is_read_a_kill_says_that_it_was_not() -> None:
    c = EngineControl(CAPABLE)
    c.kill_now()
    assert c.state().message == "(no reason was read yet)"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ValueError("on purpose"), "ValueError: on purpose"),
        ("a worker said so", "a worker said so"),
        ("x" * 401, "x" * 400),
    ],
)
def test_a_failure_is_told_and_logged_with_its_traceback(
    error: BaseException | str, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    c = EngineControl(CAPABLE)
    c.fail("trying it", error)
    message = (
        f"internal error while trying it: {found}; the engine serves on without reuse, its log has the "
        "traceback: please report it"
    )
    assert c.state().message == message
    (logged,) = caplog.records
    assert logged.getMessage() == f"indexcache: {message}"
    of_error = (type(error), error, error.__traceback__) if isinstance(error, Exception) else None
    assert logged.exc_info == of_error
