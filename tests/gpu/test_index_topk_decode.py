"""Tests index_topk_decode on a GPU against the torch reference on the CPU."""

import pytest
import torch
from indexcache_kernels.index_topk.cases import case
from indexcache_kernels.index_topk_decode import Workspace, cuda, index_topk_decode
from indexcache_kernels.index_topk_decode.cases import PAGE, cases, of_one_request, paged

from benchmarks import recorded_scores

RECORDED = recorded_scores.cases()
SMALL, LARGE = cases(), cases(20_000, 2048, 64)
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("large", [False, True])
def test_chooses_what_the_reference_does_again_and_again(name: str, large: bool) -> None:
    c = (LARGE if large else SMALL)[name]
    given, workspace = c.arguments("cuda"), c.workspace("cuda")
    assert cuda.takes(given[0], given[1])
    for _ in range(3):  # what a call leaves in the workspace must not be seen by the next
        assert c.errors(index_topk_decode(*given, c.topk, workspace).cpu()) == 0


def test_a_row_of_many_keys() -> None:
    c = paged([case(1, 200_000, 2048, seed=3), case(1, 131_071, 2048, seed=4)])
    found = index_topk_decode(*c.arguments("cuda"), c.topk, c.workspace("cuda"))
    assert c.errors(found.cpu()) == 0


@pytest.mark.parametrize("name", RECORDED)
def test_of_scores_of_a_trained_model(name: str) -> None:
    c = of_one_request(RECORDED[name])
    found = index_topk_decode(*c.arguments("cuda"), c.topk, c.workspace("cuda")).cpu()
    assert recorded_scores.below(RECORDED[name], found) == 0


def test_pages_apart_and_an_output_of_wider_rows() -> None:
    c = SMALL["rows of different lengths"]
    q, cache, weights, lengths, table = c.arguments("cuda")
    apart = torch.empty((len(cache), 3, PAGE, cache.shape[2]), dtype=torch.uint8, device="cuda")
    apart[:, 1] = cache
    out = torch.full((len(q), c.topk + 7), -9, dtype=torch.int32, device="cuda")
    there = out[:, : c.topk]
    index_topk_decode(q, apart[:, 1], weights, lengths, table, c.topk, c.workspace("cuda"), there)
    assert c.errors(there.cpu()) == 0
    assert bool((out[:, c.topk :] == -9).all())


def test_replayed_from_a_graph_with_other_lengths_and_pages() -> None:
    one, other = (
        paged([case(1, n, 32, seed=seed + n) for n in (1000, 640)][::turn], seed=seed)
        for seed, turn in ((1, 1), (2, -1))
    )
    static = one.arguments("cuda")
    workspace = Workspace(2, 1024, static[0].device)
    index_topk_decode(*static, 32, workspace)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = index_topk_decode(*static, 32, workspace)
    for c in (one, other, one):
        for there, x in zip(static, c.arguments("cuda"), strict=True):
            there.copy_(x)
        graph.replay()
        assert c.errors(out.cpu()) == 0
