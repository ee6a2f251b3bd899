"""The conformance suite on vLLM's generic classes, with one rank."""

from pathlib import Path

import pytest

from tests.conformance.engine import Engine
from tests.conformance.suite import Conformance

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def launched(cpu_engine: tuple[Engine, Path]) -> Engine:
    return cpu_engine[0]


class TestOneRank(Conformance):
    """In this process."""
