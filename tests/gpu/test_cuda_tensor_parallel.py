"""Two ranks on two GPUs: the conformance suite, and switching under CUDA graphs, which both must capture and
replay at the same steps.
"""

from collections.abc import Iterator

import pytest
import torch
from indexcache_core.contract import Mode
from indexcache_runtime.measuring.budget import MeasuringBudget

from tests.conformance.engine import Engine, launch, prompts
from tests.conformance.measuring import every_step
from tests.conformance.suite import Conformance
from tests.gpu.cuda_binding import Cuda

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no two GPUs")]

PATTERN = "FSSFS"


class TestTwoRanks(Conformance):
    """Runs the suite on two ranks: each check that looks at what attention reads looks at both."""

    @pytest.fixture(scope="class")
    @classmethod
    def launched(cls, tmp_path_factory: pytest.TempPathFactory, backend: str | None) -> Iterator[Engine]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MeasuringBudget, "allows", every_step)
            engine = launch(Cuda(ranks=2, backend=backend), tmp_path_factory.mktemp("two") / "model")
            yield engine
            engine.core.shutdown()


@pytest.fixture(scope="module")
def graphed(tmp_path_factory: pytest.TempPathFactory, backend: str | None) -> Iterator[Engine]:
    engine = launch(Cuda(ranks=2, graphs=True, backend=backend), tmp_path_factory.mktemp("graphs") / "model")
    yield engine
    engine.core.shutdown()


def test_switching_under_graphs(graphed: Engine) -> None:
    """Patterns come, are captured beside traffic, and go, with requests under way all the time: each gets all
    its tokens.
    """
    names = [graphed.start(p, 900) for p in prompts(13, *[600 + 10 * i for i in range(8)])]
    while min(graphed.scheduled(n).num_output_tokens for n in names) < 4:
        graphed.step()
    for i in range(200):
        if i % 2:
            graphed.kill()
        else:
            graphed.put(Mode.ON, (PATTERN, "FFSSS")[i // 50 % 2])
        for _ in range(4):
            graphed.step()
        if i in (48, 98):
            device = graphed.state.device
            assert device.graphs == device.graphs_wanted > 0
    assert [len(a.tokens) for a in graphed.finish(names)] == [900] * 8
