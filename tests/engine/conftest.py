"""One engine in this process, for all tests of the runtime that leave it as it was.

Trap: there can be no second one with one rank. vLLM keeps its process groups in globals, and the first engine to go takes them with it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.engine import Engine, launch
from tests.engine.cpu_binding import Cpu


@pytest.fixture(scope="session")
def cpu_engine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Path]:
    """With one rank, adopted; and the folder of its model."""
    folder = tmp_path_factory.mktemp("runtime") / "model"
    return launch(Cpu(), folder), folder


@pytest.fixture
def engine(cpu_engine: tuple[Engine, Path]) -> Iterator[Engine]:
    """At the baseline, nothing cached, no measurements."""
    engine = cpu_engine[0]
    engine.reset()
    yield engine
    assert not engine.llm.llm_engine.has_unfinished_requests()
