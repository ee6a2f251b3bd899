"""index_topk: the torch form against plain arithmetic, and the Triton kernel, in Triton's interpreter,
against the torch form.
"""

import math

import pytest
import torch
from indexcache_kernels.index_topk import index_topk
from indexcache_kernels.index_topk.cases import Case, case, cases, errors

from tests.unit.kernels.interpreter import interpreted

CASES = cases()
NOT_INTERPRETED = "products not a number"
"""Triton's interpreter reads fp8's NaN as 480."""
SCRIPT = """
import sys
import torch
from indexcache_kernels.index_topk.cases import cases
from indexcache_kernels.index_topk.triton import index_topk_kernel, index_topk_triton

print(type(index_topk_kernel).__name__)
torch.save({name: index_topk_triton(*c) for name, c in cases().items()}, sys.argv[1])
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Return what the kernel chooses in the cases."""
    chosen: dict[str, torch.Tensor] = interpreted(
        SCRIPT, tmp_path_factory.mktemp("interpreted") / "chosen.pt"
    )
    return chosen


@pytest.mark.parametrize("name", [name for name in CASES if name != NOT_INTERPRETED])
def test_the_kernel_chooses_what_the_reference_does(name: str, found: dict[str, torch.Tensor]) -> None:
    assert errors(CASES[name], found[name]) == 0


@pytest.mark.parametrize("name", CASES)
def test_the_reference_by_hand(name: str) -> None:
    c = CASES[name]
    chosen = index_topk(*c)
    assert chosen.shape == (c.q.shape[0], c.topk)
    assert chosen.dtype == torch.int32
    for i in range(min(2, c.q.shape[0])):
        start, end = int(c.starts[i]), min(int(c.ends[i]), c.k.shape[0])
        dots = (c.q[i].double() @ c.k[start:end].double().T).nan_to_num(0.0).clamp(min=0)
        scores = ((c.weights[i].double() @ dots) * c.k_scale[start:end]).tolist()
        real = [s for s in scores if not math.isnan(s) and s > -math.inf]
        members = [p for p in chosen[i].tolist() if p >= 0]
        assert len(set(members)) == len(members) == min(c.topk, len(real))
        assert sorted(scores[p] for p in members) == sorted(real)[len(real) - len(members) :]


def test_errors_are_seen() -> None:
    c = case(3, 300, 16)
    right = index_topk(*c)
    assert errors(c, right) == 0
    worst = index_topk(*c._replace(weights=-c.weights))
    for i, wrong in enumerate((worst[0, 0], right[0, 1], torch.tensor(-1), torch.tensor(299))):
        spoilt = right.clone()
        spoilt[0, 0] = wrong
        assert errors(c, spoilt) > 0, i


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: c._replace(q=c.q.float()), "q: .* torch.float32; expected"),
        (lambda c: c._replace(q=c.q[0]), "q: 2 dimensions"),
        (lambda c: c._replace(q=c.q[:, :20]), "q: 20 heads; expected a power of two from 16 to 128"),
        (lambda c: c._replace(q=c.q.repeat(1, 1, 2)), "q: 256 dim"),
        (
            lambda c: c._replace(q=c.q.transpose(0, 1).contiguous().transpose(0, 1)),
            "q: strides .*; expected it contiguous",
        ),
        (lambda c: c._replace(k=c.k.view(torch.uint8)), "k: .* torch.uint8; expected"),
        (lambda c: c._replace(k=c.k[:, :64]), "k: .300, 64."),
        (lambda c: c._replace(k=c.k[None]), "k: 3 dimensions"),
        (lambda c: c._replace(k_scale=c.k_scale[:, None]), "k_scale: .300, 1."),
        (lambda c: c._replace(k_scale=c.k_scale.to("meta")), "k_scale: on meta; expected cpu, like q"),
        (lambda c: c._replace(weights=c.weights.bfloat16()), "weights: .* torch.bfloat16"),
        (lambda c: c._replace(starts=c.starts.long()), "starts: .* torch.int64"),
        (lambda c: c._replace(ends=c.ends[:3]), "ends: .3,. torch.int32; expected .4,."),
        (lambda c: c._replace(topk=0), "topk: 0; expected 1 to 300"),
        (lambda c: c._replace(topk=301), "topk: 301; expected 1 to 300, with 300 keys"),
    ],
)
def test_bad_input_is_named(spoil: object, said: str) -> None:
    assert callable(spoil)
    spoilt: Case = spoil(case(4, 300, 16))
    with pytest.raises(ValueError, match=said):
        index_topk(*spoilt)


def test_no_more_is_chosen_than_registers_hold() -> None:
    with pytest.raises(ValueError, match="topk: 2049; expected 1 to 2048, with 2100 keys"):
        index_topk(*case(2, 2100, 2049))
