"""The state machine: epochs, permits, kills; against a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Identity, Mode, Reason, Thresholds
from indexcache_runtime.control.switch import CallRefused

from tests.unit.runtime.control.switches import FITTING, desired, switch


def test_starts_off() -> None:
    s = switch()
    assert (s.mode, s.reason, s.epoch, s.remaining(0.0)) == (Mode.OFF, Reason.STARTED, 0, None)


def test_put_is_accepted() -> None:
    s = switch()
    s.put(desired(3, identity=Identity(rollout="glm5"), thresholds=Thresholds(recall=0.4)), now=100.0)
    assert (s.mode, s.reason, s.epoch, s.remaining(104.0)) == (Mode.ON, Reason.REQUESTED, 3, 6.0)
    assert (s.identity.rollout, s.thresholds.recall, s.pattern) == ("glm5", 0.4, FITTING)


def test_the_same_again_renews_the_permit() -> None:
    s = switch()
    s.put(desired(), now=0.0)
    s.put(desired(), now=9.0)
    s.advance(18.9)
    assert s.mode is Mode.ON
    s.advance(19.0)
    assert (s.mode, s.reason) == (Mode.TRIPPED, Reason.PERMIT_LAPSED)


def test_a_lapsed_permit_is_not_renewed_by_the_call_that_comes_too_late() -> None:
    s = switch()
    s.put(desired(), now=0.0)
    s.put(desired(), now=10.0)
    assert (s.mode, s.reason) == (Mode.TRIPPED, Reason.PERMIT_LAPSED)


def test_a_newer_epoch_leads_out_of_tripped() -> None:
    s = switch()
    s.put(desired(), now=0.0)
    s.kill("alert")
    assert (s.mode, s.reason, s.message, s.remaining(0.0)) == (Mode.TRIPPED, Reason.KILLED, "alert", None)
    s.put(desired(), now=1.0)
    assert s.mode is Mode.TRIPPED
    s.put(desired(2), now=1.0)
    assert (s.mode, s.reason, s.message) == (Mode.ON, Reason.REQUESTED, "")


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW, Mode.ON])
def test_kill_works_from_any_mode(mode: Mode) -> None:
    s = switch()
    s.put(desired(mode=mode), now=0.0)
    s.kill("")
    assert (s.mode, s.reason) == (Mode.TRIPPED, Reason.KILLED)


def test_kill_works_before_any_put_and_when_unsupported() -> None:
    s = switch(unsupported=("too old",))
    s.kill("")
    assert s.mode is Mode.TRIPPED


def test_a_kill_may_be_named_later_unless_something_else_has_happened() -> None:
    s = switch()
    first = s.kill("no reason yet")
    s.name_kill(first, "alert")
    assert s.message == "alert"
    second = s.kill("by hand")
    s.name_kill(first, "alert")
    assert s.message == "by hand"
    s.put(desired(), now=0.0)
    s.name_kill(second, "late")
    assert (s.mode, s.message) == (Mode.ON, "")
    s.advance(1e6)
    lapsed = s.message
    s.name_kill(second, "late")
    assert (s.reason, s.message) == (Reason.PERMIT_LAPSED, lapsed)


def test_a_permit_does_not_end_shadow() -> None:
    s = switch()
    s.put(desired(mode=Mode.SHADOW), now=0.0)
    s.advance(1e6)
    assert (s.mode, s.remaining(0.0)) == (Mode.SHADOW, None)


calls = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 4), st.sampled_from([Mode.OFF, Mode.SHADOW, Mode.ON])),
        st.tuples(st.just("kill"), st.just(0), st.just(Mode.OFF)),
        st.tuples(st.just("wait"), st.integers(0, 12), st.just(Mode.OFF)),
    ),
    max_size=30,
)


@given(calls)
def test_reuse_only_ever_runs_on_a_permit_of_the_newest_epoch(script: list[tuple[str, int, Mode]]) -> None:
    s, now, permitted_until, newest, dead = switch(), 0.0, -1.0, 0, set[int]()
    for call, number, mode in script:
        if call == "wait":
            now += number
        elif call == "kill":
            s.kill("")
            dead.add(s.epoch)
        else:
            try:
                s.put(desired(number, mode=mode), now)
            except CallRefused:
                continue
            assert number >= newest
            newest = number
            if s.mode is Mode.ON:
                permitted_until = now + 10.0
        s.advance(now)
        if s.mode is Mode.TRIPPED:
            dead.add(s.epoch)
        if s.mode is Mode.ON:
            assert now < permitted_until
            assert s.epoch == newest
            assert s.epoch not in dead


def test_a_permit_never_has_less_than_nothing_left() -> None:
    s = switch()
    s.put(desired(), now=0.0)
    assert (s.remaining(9.5), s.remaining(10.5)) == (0.5, 0.0)


def test_off_has_no_permit_even_if_one_is_given() -> None:
    for mode in (Mode.OFF, Mode.SHADOW):
        s = switch()
        s.put(desired(mode=mode), now=0.0)
        assert (s.permit_until, s.remaining(0.0)) == (None, None)


def test_flags_that_were_accepted_before_an_engine_tripped_stay_known() -> None:
    s = switch()
    s.put(desired(), now=0.0)
    s.trip(Reason.BREAKER, "recall is low")
    s.put(desired(), now=1.0)
    assert (s.mode, s.reason, s.message, s.remaining(1.0)) == (
        Mode.TRIPPED,
        Reason.BREAKER,
        "recall is low",
        None,
    )
    assert s.flags.pattern == FITTING


def test_without_flags_the_first_epoch_is_no_conflict() -> None:
    s = switch()
    s.epoch = 1  # as if restored, with nothing accepted
    s.put(desired(1), now=0.0)
    assert s.mode is Mode.ON
