"""reuse_overlap on a GPU, through the public function, against the torch reference on the CPU."""

import pytest
import torch
from indexcache_kernels.reuse_overlap import reuse_overlap
from indexcache_kernels.reuse_overlap.cases import cases
from indexcache_kernels.reuse_overlap.naive import reuse_overlap_naive

CASES = cases()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.mark.parametrize("name", CASES)
def test_matches_the_reference(name: str) -> None:
    c = CASES[name]
    scores = None if c.fresh_scores is None else c.fresh_scores.cuda()
    got = reuse_overlap(c.reused.cuda(), c.fresh.cuda(), scores)
    for g, e in zip(got, reuse_overlap_naive(c.reused, c.fresh, c.fresh_scores), strict=True):
        if e is None:
            assert g is None
        else:
            assert g is not None
            assert g.is_cuda
            torch.testing.assert_close(g.cpu(), e, rtol=0, atol=c.tolerance, equal_nan=True)
