"""The conformance suite on vLLM's generic classes, with one rank; in larger blocks, the part about blocks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance import checks, reach_checks
from tests.conformance.engine import Engine
from tests.conformance.suite import Conformance
from tests.engine.cpu_binding import BLOCK_SIZES

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def launched(cpu_engine: tuple[Engine, Path]) -> Engine:
    return cpu_engine[0]


class TestOneRank(Conformance):
    """Runs the suite in this process."""


OF_BLOCKS = (
    checks.reuse_is_cached_for_reuse,
    checks.reuse_is_never_served_to_the_baseline,
    checks.preempted_as_not,
    reach_checks.beyond_the_reach_as_at_the_baseline,
)


@pytest.mark.parametrize("cpu_engine", BLOCK_SIZES[1:], ids="blocks of {}".format, indirect=True)
@pytest.mark.parametrize("check", OF_BLOCKS, ids=[check.__name__ for check in OF_BLOCKS])
def test_the_prefix_cache_in_larger_blocks(engine: Engine, check: Callable[[Engine], None]) -> None:
    check(engine)
