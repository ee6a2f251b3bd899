"""The breaker in an engine's control: when it acts, what it says, and when its evidence begins anew."""

import pytest
from indexcache_core.contract import Breaker, Desired, Flags, Mode, Reason, Site, State, Thresholds
from indexcache_runtime.control.behaviour import BASELINE
from indexcache_runtime.control.breaker_control import BreakerControl
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.switch import CallRefused
from indexcache_runtime.engine import Capabilities, Measured, Row, StepPlan
from indexcache_runtime.measuring.breaker import LOOK_SECONDS

SITES = tuple(Site(index=i, layer=i, domain="tokens", k=64) for i in range(4))
BREAKER = Breaker(alpha=0.01, guardrails=("recall_per_indexer",))
THRESHOLDS = Thresholds(recall_per_indexer=0.5)


class Engine:
    """A control, a clock, and steps that measure what they are told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.control = EngineControl(Capabilities("m", SITES), clock=lambda: self.now)
        self.epoch = 0

    def put(
        self,
        mode: Mode,
        breaker: Breaker | None = BREAKER,
        thresholds: Thresholds = THRESHOLDS,
        pattern: str | None = "FSFS",
    ) -> State:
        self.epoch += 1
        return self.control.put(
            Desired(
                incarnation=self.control.incarnation,
                epoch=self.epoch,
                permit_seconds=1e5,
                flags=Flags(mode=mode, pattern=pattern),
                thresholds=thresholds,
                breaker=breaker,
            )
        )

    def step(self, recall: float, seconds: float = LOOK_SECONDS) -> Mode:
        """Run one step in which four requests begin and are measured, under the mode it was given; they end
        with it. Returns that mode."""
        behaviour = self.control.behaviour()
        if behaviour.mode is not Mode.OFF:
            plan = StepPlan(
                behaviour.mode, "FSFS", behaviour.series, tuple(Row(f"r{i}", 200) for i in range(4))
            )
            values = [recall] * 4
            self.control.measured(plan, Measured({1: values, 3: values}, {1: values, 3: values}))
            self.control.requests_ended(row.request for row in plan.rows)
        self.now += seconds
        return behaviour.mode


def steps_until_tripped(engine: Engine, recall: float, most: int = 200) -> int | None:
    for i in range(most):
        engine.step(recall)
        if engine.control.behaviour() is BASELINE:
            return i + 1
    return None


def test_it_trips_by_itself_and_says_why() -> None:
    e = Engine()
    e.put(Mode.ON)
    found = steps_until_tripped(e, 0.1)
    assert found is not None
    assert found <= 7  # looks, each of four requests
    state = e.control.state()
    assert (state.mode, state.reason, state.permit_remaining_seconds) == (Mode.TRIPPED, Reason.BREAKER, None)
    assert state.message.startswith(
        "epoch 1: recall of indexer 1 (layer 1) at contexts of 129-256 tokens in prefill is 0.100 in the "
        "mean over "
    )
    assert "PUT a newer epoch" in state.message
    (shown,) = state.breaker
    assert shown.log_e >= shown.log_limit


def test_its_approach_is_in_the_state() -> None:
    e = Engine()
    e.put(Mode.ON)
    seen = []
    while e.control.behaviour() is not BASELINE:
        e.step(0.1)
        seen.append(e.control.state().breaker[0])
    assert [b.log_e for b in seen[2:]] == sorted(b.log_e for b in seen[2:])
    assert seen[2].log_e > 0
    assert all(b.log_e < b.log_limit for b in seen[:-2])


def test_steps_of_one_request_are_no_evidence_of_many() -> None:
    """However many they are, and however bad: nothing is bet until it is booked, and that once."""
    e = Engine()
    e.put(Mode.ON)
    behaviour = e.control.behaviour()
    for position in range(200, 230):
        plan = StepPlan(behaviour.mode, "FSFS", behaviour.series, (Row("r", position),))
        e.control.measured(plan, Measured({1: [0.0], 3: [0.0]}, {1: [0.0], 3: [0.0]}))
        e.now += LOOK_SECONDS
        assert e.control.behaviour() is not BASELINE
    assert e.control.state().breaker[0].observations == 0
    e.control.requests_ended(["r"])
    e.now += LOOK_SECONDS
    assert e.control.behaviour() is not BASELINE
    assert e.control.state().breaker[0].observations == 1


def test_a_healthy_pattern_goes_on() -> None:
    e = Engine()
    e.put(Mode.ON)
    assert steps_until_tripped(e, 0.9) is None


def test_without_a_breaker_nothing_trips() -> None:
    e = Engine()
    e.put(Mode.ON, breaker=None)
    assert steps_until_tripped(e, 0.0) is None
    assert e.control.state().breaker == ()


def test_an_off_that_carries_a_breaker_asks_nothing_and_costs_the_engine_nothing() -> None:
    """Also before any series began: there is no time yet to count slots from."""
    e = Engine()
    state = e.put(Mode.OFF)
    assert (state.mode, state.supported, state.breaker) == (Mode.OFF, True, ())
    e.put(Mode.ON)
    assert steps_until_tripped(e, 0.1) is not None
    assert e.put(Mode.OFF).breaker == ()


def test_a_build_that_never_judges_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BreakerControl, "judge", lambda control, now: None)
    e = Engine()
    e.put(Mode.ON)
    assert steps_until_tripped(e, 0.0) is None


def test_what_shadow_measured_never_trips_it() -> None:
    e = Engine()
    e.put(Mode.SHADOW)
    for _ in range(20):
        assert e.step(0.0) is Mode.SHADOW
    e.put(Mode.ON)
    assert steps_until_tripped(e, 0.9) is None
    assert e.control.state().breaker[0].mean == pytest.approx(0.9, abs=0.02)
    assert steps_until_tripped(e, 0.0) is not None
    assert e.control.state().reason is Reason.BREAKER


def test_it_is_asked_a_few_times_a_second_at_most() -> None:
    e = Engine()
    e.put(Mode.ON)
    for _ in range(100):
        e.step(0.1, seconds=LOOK_SECONDS / 200)
    assert e.control.state().breaker[0].observations == 0  # the look before the first step, and none since
    e.now += LOOK_SECONDS
    assert e.step(0.1) is Mode.OFF


def test_the_same_pattern_trips_again_until_an_off() -> None:
    e = Engine()
    e.put(Mode.ON)
    steps_until_tripped(e, 0.1)
    e.put(Mode.ON)
    assert e.step(0.9) is Mode.OFF
    e.put(Mode.OFF, breaker=None, pattern=None)
    assert e.control.state().breaker == ()
    e.put(Mode.ON)
    assert steps_until_tripped(e, 0.9) is None


def test_another_question_is_asked_of_all_that_the_series_measured() -> None:
    e = Engine()
    e.put(Mode.ON, thresholds=Thresholds(recall_per_indexer=0.2))
    for _ in range(20):
        assert e.step(0.3) is Mode.ON
    e.put(Mode.ON, thresholds=Thresholds(recall_per_indexer=0.8))
    assert e.step(0.3) is Mode.OFF
    assert e.control.state().breaker[0].observations >= 80


def test_a_renewal_forgets_nothing() -> None:
    e = Engine()
    e.put(Mode.ON)
    for _ in range(3):
        e.step(0.1)
    before = e.control.state().breaker
    e.epoch -= 1
    e.put(Mode.ON)
    assert e.control.state().breaker == before


def test_a_restarted_engine_knows_nothing_of_its_last_life() -> None:
    first, second = Engine(), Engine()
    first.put(Mode.ON)
    steps_until_tripped(first, 0.1)
    second.put(Mode.ON)
    assert second.step(0.9) is Mode.ON
    assert steps_until_tripped(second, 0.9) is None


@pytest.mark.parametrize("threshold", [None, 0.0, 1.0])
def test_a_threshold_that_cannot_be_judged_is_refused(threshold: float | None) -> None:
    with pytest.raises(CallRefused) as e:
        Engine().put(Mode.SHADOW, thresholds=Thresholds(recall_per_indexer=threshold))
    assert (e.value.refused.code, e.value.refused.field) == ("Invalid", "thresholds.recall_per_indexer")
