"""Tests how each side of a pair of probes is counted, and which sides are kept."""

import pytest
from indexcache_core import bounds
from indexcache_core.probe_ids import ProbeRun
from indexcache_runtime.control.probe_log import ProbeLog


def test_the_steps_of_one_side_are_counted_together_and_rows_under_reuse_among_them() -> None:
    log = ProbeLog()
    log.add("a", 100, reused=True)
    log.add("b", 7, reused=False)
    log.add("a", 20, reused=False)
    log.add("a", 3, reused=True)
    assert log.runs() == (ProbeRun(name="a", rows=123, reused=103), ProbeRun(name="b", rows=7, reused=0))


@pytest.mark.parametrize("reused", [False, True])
def test_a_side_without_rows_is_named_all_the_same(reused: bool) -> None:
    log = ProbeLog()
    log.add("a", 0, reused=reused)
    assert log.runs() == (ProbeRun(name="a", rows=0, reused=0),)


def test_the_side_that_was_first_asked_goes_first_and_only_for_a_new_one() -> None:
    log = ProbeLog()
    names = [str(i) for i in range(bounds.PROBE_RUNS)]
    for name in names:
        log.add(name, 1, reused=False)
    assert [run.name for run in log.runs()] == names
    log.add("0", 1, reused=True)
    assert [run.name for run in log.runs()] == names
    log.add("new", 1, reused=False)
    assert [run.name for run in log.runs()] == [*names[1:], "new"]


def test_a_name_is_cut_to_what_may_travel_and_counted_under_that() -> None:
    log = ProbeLog()
    log.add("x" * (bounds.PROBE_NAME + 1), 1, reused=False)
    log.add("x" * (bounds.PROBE_NAME + 2), 2, reused=True)
    assert log.runs() == (ProbeRun(name="x" * bounds.PROBE_NAME, rows=3, reused=2),)
