"""The conformance suite on a GPU."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.vllm.worker.cuda import seam
from indexcache_runtime.vllm.worker.cuda.site import CudaSite

from tests.conformance import checks
from tests.conformance.engine import Engine, launch
from tests.conformance.measuring import every_step
from tests.conformance.suite import Conformance
from tests.gpu.cuda_binding import Cuda

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, backend: str | None) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MeasuringBudget, "allows", every_step)
        yield launch(Cuda(backend=backend), tmp_path_factory.mktemp("model") / "model")


class TestCuda(Conformance):
    """Runs all of the suite."""

    def test_the_backend_is_the_one_that_was_asked_for(self, engine: Engine, backend: str | None) -> None:
        impls = {type(layer.self_attn.impl).__name__ for layer in engine.model.model.layers}
        assert [seam.BACKENDS[impl] for impl in impls] == [backend or "FLASH_ATTN_MLA_SPARSE"]

    def test_a_build_whose_shared_layers_convert_with_a_group_of_their_own_fails(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such a layer reads, while tokens are generated, what was converted there some other time."""
        consume = CudaSite._consume

        def strange(site: CudaSite, group: Any, index: int) -> None:
            group = site._group if index else group
            if index:
                group.num_layers = 2
                with torch.inference_mode():  # a place that is there, whatever was converted before
                    group.physical_topk_indices.zero_()
                    group.valid_topk_counts.fill_(1)
            consume(site, group, index)

        monkeypatch.setattr(CudaSite, "_consume", strange)
        with pytest.raises(AssertionError):
            checks.shared_reads_its_leaders_set(engine, checks.alternating(engine))
