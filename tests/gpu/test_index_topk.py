"""index_topk on a GPU, all forms of it, against the torch reference on the CPU."""

from collections.abc import Callable

import pytest
import torch
from indexcache_kernels.index_topk import cuda, index_topk
from indexcache_kernels.index_topk.cases import Case, adversarial, case, cases, errors
from indexcache_kernels.index_topk.triton import index_topk_triton

from benchmarks import recorded_scores

CASES, RECORDED = cases(), recorded_scores.cases()
FORMS: dict[str, Callable[..., torch.Tensor]] = {"public": index_topk, "triton": index_topk_triton}
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_chooses_what_the_reference_does(name: str, form: str) -> None:
    assert errors(CASES[name], FORMS[form](*CASES[name].to("cuda")).cpu()) == 0


@pytest.mark.parametrize("heads", [32, 64])
@pytest.mark.parametrize("name", adversarial(CASES["plain"]))
def test_of_many_keys(name: str, heads: int) -> None:
    c = adversarial(case(9, 40_000, 2048, heads=heads, seed=3))[name]
    assert errors(c, index_topk(*c.to("cuda")).cpu()) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", RECORDED)
def test_of_scores_of_a_trained_model(name: str, form: str) -> None:
    assert recorded_scores.below(RECORDED[name], FORMS[form](*RECORDED[name].to("cuda")).cpu()) == 0


@pytest.mark.parametrize("stride", [2, 17, 33])
def test_whatever_the_sample(stride: int) -> None:
    c = case(21, 20_000, 512, seed=5)
    found = cuda.index_topk_cuda(*c.to("cuda"), cuda.Plan(stride=stride))
    assert errors(c, found.cpu()) == 0


def test_more_rows_than_one_wave_of_blocks_has() -> None:
    c = case(2500, 6000, 64, seed=6, device="cuda")
    assert errors(Case(*c), index_topk(*c)) == 0


def test_a_launch_can_be_captured() -> None:
    c = case(16, 9000, 128, seed=7, device="cuda")
    wanted = index_topk(*c)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = index_topk(*c)
    found.zero_()
    graph.replay()
    assert torch.equal(found.sort(dim=1).values, wanted.sort(dim=1).values)


def test_hopper_runs_the_form_that_is_made_for_it() -> None:
    q, k = (
        torch.empty(shape, dtype=torch.float8_e4m3fn, device="cuda") for shape in ((4, 32, 128), (64, 128))
    )
    assert cuda.takes(q, k) == (torch.cuda.get_device_capability() == (9, 0))
    assert not cuda.takes(q[:, :16], k)
