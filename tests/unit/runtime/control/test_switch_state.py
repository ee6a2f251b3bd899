"""Tests what a switch says of itself, at the time that it is asked for."""

from indexcache_core.contract import Flags, Identity, Mode, Reason, State, Thresholds

from tests.unit.runtime.control.switches import ME, desired, switch


def test_a_new_switch_says_that_nothing_was_asked() -> None:
    s = switch()
    assert s.state(0.0) == State(supported=True, incarnation=ME)
    assert (s.flags, s.identity, s.thresholds, s.pattern) == (Flags(), Identity(), Thresholds(), None)


def test_its_state_is_what_was_accepted() -> None:
    s = switch()
    asked = desired(3, identity=Identity(rollout="glm5"), thresholds=Thresholds(recall=0.4))
    s.put(asked, now=100.0)
    assert s.state(104.0) == State(
        supported=True,
        incarnation=ME,
        epoch=3,
        mode=Mode.ON,
        reason=Reason.REQUESTED,
        desired=asked.flags,
        identity=asked.identity,
        thresholds=asked.thresholds,
        permit_remaining_seconds=6.0,
        series_number=1,
    )
    assert s.flags == asked.flags


def test_a_state_is_that_of_the_time_it_is_asked_for() -> None:
    s = switch()
    s.put(desired(3), now=0.0)
    state = s.state(12.5)
    assert (state.mode, state.reason, state.permit_remaining_seconds) == (
        Mode.TRIPPED,
        Reason.PERMIT_LAPSED,
        None,
    )
    assert state.message == "epoch 3: the permit ended 2.5 s before it was noticed; PUT a newer epoch"


def test_an_unsupported_engine_says_why() -> None:
    state = switch(unsupported=("a", "b")).state(0.0)
    assert (state.supported, state.reasons) == (False, ("a", "b"))
