"""index_topk on a GPU, through the public function, against the torch reference on the CPU."""

import pytest
import torch
from indexcache_kernels.index_topk import index_topk
from indexcache_kernels.index_topk.cases import adversarial, case, cases, errors

CASES = cases()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.mark.parametrize("name", CASES)
def test_chooses_what_the_reference_does(name: str) -> None:
    assert errors(CASES[name], index_topk(*CASES[name].to("cuda")).cpu()) == 0


@pytest.mark.parametrize("name", adversarial(CASES["plain"]))
def test_of_many_keys(name: str) -> None:
    c = adversarial(case(9, 40_000, 2048, seed=3))[name]
    assert errors(c, index_topk(*c.to("cuda")).cpu()) == 0
