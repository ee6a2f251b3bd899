"""Tests that what workers tell of their device adds up, all Full and reuse apart."""

from indexcache_core.contract import DeviceUse, FastIndexer, StepTime
from indexcache_runtime.engine import Measured, Parts
from indexcache_runtime.measuring.device_log import DeviceLog


def test_times_add_up_apart() -> None:
    log = DeviceLog()
    for reuse in (False, True, True):
        log.add(Measured(parts=Parts(indexer=3.0, attention=2.0, rest=1.0)), reuse=reuse)
    assert log.times(reuse=False) == StepTime(
        steps=1, indexer_seconds=3.0, attention_seconds=2.0, rest_seconds=1.0
    )
    assert log.times(reuse=True) == StepTime(
        steps=2, indexer_seconds=6.0, attention_seconds=4.0, rest_seconds=2.0
    )


def test_the_last_word_on_the_device_counts() -> None:
    log = DeviceLog()
    assert log.use == DeviceUse()
    log.add(
        Measured(device=DeviceUse(graph_bytes=5, scratch_bytes=7, graphs=1, graphs_wanted=51)), reuse=True
    )
    log.add(Measured(), reuse=True)
    assert log.use == DeviceUse(graph_bytes=5, scratch_bytes=7, graphs=1, graphs_wanted=51)


def test_rows_of_the_fast_indexer_add_up_and_the_worst_is_kept() -> None:
    log = DeviceLog()
    assert log.fast_indexer == FastIndexer(rows=0, least_agreement=None)
    for shares in ([1.0, 0.998], [], [0.9995, 1.0, 1.0]):
        log.add(Measured(agreement=shares), reuse=True)
    assert log.fast_indexer == FastIndexer(rows=5, least_agreement=0.998)
