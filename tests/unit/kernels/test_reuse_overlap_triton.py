"""The Triton kernel against the torch reference, in Triton's interpreter.

The interpreter is chosen when Triton is imported, for the whole process, so it runs in a process of its own: once, for all cases.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from indexcache_kernels.reuse_overlap.cases import cases
from indexcache_kernels.reuse_overlap.naive import reuse_overlap_naive

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
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    out = Path(tmp_path_factory.mktemp("interpreted"), "results.pt")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "InterpretedFunction", done.stdout
    results: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = torch.load(out)
    return results


@pytest.mark.parametrize("name", CASES)
def test_matches_the_reference(name: str, interpreted: dict[str, tuple[torch.Tensor, torch.Tensor | None]]) -> None:
    c = CASES[name]
    got, expected = interpreted[name], reuse_overlap_naive(c.reused, c.fresh, c.fresh_scores)
    for g, e in zip(got, expected, strict=True):
        if e is None:
            assert g is None
        else:
            assert g is not None
            torch.testing.assert_close(g, e, rtol=0, atol=c.tolerance, equal_nan=True)
