"""Tests what a switch refuses, under which code and field, and that it stays as it was."""

from typing import Any

import pytest
from indexcache_core.contract import Breaker, Desired, Flags, Identity, Indexer, Mode, Reason, Thresholds
from indexcache_runtime.control.switch import CallRefused, Switch, refuse

from tests.unit.runtime.control.switches import FITTING, ME, desired, switch


def refusal(s: Switch, d: Desired, now: float = 0.0) -> tuple[str, str]:
    before = (s.epoch, s.mode, s.accepted, s.permit_until, s.series_number)
    with pytest.raises(CallRefused) as e:
        s.put(d, now)
    assert (s.epoch, s.mode, s.accepted, s.permit_until, s.series_number) == before
    return e.value.refused.code, e.value.refused.field


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


def asking(indexer: Indexer) -> Desired:
    return desired(flags=Flags(mode=Mode.SHADOW, pattern=FITTING, indexer=indexer))


@pytest.mark.parametrize("indexer", Indexer)
def test_an_engine_chooses_by_any_indexer_that_it_has(indexer: Indexer) -> None:
    s = switch(indexers=tuple(Indexer))
    s.put(asking(indexer), now=0.0)
    assert s.flags.indexer is indexer


@pytest.mark.parametrize(
    ("has", "asked", "said"),
    [
        ((Indexer.NATIVE,), Indexer.FAST, "Fast; this engine has Native"),
        ((Indexer.FAST, Indexer.FAST), Indexer.NATIVE, "Native; this engine has Fast, Fast"),
    ],
)
def test_an_indexer_that_the_engine_lacks_is_refused_with_those_it_has(
    has: tuple[Indexer, ...], asked: Indexer, said: str
) -> None:
    s = switch(indexers=has)
    assert refusal(s, asking(asked)) == ("DoesNotFit", "flags.indexer")
    with pytest.raises(CallRefused, match=f": {said}$"):
        s.put(asking(asked), now=0.0)


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


def test_an_engine_that_gave_up_says_why_and_is_only_ever_off() -> None:
    s = switch()
    s.put(desired(), 0.0)
    for message in ("one", "two"):
        s.give_up(message)
        assert (s.mode, s.reason, s.message) == (Mode.TRIPPED, Reason.INTERNAL_ERROR, message)
    assert s.state(0.0).reasons == ("one", "two")
    assert refusal(s, desired(2))[0] == "Unsupported"
