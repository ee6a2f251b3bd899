"""The conformance suite on a GPU."""

from collections.abc import Iterator

import pytest
import torch
from indexcache_runtime.pace import Pace

from tests.conformance.engine import Engine, launch
from tests.conformance.suite import Conformance
from tests.gpu.cuda_binding import Cuda

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "measure", every_step)
        yield launch(Cuda(), tmp_path_factory.mktemp("model") / "model")


def every_step(pace: Pace, tokens: int, requests: int) -> bool:
    """Whatever measuring it takes."""
    return True


class TestCuda(Conformance):
    """All of it."""
