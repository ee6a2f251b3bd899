"""The Triton kernel against the torch reference, in Triton's interpreter: once, for all cases."""

import pytest
import torch
from indexcache_kernels.reuse_overlap.cases import cases
from indexcache_kernels.reuse_overlap.naive import reuse_overlap_naive

from tests.unit.kernels.interpreter import interpreted

CASES = cases()
SCRIPT = """
import sys
import torch
from indexcache_kernels.reuse_overlap.cases import cases
from indexcache_kernels.reuse_overlap.triton import reuse_overlap_kernel, reuse_overlap_triton

print(type(reuse_overlap_kernel).__name__)
torch.save({name: reuse_overlap_triton(c.reused, c.fresh, c.fresh_scores) for name, c in cases().items()}, sys.argv[1])
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    found: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = interpreted(
        SCRIPT, tmp_path_factory.mktemp("interpreted") / "results.pt"
    )
    return found


@pytest.mark.parametrize("name", CASES)
def test_matches_the_reference(
    name: str, results: dict[str, tuple[torch.Tensor, torch.Tensor | None]]
) -> None:
    c = CASES[name]
    got, expected = results[name], reuse_overlap_naive(c.reused, c.fresh, c.fresh_scores)
    for g, e in zip(got, expected, strict=True):
        if e is None:
            assert g is None
        else:
            assert g is not None
            torch.testing.assert_close(g, e, rtol=0, atol=c.tolerance, equal_nan=True)
