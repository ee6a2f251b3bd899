"""Tests what the planner remembers: the keys under which it does, and that a new memory holds nothing."""

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime

import pytest
from indexcache_core.contract import Mode, Work
from indexcache_operator.plan.facts.memory import (
    Mark,
    Memory,
    SeriesKey,
    TestKey,
    TotalKey,
    detector_key,
    total_key,
)
from indexcache_operator.plan.facts.probing import Probing


def test_a_new_memory_holds_nothing_but_its_key() -> None:
    memory = Memory(key="try")
    assert not any(getattr(memory, f.name) for f in fields(memory) if f.name not in ("key", "probing"))
    assert memory.probing == Probing()
    assert [f.name for f in fields(memory) if getattr(memory, f.name) is None] == [
        "slots",
        "quality",
        "quality_detector",
        "probed_at",
        "data_at",
        "mark",
        "contradicted_at",
        "admitted",
        "pace",
        "published_at",
    ]


def test_two_memories_share_nothing() -> None:
    one, other = Memory(key="try"), Memory(key="try")
    one.totals[TotalKey("recall", 1, 3, Work.PREFILL, Mode.ON)] = None  # type: ignore[assignment]  # any entry will do
    assert (other.totals, other) == ({}, Memory(key="try"))


def test_it_is_handed_on_and_never_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Memory(key="try").key = "other"  # type: ignore[misc]
    assert Mark(setting="x", since=datetime(2026, 1, 1, tzinfo=UTC), admitted={}).number == 1


def test_a_life_of_an_engine_a_series_and_a_mode_have_keys_of_their_own() -> None:
    total = TotalKey("recall", 1, 3, Work.PREFILL, Mode.ON)
    key = SeriesKey("a", "life", 1, total)
    others = [
        key._replace(pod="b"),
        key._replace(incarnation="x"),
        key._replace(series_number=2),
        key._replace(total=total._replace(mode=Mode.SHADOW)),
        key._replace(total=total._replace(work=Work.DECODE)),
    ]
    assert len({key, *others}) == 6
    assert TestKey("quality") == TestKey("quality", None, None, None)


def test_equal_names_are_one_object_however_many_rollouts_hold_them() -> None:
    first, second = (total_key("recall", 3, 5, Work.PREFILL, Mode.ON) for _ in range(2))
    assert first is second
    assert first == TotalKey("recall", 3, 5, Work.PREFILL, Mode.ON)
    tests = [TestKey("recall", None, 5, Work.PREFILL) for _ in range(2)]
    assert tests[0] is not tests[1]
    assert detector_key(tests[0], Mode.ON) is detector_key(tests[1], Mode.ON)
    assert detector_key(tests[0], Mode.ON) == (tests[1], Mode.ON)
