"""Tests that a series of measurements begins where what is measured changes, and nowhere else."""

from indexcache_core.contract import Flags, Mode

from tests.unit.runtime.control.switches import FITTING, desired, switch


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
