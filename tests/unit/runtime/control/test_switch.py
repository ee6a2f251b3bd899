"""The state machine: epochs, permits, kills; against a clock of the test's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Breaker, Desired, Flags, Identity, Mode, Reason, State, Thresholds
from indexcache_runtime.control.switch import CallRefused, Switch, refuse

ME = "incarnation-1"
FITTING = "FSFS"


def switch(**kwargs: Any) -> Switch:
    return Switch(ME, ("tokens",) * 4, **kwargs)


def desired(epoch: int = 1, mode: Mode = Mode.ON, **kwargs: Any) -> Desired:
    fields: dict[str, Any] = {
        "incarnation": ME,
        "permit_seconds": 10.0,
        "flags": Flags(mode=mode, pattern=FITTING),
        **kwargs,
    }
    return Desired(epoch=epoch, **fields)


def refusal(s: Switch, d: Desired, now: float = 0.0) -> tuple[str, str]:
    before = (s.epoch, s.mode, s.accepted, s.permit_until, s.series_number)
    with pytest.raises(CallRefused) as e:
        s.put(d, now)
    assert (s.epoch, s.mode, s.accepted, s.permit_until, s.series_number) == before
    return e.value.refused.code, e.value.refused.field


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


def test_fences() -> None:
    s = switch()
    s.put(desired(5), now=0.0)
    assert refusal(s, desired(6, incarnation="other")) == ("OtherIncarnation", "incarnation")
    assert refusal(s, desired(4)) == ("OldEpoch", "epoch")
    assert refusal(s, desired(5, mode=Mode.OFF)) == ("EpochConflict", "epoch")
    assert refusal(s, desired(5, permit_seconds=11.0)) == ("EpochConflict", "epoch")
    assert refusal(s, desired(5, identity=Identity(uid="other"))) == ("EpochConflict", "epoch")


def test_what_does_not_fit() -> None:
    s = Switch(ME, ("a", "a", "b", "b"))
    flags: dict[str, Any] = {"mode": Mode.SHADOW}
    assert refusal(s, desired(flags=Flags(pattern="FS", **flags))) == ("DoesNotFit", "flags.pattern")
    assert refusal(s, desired(flags=Flags(pattern="FSSF", **flags))) == ("DoesNotFit", "flags.pattern")
    assert refusal(s, desired(flags=Flags(pattern="FSFS", protected=(4,), **flags))) == (
        "DoesNotFit",
        "flags.protected",
    )
    assert refusal(s, desired(flags=Flags(pattern=None, **flags))) == ("Invalid", "flags.pattern")
    assert refusal(s, desired(permit_seconds=None, flags=Flags(mode=Mode.ON, pattern="FSFS"))) == (
        "Invalid",
        "permit_seconds",
    )
    s.put(desired(flags=Flags(pattern="FSSS", protected=(2,), **flags)), now=0.0)
    assert s.pattern == "FSFS"


def test_an_unsupported_engine_is_only_ever_off() -> None:
    s = switch(unsupported=("vllm: version 0.1",))
    assert refusal(s, desired(mode=Mode.SHADOW)) == ("Unsupported", "flags.mode")
    s.put(desired(mode=Mode.OFF), now=0.0)
    assert s.mode is Mode.OFF


def test_a_series_begins_where_what_is_measured_changes() -> None:
    s = switch()
    s.put(desired(1, mode=Mode.SHADOW), now=0.0)
    s.put(desired(2, mode=Mode.ON), now=0.0)
    s.put(desired(3, flags=Flags(mode=Mode.ON, pattern=FITTING, sample_rows=1)), now=0.0)
    s.put(desired(4, mode=Mode.OFF), now=0.0)
    assert s.series_number == 1
    s.put(desired(5, flags=Flags(mode=Mode.ON, pattern="FFFS")), now=0.0)
    assert s.series_number == 2
    s.put(desired(6, flags=Flags(mode=Mode.ON, pattern="FFFS", protected=(3,))), now=0.0)
    assert s.series_number == 3


def test_a_try_after_off_starts_a_series_of_its_own() -> None:
    s = switch()
    s.put(desired(1, mode=Mode.SHADOW), now=0.0)
    s.kill("by hand")
    s.put(desired(2, mode=Mode.OFF), now=0.0)
    s.put(desired(3, mode=Mode.SHADOW), now=0.0)
    assert s.series_number == 2


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


# ------------------------------------------------------------------------------- what a switch says of itself


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


REFUSALS: list[tuple[Desired, str, str, list[str]]] = [
    (desired(6, incarnation="other"), "OtherIncarnation", "incarnation", ["'other'", repr(ME)]),
    (desired(4), "OldEpoch", "epoch", ["4; epoch 5 was accepted"]),
    (desired(5, permit_seconds=1.0), "EpochConflict", "epoch", ["5 was accepted with other content"]),
    (desired(6, flags=Flags(mode=Mode.SHADOW)), "Invalid", "flags.pattern", ["mode shadow needs a pattern"]),
    (
        desired(6, flags=Flags(mode=Mode.ON, pattern="FS")),
        "DoesNotFit",
        "flags.pattern",
        ["2 letters, the model has 4"],
    ),
    (
        desired(6, flags=Flags(mode=Mode.ON, pattern=FITTING, protected=(7,))),
        "DoesNotFit",
        "flags.protected",
        ["protected: [7]"],
    ),
    (
        desired(6, flags=Flags(mode=Mode.ON, pattern="FS", protected=(7,))),
        "DoesNotFit",
        "flags.pattern",
        ["2 letters", "; protected: [7]"],
    ),
    (desired(6, permit_seconds=None), "Invalid", "permit_seconds", ["permit"]),
]


@pytest.mark.parametrize(("asked", "code", "field", "words"), REFUSALS)
def test_a_refusal_names_field_and_finding(asked: Desired, code: str, field: str, words: list[str]) -> None:
    s = switch()
    s.put(desired(5), now=0.0)
    with pytest.raises(CallRefused) as e:
        s.put(asked, now=0.0)
    refused = e.value.refused
    assert (refused.code, refused.field) == (code, field)
    assert all(word in refused.message for word in words)
    assert str(e.value) == f"{code}: {refused.message}"


def test_an_unsupported_engine_refuses_with_its_reasons() -> None:
    with pytest.raises(CallRefused) as e:
        switch(unsupported=("too old", "no indexers")).put(desired(), now=0.0)
    assert (e.value.refused.code, e.value.refused.message) == ("Unsupported", "too old; no indexers")


def test_a_refusal_needs_no_field() -> None:
    assert refuse("NotFound", "no such path").refused.field == ""


def guarded(**thresholds: float) -> Desired:
    breaker = Breaker(alpha=0.01, guardrails=("overlap", "recall_per_indexer"))
    return desired(
        thresholds=Thresholds(**{"overlap": 0.3, "recall_per_indexer": 0.3, **thresholds}), breaker=breaker
    )


@pytest.mark.parametrize(
    ("thresholds", "field", "said"),
    [
        ({"overlap": None}, "thresholds.overlap", "missing; the breaker judges overlap"),
        (
            {"recall_per_indexer": None},
            "thresholds.recall_per_indexer",
            "missing; the breaker judges recall_per_indexer",
        ),
        ({"overlap": 0.0}, "thresholds.overlap", "0; the breaker"),
        ({"overlap": 1.0}, "thresholds.overlap", "1; the breaker"),
        ({"overlap": 1.25}, "thresholds.overlap", "1.25; the breaker"),
        ({"recall": None}, None, ""),
    ],
)
def test_what_a_breaker_judges_has_a_threshold(
    thresholds: dict[str, Any], field: str | None, said: str
) -> None:
    s = switch()
    if field is None:
        s.put(guarded(**thresholds), now=0.0)
        assert s.mode is Mode.ON
        return
    with pytest.raises(CallRefused) as e:
        s.put(guarded(**thresholds), now=0.0)
    assert (e.value.refused.code, e.value.refused.field) == ("Invalid", field)
    assert e.value.refused.message.startswith(said)
    s.put(guarded(**thresholds).model_copy(update={"flags": Flags()}), now=0.0)  # off needs none
    assert s.mode is Mode.OFF


def test_a_pattern_that_protection_alone_changes_is_measured_anew() -> None:
    s = switch()
    s.put(desired(1, flags=Flags(mode=Mode.SHADOW, pattern="FSFS", protected=(0,))), now=0.0)
    s.put(desired(2, flags=Flags(mode=Mode.SHADOW, pattern="FSFS", protected=(2,))), now=0.0)
    assert (s.pattern, s.series_number) == ("FSFS", 2)


def test_off_before_anything_was_measured_begins_no_series() -> None:
    s = switch()
    s.put(desired(1, mode=Mode.OFF), now=0.0)
    assert s.series_number == 0
    s.put(desired(2, mode=Mode.SHADOW), now=0.0)
    assert s.series_number == 1


def test_another_pattern_is_measured_anew_without_an_off_between() -> None:
    s = switch()
    s.put(desired(1, flags=Flags(mode=Mode.SHADOW, pattern="FSFS")), now=0.0)
    s.put(desired(2, flags=Flags(mode=Mode.SHADOW, pattern="FFFS")), now=0.0)
    assert s.series_number == 2
    s.put(desired(3, flags=Flags(mode=Mode.ON, pattern="FFFS")), now=0.0)
    assert s.series_number == 2


def test_an_engine_that_gave_up_says_why_and_is_only_ever_off() -> None:
    s = switch()
    s.put(desired(), 0.0)
    for message in ("one", "two"):
        s.give_up(message)
        assert (s.mode, s.reason, s.message) == (Mode.TRIPPED, Reason.INTERNAL_ERROR, message)
    assert s.state(0.0).reasons == ("one", "two")
    assert refusal(s, desired(2))[0] == "Unsupported"
