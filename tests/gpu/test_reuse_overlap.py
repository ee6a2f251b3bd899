"""reuse_overlap on a GPU, all forms of it, against the torch reference on the CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from indexcache_kernels.reuse_overlap import cuda, reuse_overlap
from indexcache_kernels.reuse_overlap.cases import Case, case, cases
from indexcache_kernels.reuse_overlap.naive import reuse_overlap_naive
from indexcache_kernels.reuse_overlap.triton import reuse_overlap_triton

CASES = cases()
FORMS: dict[str, Callable[..., Any]] = {"public": reuse_overlap, "triton": reuse_overlap_triton}
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def compare(c: Case, form: str) -> None:
    """Check that a form measures what the reference does."""
    scores = None if c.fresh_scores is None else c.fresh_scores.cuda()
    got = FORMS[form](c.reused.cuda(), c.fresh.cuda(), scores)
    for g, e in zip(got, reuse_overlap_naive(c.reused, c.fresh, c.fresh_scores), strict=True):
        if e is None:
            assert g is None
        else:
            assert g is not None
            assert g.is_cuda
            torch.testing.assert_close(g.cpu(), e, rtol=0, atol=c.tolerance, equal_nan=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_matches_the_reference(name: str, form: str) -> None:
    compare(CASES[name], form)


@pytest.mark.parametrize("k", [4096, 8192])
@pytest.mark.parametrize("beyond", [0, 2**18, 2**40])
def test_large_sets_of_near_and_far_positions(k: int, beyond: int) -> None:
    c = case(9, k, seed=21)
    far = [torch.where(x < 0, x.long(), x.long() + beyond) for x in (c.reused, c.fresh)]
    compare(c._replace(reused=far[0], fresh=far[1]), "public")


def test_a_set_that_is_too_large_for_shared_memory_goes_to_triton() -> None:
    c = case(2, 10_000, seed=22)
    assert not cuda.takes(c.reused.cuda())
    compare(c, "public")


def test_a_launch_can_be_captured() -> None:
    c = case(32, 2048, seed=23)
    assert c.fresh_scores is not None
    given = c.reused.cuda(), c.fresh.cuda(), c.fresh_scores.cuda()
    wanted = reuse_overlap(*given)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = reuse_overlap(*given)
    for x in found:
        assert x is not None
        x.zero_()
    graph.replay()
    for x, y in zip(found, wanted, strict=True):
        assert x is not None
        assert y is not None
        assert torch.equal(x.nan_to_num(-1), y.nan_to_num(-1))
