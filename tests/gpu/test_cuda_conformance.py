"""The conformance suite on a GPU."""

import pytest
import torch

from tests.conformance.engine import Engine, launch
from tests.conformance.suite import Conformance
from tests.gpu.cuda_binding import Cuda

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return launch(Cuda(), tmp_path_factory.mktemp("model") / "model")


class TestCuda(Conformance):
    """All of it."""
