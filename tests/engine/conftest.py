"""Engines in this process, for all tests of the runtime that leave them as they were.

Trap: none of them may go while another is still asked. vLLM keeps its process groups in globals, and the
first engine to go takes them with it; so each lives to the end of the session.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.engine import Engine, launch
from tests.engine.cpu_binding import BLOCK_SIZES, Cpu
from tests.engine.machine import header


def pytest_report_header() -> str:
    """Show the machine's CPU in the head of the run."""
    return header()


Launched = Callable[[int], tuple[Engine, Path]]


@pytest.fixture(scope="session")
def launched_with(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Return engines by block size, with one rank, adopted, each started once; and the folders of their
    models."""

    @functools.cache
    def launched(block_size: int) -> tuple[Engine, Path]:
        folder = tmp_path_factory.mktemp("runtime") / "model"
        engine = launch(Cpu(block_size=block_size), folder)
        scheduler = engine.core.scheduler
        groups = [group.kv_cache_spec.block_size for group in scheduler.kv_cache_config.kv_cache_groups]
        assert {engine.block_size, scheduler.block_size, scheduler.hash_block_size, *groups} == {block_size}
        return engine, folder

    return launched


@pytest.fixture(scope="session", params=BLOCK_SIZES[:1], ids="blocks of {}".format)
def cpu_engine(request: pytest.FixtureRequest, launched_with: Launched) -> tuple[Engine, Path]:
    """Return the engine of a block size, 16 unless a test says otherwise; and the folder of its model."""
    return launched_with(request.param)


@pytest.fixture
def engine(cpu_engine: tuple[Engine, Path]) -> Iterator[Engine]:
    """Yield the engine at the baseline, nothing cached, no measurements."""
    engine = cpu_engine[0]
    engine.reset()
    yield engine
    assert not engine.llm.llm_engine.has_unfinished_requests()
